"""JSON that came over the network: an object that whoever reads, copies or stores it survives."""

from __future__ import annotations

import json
import math

from lib.errors import BadInput

DEEPEST = 32
_LARGEST = 1 << 63


def read_object(text: str | bytes) -> dict[str, object]:
    """The JSON object of the parameters of a request.

    Args:
        text: empty is an empty object.

    Raises:
        BadInput: no JSON object, or one that `check` turns down.
    """
    try:
        value = json.loads(text or "{}", parse_constant=_no_constant)
    except RecursionError:
        raise BadInput(f"params is nested too deeply: {DEEPEST} levels at most") from None
    except ValueError as error:
        raise BadInput(f"params is not JSON: {ascii(str(error))[1:-1]}") from None
    if not isinstance(value, dict):
        raise BadInput("params must be a JSON object, like {}")
    check(value, "params")
    return value


def check(value: object, what: str) -> None:
    """Turn down what breaks later: nesting without end, NaN, infinity, half characters.

    Raises:
        BadInput: as it says.
    """
    level = [value]
    for _ in range(DEEPEST):
        below: list[object] = []
        for one in level:
            if isinstance(one, dict):
                below += one.keys()
                below += one.values()
            elif isinstance(one, list | tuple):
                below += one
            elif isinstance(one, str):
                _check_text(one, what)
            elif isinstance(one, float) and not math.isfinite(one):
                raise BadInput(f"{what} holds a number that is not finite")
            elif isinstance(one, int) and abs(one) >= _LARGEST:
                raise BadInput(f"{what} holds a number that is too large")
        if not below:
            return
        level = below
    raise BadInput(f"{what} is nested too deeply: {DEEPEST} levels at most")


def _check_text(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what} holds text that is not Unicode (half a character)") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")

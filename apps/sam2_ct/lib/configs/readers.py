"""What somebody typed, as a value. Each raises `BadInput`, with a sentence, at anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from lib.errors import BadInput
from lib.geometry import Axis

#: Groups of MONAI Label's routes that no viewer of ours needs, see `serving.exposure`.
EXPOSABLE = ("wsi", "train", "scoring", "model", "logs", "reload", "docs")
_DIGITS = 10  # of a number that anybody means


def truth(value: object) -> bool:
    """Yes or no."""
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise BadInput(f"expected true or false, got {value!r}")


def count(least: int, name: str) -> Callable[[object], int]:
    """A reader of whole numbers from `least` on; `name` is the option's."""

    def read(value: object) -> int:
        text = str(value).strip()
        if not text.isdecimal() or len(text) > _DIGITS or int(text) < least:
            raise BadInput(f"{name} must be a whole number, {least} or more, got {value!r}")
        return int(text)

    return read


def one_of(name: str, *known: str) -> Callable[[object], str]:
    """A reader of some words; `name` is the option's."""

    def read(value: object) -> str:
        text = str(value).strip().lower()
        if text not in known:
            raise BadInput(f"unknown {name} {value!r}: use {', '.join(known)}")
        return text

    return read


def axis(value: object) -> Axis | None:
    """An axis, or None for `auto`."""
    text = str(value).strip().lower()
    if text == "auto":
        return None
    try:
        return Axis.parse(text)
    except BadInput as error:
        raise BadInput(f"{error}, or auto") from None


def path(value: object) -> Path:
    """A path; `~` is the user's folder."""
    return Path(str(value)).expanduser()


def origins(value: object) -> tuple[str, ...]:
    """Sites, comma-separated, in lower case: `https://viewer.example.org`."""
    found = _listed(str(value).lower())
    for one in found:
        parts = urlsplit(one)
        if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" != one:
            raise BadInput(f"{one!r} is no origin: give them like https://viewer.example.org")
    return found


def groups(value: object) -> tuple[str, ...]:
    """Some of `EXPOSABLE`, comma-separated."""
    found = _listed(value)
    unknown = set(found) - set(EXPOSABLE)
    if unknown:
        raise BadInput(f"cannot expose {min(unknown)!r}: use one or more of {','.join(EXPOSABLE)}")
    return found


def hours(value: object) -> float:
    """Hours, more than none and a year at most."""
    try:
        count = float(str(value))
    except ValueError:
        count = 0.0
    if not 0 < count <= 24 * 365:
        raise BadInput(f"login_hours must be a number of hours above 0, got {value!r}")
    return count


def names(value: object) -> Mapping[str, int]:
    """Names, comma-separated, and their numbers from 1."""
    found = _listed(value)
    if not found or len(set(found)) < len(found):
        raise BadInput(f"labels must be different names, like bone,rib; got {value!r}")
    return {name: number for number, name in enumerate(found, start=1)}


def prompt_slices(value: object) -> str | tuple[int, ...]:
    """`auto`, `changed`, `all`, or slice numbers, ascending."""
    text = str(value).strip().lower()
    if text in ("auto", "changed", "all"):
        return text
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < _DIGITS for part in parts):
        raise BadInput(
            f"unknown prompt_slices {value!r}: use auto, changed, all or numbers like 3,40,77"
        )
    return tuple(sorted({int(part) for part in parts}))


def write_prompt_slices(choice: str | tuple[int, ...]) -> str:
    """The text that `prompt_slices` reads back."""
    return choice if isinstance(choice, str) else ",".join(map(str, choice))


def _listed(value: object) -> tuple[str, ...]:
    return tuple(one.strip() for one in str(value).split(",") if one.strip())

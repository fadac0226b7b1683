"""Options of the table as options of a typer command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from lib.configs.option import Option, Where
from lib.configs.options import options_of

R = TypeVar("R")


def with_options(where: Where) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a command every option that is valid in a place, as text or None in its `**options`."""

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [*own, *(_parameter(option) for option in options_of(where=where))]

        @functools.wraps(command)
        def with_them(**said: object) -> R:
            return command(**said)

        del with_them.__wrapped__  # typer would look past this one, at the bare signature
        with_them.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_them.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_them

    return decorate


def _parameter(option: Option) -> inspect.Parameter:
    """An option that is None unless it is said; a truth is a flag."""
    flag = f"--{option.name.replace('_', '-')}"
    is_truth = isinstance(option.default, bool)
    told = option.help
    if option.choices:
        told += f" ({', '.join(option.choices)})"
    kind = bool if is_truth else str
    declared = typer.Option(
        f"{flag}/--no-{flag[2:]}" if is_truth else flag,
        help=told,
        show_default=option.default_text or False,
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, declared],
    )

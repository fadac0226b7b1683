"""What an option is, and how the fields of a class declare some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Flag, auto
from typing import Any, TypeVar

T = TypeVar("T")

_DECLARED = "option"


class Where(Flag):
    """Where an option may be given."""

    REQUEST = auto()
    """A request of a viewer."""
    SERVER = auto()
    """`--conf NAME VALUE` of the server; what it says is the default of requests."""
    COMMAND = auto()
    """`sam2-ct segment --name VALUE`."""
    YAML = auto()
    """A configuration of the evaluation."""


EVERYWHERE = Where.REQUEST | Where.SERVER | Where.COMMAND | Where.YAML
STARTED = Where.SERVER | Where.COMMAND


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: as it is typed, everywhere.
        default: its value when nobody says anything.
        read: what was typed → the value; raises BadInput.
        write: the value → plain text or number, which `read` turns back into it.
        help: one line.
        choices: known values in the order of a menu, the default first; others may be possible.
        where: where it may be given.
        menu: shown among the options of the viewers.
    """

    name: str
    default: Any
    read: Callable[[Any], Any]
    write: Callable[[Any], object]
    help: str
    choices: tuple[str, ...]
    where: Where
    menu: bool

    @property
    def default_text(self) -> str:
        """The default as it would be typed; empty if there is none."""
        written = self.write(self.default)
        return "" if written is None else str(written).lower()

    def menu_items(self, chosen: object) -> list[str]:
        """What a viewer offers: `chosen` first, then the known values."""
        return list(dict.fromkeys([str(self.write(chosen)), *self.choices]))


def declare(
    default: Any,
    help: str,
    *,
    read: Callable[[Any], Any] = str,
    write: Callable[[Any], object] = lambda value: value,
    choices: tuple[str, ...] = (),
    where: Where = EVERYWHERE,
    menu: bool = False,
) -> Any:
    """A field that is an option; see `Option`. A default that can change is made by a function."""
    metadata = {_DECLARED: (read, write, help, choices, where, menu)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def declared_in(cls: type) -> list[Option]:
    """The options that the fields of a class declare, in their order."""
    return [_option_of(f) for f in fields(cls) if _DECLARED in f.metadata]


def read_options(cls: type[T], said: Mapping[str, object], default: T | None = None) -> T:
    """An instance of a class of options from what was said, by name.

    What is absent, empty or None keeps the default; names of other options are passed over.

    Raises:
        BadInput: a value that is not understood.
    """
    values = {}
    for option in declared_in(cls):
        value = said.get(option.name)
        if value is not None and value != "":
            values[option.name] = option.read(value)
        elif default is not None:
            values[option.name] = getattr(default, option.name)
    return cls(**values)


def _option_of(declared: Field[Any]) -> Option:
    default = declared.default
    if default is MISSING and declared.default_factory is not MISSING:
        default = declared.default_factory()
    read, write, about, choices, where, menu = declared.metadata[_DECLARED]
    return Option(declared.name, default, read, write, about, choices, where, menu)

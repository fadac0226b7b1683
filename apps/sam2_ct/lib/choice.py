"""Names a user picks from."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from lib.errors import BadInput

if TYPE_CHECKING:
    from typing_extensions import Self  # of typing from Python 3.11 on


class Choice(str, Enum):
    """An enumeration whose members are read from what a user typed."""

    @classmethod
    def parse(cls, name: str) -> Self:
        """The member called `name`, in any case.

        Raises:
            BadInput: there is none.
        """
        try:
            return cls(str(name).strip().lower())
        except ValueError:
            known = ", ".join(member.value for member in cls)
            raise BadInput(f"unknown {cls.__name__.lower()} {name!r}: use one of {known}") from None

"""From strings (command line, `--conf`, a viewer's options) to typed settings, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from lib.errors import BadInput
from lib.geometry import Axis
from lib.propagation.policy import MemoryPolicy, describe, parse_policy
from lib.propagation.settings import Propagation, PropagationSettings
from lib.transforms.window import PRESETS as WINDOWS
from lib.transforms.window import Window, parse_window


@dataclass(frozen=True)
class Settings:
    """Everything a request may choose; the defaults are the paper's best (table I, last row).

    Attributes:
        policy: what the memory may hold.
        propagation: single, forward-backward or three-axis.
        axis: the axis of the first two.
        window: grey values to [0, 1].
        carry: see `PropagationSettings`.
        merge: see `PropagationSettings`.
        end_of_object: see `PropagationSettings`.
        overlap: objects may share voxels.
    """

    policy: MemoryPolicy = field(default_factory=lambda: parse_policy("is+sps"))
    propagation: Propagation = Propagation.SINGLE
    axis: Axis = Axis.AXIAL
    window: Window = WINDOWS["bone"]
    carry: bool = False
    merge: str = "mean"
    end_of_object: int = 3
    overlap: bool = False

    @classmethod
    def parse(cls, options: Mapping[str, object], default: Settings | None = None) -> Settings:
        """Settings from options by name; what is absent, empty or None keeps the default.

        Raises:
            BadInput: a value that is not understood.
        """
        chosen = {f.name: getattr(default or cls(), f.name) for f in fields(cls)}
        for name, read in _READERS.items():
            value = options.get(name)
            if value is not None and value != "":
                chosen[name] = read(value)
        settings = cls(**chosen)
        settings.engine()  # combinations that make no sense are refused here
        return settings

    def engine(self) -> PropagationSettings:
        """The engine's part of the settings."""
        return PropagationSettings(
            policy=self.policy,
            propagation=self.propagation,
            axis=self.axis,
            carry=self.carry,
            merge=self.merge,
            end_of_object=self.end_of_object,
        )

    def describe(self) -> dict[str, object]:
        """Options by name, plain values; `parse` of it gives these settings again."""
        return {
            "policy": describe(self.policy),
            "propagation": self.propagation.value,
            "axis": self.axis.value,
            "window": self.window.describe(),
            "carry": self.carry,
            "merge": self.merge,
            "end_of_object": self.end_of_object,
            "overlap": self.overlap,
        }


def truth(value: object) -> bool:
    """A switch as people type it.

    Raises:
        BadInput: neither true nor false.
    """
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise BadInput(f"expected true or false, got {value!r}")


def _count(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise BadInput(f"expected a whole number, got {value!r}") from None


_READERS = {
    "policy": lambda v: parse_policy(str(v)),
    "propagation": lambda v: Propagation.parse(str(v)),
    "axis": lambda v: Axis.parse(str(v)),
    "window": lambda v: parse_window(str(v)),
    "carry": truth,
    "merge": lambda v: str(v).strip().lower(),
    "end_of_object": _count,
    "overlap": truth,
}

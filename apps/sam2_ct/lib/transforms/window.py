"""Grey values to [0, 1]: level and width, percentiles, and CLAHE. Arrays alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lib.errors import BadInput
from lib.transforms.percentiles import percentiles

# 1024 grey levels; the clip limit allows each the 2.56-fold of an even histogram, as the
# customary 0.01 does for 256
_CLAHE_BINS = 1024
_CLAHE_CLIP = 2.56 / _CLAHE_BINS


class Spread(Protocol):
    """How grey values are spread."""

    @property
    def extremes(self) -> tuple[float, float]:
        """Least and greatest."""
        ...

    def percentiles(self, low: float, high: float) -> tuple[float, float]:
        """Two percentiles, 0 to 100, ascending."""
        ...


@dataclass(frozen=True)
class Window:
    """How grey values become [0, 1].

    Either `level` and `width` (in the volume's unit, HU for CT), or the `percentiles` of the
    volume that become 0 and 1; (0, 100) is its minimum and maximum. With `clahe`, each slice
    then goes through contrast limited adaptive histogram equalisation.
    """

    level: float | None = None
    width: float | None = None
    percentiles: tuple[float, float] = (0.0, 100.0)
    clahe: bool = False

    @property
    def is_ct(self) -> bool:
        """Whether the limits are in HU."""
        return self.level is not None

    def limits(self, values: NDArray[Any] | Spread) -> tuple[float, float]:
        """The grey values that become 0 and 1.

        Args:
            values: all of them; no copy is made of integers.

        Raises:
            BadInput: the percentiles coincide (nearly all voxels have the same value).
        """
        if self.level is not None and self.width is not None:
            return self.level - self.width / 2, self.level + self.width / 2
        spread = _Plain(values) if isinstance(values, np.ndarray) else values
        whole = self.percentiles == (0.0, 100.0)
        low, high = spread.extremes if whole else spread.percentiles(*self.percentiles)
        if not high > low:
            raise BadInput(
                f"nearly all voxels have the value {low:g}, percentiles show nothing: "
                "choose the window none or LEVEL,WIDTH"
            )
        return low, high

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Map (X, Y, Z) grey values to [0, 1], in floating point throughout.

        Args:
            values: (X, Y, Z), any real type; CLAHE equalises each axial slice, `[..., z]`.

        Returns:
            (X, Y, Z) float32.

        Raises:
            BadInput: the percentiles coincide (nearly all voxels have the same value).
        """
        scaled = scale(values, self.limits(values))
        if self.clahe:
            equalise(scaled, 2)
        return scaled

    def describe(self) -> str:
        """The text that `parse_window` reads back: a preset's name if there is one."""
        for name, preset in PRESETS.items():
            if preset == self:
                return name
        if self.clahe:
            return f"clahe+{Window(self.level, self.width, self.percentiles).describe()}"
        if self.level is None:
            raise ValueError(f"no name for the percentiles {self.percentiles}")
        return f"{self.level:.10g},{self.width:.10g}"


# the paper gives no figures for its bone window; these are MedSAM's
PRESETS = {
    "bone": Window(400, 1800),
    "soft-tissue": Window(40, 400),
    "lung": Window(-600, 1500),
    "brain": Window(40, 80),
    "mr": Window(percentiles=(0.5, 99.5)),
    "none": Window(),
    "clahe": Window(clahe=True),
    "clahe+bone": Window(400, 1800, clahe=True),
}


def scale(values: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.float32]:
    """Grey values of any real type to [0, 1]: the limits become 0 and 1, what lies beyond, too."""
    low, high = limits
    scaled = np.empty(values.shape, dtype=np.float32)
    np.subtract(values, np.float32(low), out=scaled, dtype=np.float32, casting="same_kind")
    scaled /= np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled)


def equalise(volume: NDArray[np.float32], dim: int) -> None:
    """CLAHE of (X, Y, Z) values in [0, 1], in place, slice by slice along dimension `dim`."""
    # costs half a second, and parsing a window needs none of it
    from skimage.exposure import equalize_adapthist

    for plane in np.moveaxis(volume, dim, 0):
        if plane.max() > plane.min():
            plane[...] = equalize_adapthist(plane, clip_limit=_CLAHE_CLIP, nbins=_CLAHE_BINS)


@dataclass(frozen=True)
class _Plain:
    """The spread of an array."""

    values: NDArray[Any]

    @property
    def extremes(self) -> tuple[float, float]:
        """Least and greatest."""
        return float(self.values.min()), float(self.values.max())

    def percentiles(self, low: float, high: float) -> tuple[float, float]:
        """Two percentiles."""
        a, b = percentiles(self.values, (low, high))
        return a, b


def parse_window(text: str) -> Window:
    """A preset's name, `LEVEL,WIDTH`, or `clahe+` one of these.

    Raises:
        BadInput: neither; lists what is known.
    """
    name = str(text).strip().lower()
    if name in PRESETS:
        return PRESETS[name]
    if name.startswith("clahe+"):
        inner = parse_window(name.removeprefix("clahe+"))
        return Window(inner.level, inner.width, inner.percentiles, clahe=True)
    try:
        level, width = (float(part) for part in name.split(","))
    except ValueError:
        raise BadInput(
            f"unknown window {text!r}: use {', '.join(PRESETS)}, LEVEL,WIDTH or clahe+LEVEL,WIDTH"
        ) from None
    if not (np.isfinite(level) and np.isfinite(width) and width > 0):
        raise BadInput(f"window {text!r}: the width must be positive")
    return Window(level, width)

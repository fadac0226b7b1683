"""Grey values to [0, 1]: level and width, percentiles, and CLAHE.

Arrays alone; `lib.transforms.dictionary` has the MONAI transform.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.errors import BadInput

# 1024 grey levels; the clip limit allows each the 2.56-fold of an even histogram, as the
# customary 0.01 does for 256
_CLAHE_BINS = 1024
_CLAHE_CLIP = 2.56 / _CLAHE_BINS


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

    def limits(self, volume: np.ndarray) -> tuple[float, float]:
        """The grey values that become 0 and 1."""
        if self.level is not None and self.width is not None:
            return self.level - self.width / 2, self.level + self.width / 2
        if self.percentiles == (0.0, 100.0):
            return float(volume.min()), float(volume.max())
        low, high = np.percentile(volume, self.percentiles)
        return float(low), float(high)

    def apply(self, volume: np.ndarray, axis_dim: int = 2) -> np.ndarray:
        """Map (X, Y, Z) grey values to [0, 1], in floating point throughout.

        Args:
            volume: (X, Y, Z), any real type.
            axis_dim: the dimension slices are stacked in, for CLAHE.

        Returns:
            (X, Y, Z) float32.

        Raises:
            BadInput: the percentiles coincide (nearly all voxels have the same value).
        """
        low, high = self.limits(volume)
        if not high > low:
            raise BadInput(
                f"nearly all voxels have the value {low:g}, percentiles show nothing: "
                "choose the window none or LEVEL,WIDTH"
            )
        scaled = np.subtract(volume, np.float32(low), dtype=np.float32)
        scaled /= np.float32(high - low)
        np.clip(scaled, 0, 1, out=scaled)
        if self.clahe:
            equalise(scaled, axis_dim)
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


def equalise(volume: np.ndarray, axis_dim: int) -> None:
    """CLAHE of (X, Y, Z) values in [0, 1], in place, slice by slice along a dimension."""
    # costs half a second, and parsing a window needs none of it
    from skimage.exposure import equalize_adapthist

    for plane in np.moveaxis(volume, axis_dim, 0):
        if plane.max() > plane.min():
            plane[...] = equalize_adapthist(plane, clip_limit=_CLAHE_CLIP, nbins=_CLAHE_BINS)


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

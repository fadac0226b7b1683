"""What the objects of a label map are called, and their colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nrrd
import numpy as np
from numpy.typing import NDArray

# Okabe and Ito's colours, which people who confuse red and green tell apart, too
_COLOURS = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)


@dataclass(frozen=True)
class Segment:
    """Name and colour (red, green, blue from 0 to 255) of one object."""

    name: str
    colour: tuple[int, int, int]


def named(names: Mapping[int, str]) -> dict[int, Segment]:
    """Objects by number, with a colour each."""
    return {i: Segment(name, _COLOURS[(i - 1) % len(_COLOURS)]) for i, name in names.items()}


def complete(segments: Mapping[int, Segment], ids: Iterable[int]) -> dict[int, Segment]:
    """The segments with these numbers; one that has no name becomes `object N`."""
    nameless = named({i: f"object {i}" for i in ids})
    return {i: segments.get(i, unnamed) for i, unnamed in nameless.items()}


def masks_of(labels: NDArray[np.integer]) -> dict[int, NDArray[np.bool_]]:
    """(X, Y, Z) bool masks of a label map, by value; 0 is background."""
    return {int(i): labels == i for i in np.unique(labels) if i}


def of_slicer(path: Path | None) -> dict[int, Segment]:
    """The segments that 3D Slicer writes into the header of a `.seg.nrrd`, by label value.

    Empty for any other file, or none; a segment without a name, number or colour of its own is left
    out.
    """
    if path is None or not path.name.lower().endswith(".nrrd"):
        return {}
    header = nrrd.read_header(str(path))
    found = {}
    for key, value in header.items():
        if not (key.startswith("Segment") and key.endswith("_LabelValue")):
            continue
        prefix = key.removesuffix("LabelValue")
        name, colour = header.get(f"{prefix}Name"), header.get(f"{prefix}Color", "").split()
        try:
            red, green, blue = (min(max(round(255 * float(part)), 0), 255) for part in colour)
            number = int(value)
        except (ValueError, OverflowError):  # as many parts as there are, or anything
            continue
        if name:
            found[number] = Segment(name, (red, green, blue))
    return found

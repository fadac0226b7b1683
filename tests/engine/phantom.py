"""A CT of two rods in integers alone: the same voxels wherever and whenever it is made."""

from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE, SPACING = (40, 36, 16), (1.5, 1.5, 3.0)
#: Stored left-posterior-superior, as most files are.
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.diag([*SPACING, 1.0])


def rods() -> np.ndarray:
    """(X, Y, Z) uint8: an oblique rod (1), a thinner upright one beside it (2)."""
    i, j, k = np.indices(SHAPE)
    labels = np.zeros(SHAPE, np.uint8)
    labels[(2 * i - 20 - k) ** 2 + (2 * j - 36) ** 2 <= 144] = 1
    labels[(i - 30) ** 2 + (j - 14) ** 2 <= 9] = 2
    labels[..., [0, 15]] = 0
    return labels


def ct() -> np.ndarray:
    """(X, Y, Z) int16 in HU: the rods bright, something like noise everywhere."""
    i, j, k = np.indices(SHAPE)
    noise = (7 * i + 13 * j + 29 * k + i * j * k) % 61
    return (20 + noise + 700 * (rods() > 0)).astype(np.int16)


def write_ct(path: Path) -> Path:
    """The CT as a file."""
    nib.save(nib.Nifti1Image(ct(), AFFINE), path)
    return path


def painted(slices=(2, 8, 13), value: int = 1) -> np.ndarray:
    """(X, Y, Z) uint8: rod `value` on some axial slices."""
    labels = np.zeros(SHAPE, np.uint8)
    for k in slices:
        labels[..., k] = value * (rods()[..., k] == value)
    return labels

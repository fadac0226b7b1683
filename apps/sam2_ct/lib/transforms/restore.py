"""From the crop that the engine saw back to the file's grid."""

from __future__ import annotations

import numpy as np

from lib.geometry import Grid


def to_file_grid(
    prediction: np.ndarray, grid: Grid, source_grid: Grid, fill: float = 0
) -> np.ndarray:
    """Undo crop and orientation exactly, whatever the file's orientation.

    Args:
        prediction: (X, Y, Z) on `grid`.
        grid: what was predicted on.
        source_grid: the file's grid.
        fill: value outside the crop.

    Returns:
        Array of `source_grid.shape` and the dtype of `prediction`.
    """
    if prediction.shape != grid.shape:
        raise ValueError(f"prediction of shape {prediction.shape} on a grid of {grid.shape}")
    return grid.map_to(source_grid).array(prediction, source_grid.shape, fill)

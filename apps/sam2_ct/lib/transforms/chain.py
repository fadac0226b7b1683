"""From a file to what the engine sees, and from the engine's result back to the file's grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Orientationd, Transform

from lib.geometry import Axis, Grid
from lib.transforms.crop import CropToPromptsd
from lib.transforms.dictionary import ScaleWindowd
from lib.transforms.load import LoadVolumed, grid_of
from lib.transforms.window import PRESETS, Window


def pre_transforms(
    *,
    window: Window = PRESETS["bone"],
    axes: Sequence[Axis] = (Axis.AXIAL,),
    margin_fraction: float = 0.25,
    margin_mm: float = 16.0,
) -> list[Transform]:
    """The transforms of a request, to be run in order.

    In: `image` (path), `prompts` (`PromptSet` on the file's grid or any flip, permutation or crop
    of it), optionally `roi` (bounds on the prompts' grid).

    Out: `image` (1, X, Y, Z) float32 in [0, 1], RAS, cropped; `prompts` on exactly that grid;
    `source_grid`, the `Grid` of the file; `warnings`, list of str.

    Args:
        window: grey values to [0, 1].
        axes: the axes propagation will run along; they decide what may be cropped, and the first
            one which slices CLAHE equalises.
        margin_fraction: margin of the crop as a fraction of the marked extent.
        margin_mm: least margin of the crop.
    """
    return [
        LoadVolumed("image"),
        Orientationd("image", axcodes="RAS", labels=None),
        ScaleWindowd("image", window, axes[0].dim),
        CropToPromptsd("image", axes=axes, margin_fraction=margin_fraction, margin_mm=margin_mm),
    ]


def to_file_grid(
    prediction: np.ndarray, image: MetaTensor | Grid, source_grid: Grid, fill: float = 0
) -> np.ndarray:
    """Undo crop and orientation exactly, whatever the file's orientation.

    Args:
        prediction: (X, Y, Z) on the grid of `image`.
        image: the image that was predicted on, or its grid.
        source_grid: the file's grid.
        fill: value outside the crop.

    Returns:
        Array of `source_grid.shape` and the dtype of `prediction`.
    """
    grid = image if isinstance(image, Grid) else grid_of(image)
    if prediction.shape != grid.shape:
        raise ValueError(f"prediction of shape {prediction.shape} on a grid of {grid.shape}")
    return grid.map_to(source_grid).array(prediction, source_grid.shape, fill)

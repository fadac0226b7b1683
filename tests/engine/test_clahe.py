"""CLAHE equalises the slices that are played, whichever axis that is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from skimage.exposure import equalize_adapthist

from lib.engine.pipeline import Case
from lib.geometry import Axis, Grid
from lib.transforms.window import PRESETS


@pytest.mark.parametrize("axis", list(Axis))
def test_slices_of_the_axis_are_equalised(axis):
    values = np.random.default_rng(0).random((24, 28, 32), dtype=np.float32) ** 3
    image = MetaTensor(torch.from_numpy(values.copy())[None], torch.eye(4))
    case = Case(Path("ct"), image, Grid(values.shape, np.eye(4)), PRESETS["clahe"], ())
    shown = case.along(axis)
    assert case.along(axis) is shown, "done once"
    plane = np.take(values, 5, axis=axis.dim)
    expected = equalize_adapthist(plane, clip_limit=2.56 / 1024, nbins=1024)
    np.testing.assert_allclose(np.take(shown[0].numpy(), 5, axis=axis.dim), expected, atol=1e-6)
    assert (image[0].numpy() == values).all(), "the volume itself stays"


def test_other_windows_are_one_volume_for_all_axes():
    image = MetaTensor(torch.rand(1, 8, 8, 8), torch.eye(4))
    case = Case(Path("ct"), image, Grid((8, 8, 8), np.eye(4)), PRESETS["bone"], ())
    assert all(case.along(axis) is image for axis in Axis)

"""CLAHE equalises the slices that are played, whichever axis that is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from skimage.exposure import equalize_adapthist

from lib.configs.options import Settings
from lib.engine.pipeline import Case, Pipeline
from lib.engine.recipe import Recipe
from lib.geometry import Axis, Grid
from lib.models.build import load_predictor
from lib.prompts.labelmap import from_labelmap
from lib.propagation import inferer
from lib.propagation.video import PseudoVideo
from lib.transforms.window import PRESETS
from tests.engine import phantom


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


def test_three_axes_see_their_own_slices(tmp_path, monkeypatch):
    pipeline = Pipeline(load_predictor("builtin", device="cpu"))
    settings = Settings.parse({"window": "clahe", "propagation": "three-axis"})
    case = pipeline.open(phantom.write_ct(tmp_path / "ct.nii.gz"), settings)
    prompts = from_labelmap(phantom.painted(value=1), case.source_grid, Axis.AXIAL)
    whole = np.zeros(3, dtype=int), np.array(case.source_grid.shape)
    played = {}

    def watched(volume, grid, axis, image_size):
        if image_size > 1:  # else only its shape is asked for
            played[axis] = volume
        return PseudoVideo(volume, grid, axis, image_size)

    monkeypatch.setattr(inferer, "PseudoVideo", watched)
    pipeline.carry_out(case, Recipe(prompts, settings, crop=whole))
    assert set(played) == set(Axis)
    for axis, volume in played.items():
        np.testing.assert_array_equal(volume, case.along(axis)[0].numpy())

"""CLAHE equalises the slices that are played, whichever axis that is."""

import numpy as np
import pytest
from skimage.exposure import equalize_adapthist

from lib.configs.options import Settings
from lib.engine.pipeline import Pipeline
from lib.engine.recipe import Recipe
from lib.geometry import Axis, Grid
from lib.models.build import load_predictor
from lib.prompts.labelmap import from_labelmap
from lib.propagation import inferer
from lib.propagation.video import PseudoVideo
from lib.transforms import windowed
from lib.transforms.volume import Volume
from lib.transforms.window import PRESETS
from lib.transforms.windowed import Windowed
from tests.engine import phantom

WHOLE = np.zeros(3, dtype=int), np.array([24, 28, 32])


@pytest.fixture
def volume() -> Volume:
    values = np.random.default_rng(0).random((24, 28, 32), dtype=np.float32) ** 3
    return Volume(values, Grid(values.shape, np.eye(4)))


@pytest.mark.parametrize("axis", list(Axis))
def test_slices_of_the_axis_are_equalised(axis, volume, monkeypatch):
    shown = Windowed(volume, PRESETS["clahe"])
    before = volume.stored.copy()
    part = shown.part(WHOLE, axis)
    low, high = volume.extremes
    plane = (np.take(volume.stored, 5, axis=axis.dim) - np.float32(low)) / np.float32(high - low)
    expected = equalize_adapthist(plane, clip_limit=2.56 / 1024, nbins=1024)
    np.testing.assert_allclose(np.take(part, 5, axis=axis.dim), expected, atol=1e-6)
    assert (volume.stored == before).all(), "the volume itself stays"
    monkeypatch.setattr(windowed, "equalise", lambda *_: pytest.fail("done once"))
    inside = np.array([3, 4, 5]), np.array([20, 21, 22])
    np.testing.assert_array_equal(shown.part(inside, axis), part[3:20, 4:21, 5:22])


def test_other_windows_are_the_same_for_all_axes(volume):
    shown = Windowed(volume, PRESETS["none"])
    first, *others = (shown.part(WHOLE, axis) for axis in Axis)
    for other in others:
        np.testing.assert_array_equal(first, other)


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
        np.testing.assert_array_equal(volume, case.shown.part(whole, axis))

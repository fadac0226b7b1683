"""Voxels of other objects are kept out of what is remembered of tracked slices."""

import numpy as np
import pytest

from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.settings import Propagation, PropagationSettings

SETTINGS = PropagationSettings()


@pytest.fixture
def run(predictor, volume, three_prompts):
    inferer = PseudoVideoInferer(predictor, "random weights")

    def logits(taken=None, settings=SETTINGS):
        return inferer(volume, three_prompts, settings, taken=taken).logits[1].astype(np.float32)

    return logits


def test_nothing_taken_changes_nothing(run, volume):
    np.testing.assert_array_equal(run(np.zeros(volume.shape, bool)), run())


@pytest.mark.parametrize("propagation", [Propagation.SINGLE, Propagation.FORWARD_BACKWARD])
def test_taken_voxels_are_neither_object_nor_remembered(run, volume, propagation):
    settings = PropagationSettings(propagation=propagation)
    plain = run(settings=settings)
    taken = np.zeros(volume.shape, bool)
    taken[:, :20, 4:8] = True
    cut = run(taken, settings)
    assert (plain[:, :18, 4:8] > 0).any()  # else this would prove nothing
    assert (cut[:, :18, 4:8] <= 0).all()  # a pixel of the network's grid from the border
    assert (cut[..., 9] != plain[..., 9]).any()  # later slices remember something else
    if propagation is Propagation.SINGLE:
        np.testing.assert_array_equal(cut[..., :4], plain[..., :4])  # earlier ones do not


def test_painted_slices_stay_as_they_were_painted(run, volume, three_prompts):
    cut = run(np.ones(volume.shape, bool))
    for prompt in three_prompts.prompts:
        np.testing.assert_array_equal(cut[..., prompt.index] > 0, prompt.mask)

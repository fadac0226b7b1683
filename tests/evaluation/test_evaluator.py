"""A sample under several configurations: the crop, encoding once, clicks, rounds of correction."""

import numpy as np
import pytest
from scipy import ndimage

from lib.evaluation import split as splits
from lib.evaluation.configurations import Configuration
from lib.evaluation.dataset import classes
from lib.evaluation.evaluator import Evaluator, Recipe
from lib.evaluation.protocol import SceneMaker
from lib.geometry import Axis


@pytest.fixture(scope="module")
def sample(dataset):
    (sacrum,) = splits.draw(dataset, classes("sacrum"), 1, 0).samples
    return sacrum


@pytest.fixture(scope="module")
def evaluator(dataset, checkpoint):
    return Evaluator(Recipe(dataset, "builtin", checkpoint, "cpu", frozenset()), "mine")


def parse(**options):
    return Configuration.parse(options).on("mine")


def results(evaluator, sample, *configurations):
    found = evaluator.evaluate(sample, [c.on("mine") for c in configurations])
    return {r.record["configuration"]: r.record for r in found}


def test_the_crop_is_the_same_for_all_and_exact_along_the_axis(dataset, sample):
    scenes = SceneMaker(dataset)
    one = scenes(sample, parse())
    three = scenes(sample, parse(propagation="three-axis", prompts="middle", window="none"))
    assert one.image.shape == three.image.shape
    assert one.grid.same_as(three.grid)
    assert one.truth.any((0, 1)).all()
    assert one.truth.shape[2] == sample.slices
    assert int(one.truth.sum()) == sample.voxels
    # 16 mm of margin is 11 voxels; the object's box is clipped by the volume elsewhere
    assert not one.truth[:11].any()
    assert sorted(p.axis for p in three.prompts.prompts) == sorted(Axis)
    assert [p.index for p in one.prompts.prompts] == [0, 4, 8]


def test_a_flipped_file_gives_the_right_truth(dataset):
    flipped = splits.draw(dataset, classes("rib_right_7"), 1, 0).samples[0]
    scene = SceneMaker(dataset)(flipped, parse())
    assert int(scene.truth.sum()) == flipped.voxels
    # bright inside, dark around: volume and mask were turned alike
    rim = ndimage.binary_dilation(scene.truth) & ~scene.truth
    assert scene.raw[scene.truth].min() > 300
    assert np.median(scene.raw[rim]) < 100


def test_slices_are_encoded_once_for_configurations_that_share(evaluator, sample):
    shared = [parse(), parse(policy="is"), parse(propagation="forward-backward")]
    found = results(evaluator, sample, *shared, parse(window="none"))
    encoded = sorted(r["encoded"] for r in found.values())
    assert encoded == [0, 0, sample.slices, sample.slices]
    baseline = found[parse().key]
    assert baseline["tracked"] == sample.slices - 3
    assert baseline["components"]["memory attention"][1] == sample.slices - 3
    assert set(baseline["marked"]) == {"axial"}


def test_painted_slices_count_as_painted_and_perfect(evaluator, sample):
    everything = parse(prompts=f"uniform-{sample.slices}")
    (record,) = results(evaluator, sample, everything).values()
    assert record["scores"]["dice"] == 1.0
    assert record["scores"]["hd_mm"] == 0.0
    assert record["scores"]["dice_unpainted"] is None


def test_clicks_replace_the_mask_on_the_middle_slice(evaluator, sample):
    (record,) = results(evaluator, sample, parse(prompts="middle", annotation="clicks-3")).values()
    assert record["marked"] == {"axial": [4]}
    assert record["tracked"] >= sample.slices - 1
    # the slice alone, with one and with two clicks, is another pseudo-video of one slice
    assert record["encoded"] == sample.slices + 1


@pytest.mark.parametrize("correction", ["mask", "clicks-1"])
def test_rounds_of_correction(evaluator, sample, correction):
    (record,) = results(
        evaluator, sample, parse(prompts="middle", rounds="3", correction=correction)
    ).values()
    dice = [r["dice"] for r in record["rounds"]]
    assert len(dice) == 4
    assert record["auc"]["dice"] == pytest.approx(np.sum(np.add(dice[1:], dice[:-1]) / 2), abs=1e-5)
    assert len(record["marked"]["axial"]) == 4
    if correction == "mask":
        assert dice[-1] > dice[0]


def test_interpolation_may_be_corrected_too_until_nothing_is_wrong(evaluator, sample):
    options = {"method": "interpolation", "prompts": "first-last", "rounds": "9"}
    (record,) = results(evaluator, sample, parse(**options)).values()
    assert len(record["rounds"]) == 10
    assert record["rounds"][-1]["dice"] == 1.0

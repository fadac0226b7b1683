"""A sample under several configurations: crop or volume, encoding once, clicks, corrections."""

from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from lib.configs.options import Settings
from lib.engine.pipeline import Pipeline
from lib.engine.recipe import Recipe
from lib.evaluation import split as splits
from lib.evaluation import trial
from lib.evaluation.configurations import Configuration, Method, Scope
from lib.evaluation.dataset import classes
from lib.evaluation.evaluator import Equipment, Evaluator
from lib.evaluation.metrics import overlap, reach
from lib.evaluation.protocol import SceneMaker
from lib.geometry import Axis
from lib.prompts.simulated import click_prompt
from lib.prompts.types import PromptSet
from lib.prompts.wiped import as_voxels
from tests.evaluation.conftest import SHAPE


@pytest.fixture(scope="module")
def sample(dataset):
    (sacrum,) = splits.draw(dataset, classes("sacrum"), 1, 0).samples
    return sacrum


@pytest.fixture(scope="module")
def evaluator(dataset, checkpoint):
    return Evaluator(Equipment(dataset, "builtin", checkpoint, "cpu", frozenset()), "mine")


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


def test_in_the_whole_volume_nothing_is_cut_to_the_truth(dataset, sample):
    whole = SceneMaker(dataset)(sample, parse(scope="volume", prompts="inner-3"))
    assert whole.grid.shape == whole.image.shape == whole.raw.shape == SHAPE
    assert int(whole.truth.sum()) == sample.voxels
    # the object is on slices 1 to 9
    assert [p.index for p in whole.prompts.prompts] == [3, 5, 7]


@pytest.mark.parametrize("annotation", ["mask", "box", "clicks-1", "freehand"])
def test_the_whole_volume_gives_what_is_served(evaluator, dataset, annotation):
    flipped = splits.draw(dataset, classes("rib_right_7"), 1, 0).samples[0]
    configuration = parse(scope="volume", prompts="inner-2", annotation=annotation)
    (record,) = results(evaluator, flipped, configuration).values()
    scene = SceneMaker(dataset)(flipped, configuration)
    marked = scene.prompts.prompts
    if annotation == "clicks-1":
        marked = [click_prompt(m, 1) for m in marked]

    served = Pipeline(evaluator.pipeline("mine").model)
    case = served.open(dataset / "case_b" / "ct.nii.gz", Settings())
    prompts = PromptSet(scene.grid, tuple(marked)).on(case.source_grid)
    outcome = served.carry_out(case, Recipe(prompts, Settings()))
    found = case.source_grid.map_to(scene.grid).array(outcome.labels == 1, scene.grid.shape)
    assert found.any()
    assert record["scores"]["dice"] == pytest.approx(overlap(found, scene.truth)[0], abs=1e-3)
    dim = scene.grid.dim_of(Axis.AXIAL)
    assert record["reach"] == asdict(reach(found, scene.truth, scene.grid.spacing, dim))


def test_interpolation_is_of_the_same_drawings(evaluator, dataset, sample):
    ours = parse(scope="volume", prompts="first-last", annotation="freehand")
    filled = replace(ours, method=Method.INTERPOLATION)
    scenes = SceneMaker(dataset)
    drawn, again = (scenes(sample, c).prompts.prompts for c in (ours, filled))
    for one, other in zip(drawn, again, strict=True):
        assert one.index == other.index
        np.testing.assert_array_equal(one.mask, other.mask)
    found = results(evaluator, sample, ours, filled)
    # the object is on slices 1 to 9, so slices 2 and 8 were painted
    assert [r["marked"] for r in found.values()] == [{"axial": [2, 8]}] * 2
    assert found[filled.key]["reach"]["slices_missed"] == 2
    (one,) = results(evaluator, sample, replace(filled, prompts="middle")).values()
    scene = scenes(sample, replace(filled, prompts="middle"))
    (mask,) = scene.prompts.prompts
    alone = np.zeros_like(scene.truth)
    alone[..., mask.index] = mask.mask
    assert one["scores"]["dice"] == pytest.approx(overlap(alone, scene.truth)[0], abs=1e-6)


def test_reach_is_told_of_whole_volumes_only(evaluator, sample):
    found = results(
        evaluator, sample, *(parse(method="interpolation", scope=s.value) for s in Scope)
    )
    assert sorted("reach" in r for r in found.values()) == [False, True]


@pytest.mark.parametrize("choice", ["middle", "random", "suggested", "worst"])
def test_one_more_slice_a_round(evaluator, sample, choice):
    options = {"scope": "volume", "prompts": "first-last", "rounds": "2", "choice": choice}
    (record,) = results(evaluator, sample, parse(**options)).values()
    assert len(record["rounds"]) == 3
    marked = record["marked"]["axial"]
    assert {1, 9} <= set(marked)
    assert len(marked) + len(record["wiped"]) == 4  # suggestions may lie beyond the ends
    if choice == "middle":
        assert marked == [1, 3, 5, 9]


@pytest.mark.parametrize("found", [True, False])
def test_a_slice_without_the_object_is_wiped_if_anything_was_found_there(
    evaluator, sample, monkeypatch, found
):
    def carry_out(pipeline, case, recipe):
        """The object on every slice that was not wiped, or nowhere."""
        labels = np.full(case.source_grid.shape, found)
        for wiped in recipe.wiped:
            labels &= ~as_voxels([wiped], case.source_grid)
        said = SimpleNamespace(slices=(), encoded_slices=0, decided=(), next_slices=())
        return SimpleNamespace(labels=labels.astype(np.uint8), report=said)

    monkeypatch.setattr(Pipeline, "carry_out", carry_out)
    monkeypatch.setattr(trial, "following", lambda *_, **__: 10)  # the object ends on 9
    options = {"scope": "volume", "prompts": "inner-2", "rounds": "1"}
    (record,) = results(evaluator, sample, parse(**options)).values()
    first, second = record["rounds"]
    assert record["marked"]["axial"] == [4, 6]
    assert record["wiped"] == ([10] if found else [])
    assert (second["dice"] > first["dice"]) == found


def test_interpolation_is_wiped_too(evaluator, sample, monkeypatch):
    monkeypatch.setattr(trial, "following", lambda *_, **__: 5)
    scenes = evaluator.scenes

    def hollow(*asked):
        scene = scenes(*asked)
        truth = scene.truth.copy()
        truth[..., 5] = False
        return replace(scene, truth=truth)

    monkeypatch.setattr(evaluator, "scenes", hollow)
    options = {"scope": "volume", "method": "interpolation", "prompts": "inner-2", "rounds": "1"}
    (record,) = results(evaluator, sample, parse(**options)).values()
    assert record["wiped"] == [5]
    first, second = record["rounds"]
    assert second["dice"] > first["dice"]

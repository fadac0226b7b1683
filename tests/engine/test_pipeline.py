"""The engine's entry, from a file and a recipe to labels and report."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from lib.configs.options import Settings
from lib.engine.pipeline import Pipeline
from lib.engine.recipe import Recipe
from lib.engine.report import SCHEMA, to_json
from lib.errors import BadInput, Cancelled
from lib.geometry import Axis
from lib.models.build import load_predictor
from lib.prompts.labelmap import from_labelmap
from lib.prompts.types import Mask, Points, PromptSet
from lib.prompts.wiped import Wiped
from tests.engine import phantom


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(load_predictor("builtin", device="cpu"))


@pytest.fixture
def settings() -> Settings:
    return Settings.parse({"axis": "axial"})


@pytest.fixture
def case(pipeline, settings, tmp_path):
    return pipeline.open(phantom.write_ct(tmp_path / "ct.nii.gz"), settings)


@pytest.fixture
def prompts(case) -> PromptSet:
    both = phantom.painted(value=1) + phantom.painted((4, 8, 12), value=2)
    return from_labelmap(both, case.source_grid, Axis.AXIAL)


def test_labels_and_report_name_the_same(pipeline, case, prompts, settings):
    outcome = pipeline.carry_out(case, Recipe(prompts, settings, decided=("because",)))
    report = outcome.report
    assert outcome.labels.shape == phantom.SHAPE
    assert outcome.grid.same_as(case.source_grid)
    voxels = {i: int((outcome.labels == i).sum()) for i in (1, 2)}
    assert {o.object_id: o.voxels for o in report.objects} == voxels
    assert {s.object_id for s in report.slices} == {1, 2}
    assert {i for c in report.crops for i in c.objects} == {1, 2}
    assert report.decided[0] == "because"
    assert report.seconds.keys() >= {"crop", "encode", "track", "merge", "restore", "report"}
    for prompt in prompts.prompts:
        inside = outcome.labels[..., prompt.index] == prompt.object_id
        np.testing.assert_array_equal(inside, prompt.mask)
    with pytest.raises(FrozenInstanceError):
        report.confidence = 1.0
    said = json.loads(json.dumps(to_json(report)))
    assert said["schema"] == SCHEMA
    assert said["objects"][0]["object"] == 1
    assert said["settings"] == settings.describe()
    assert {s["axis"] for s in said["slices"]} == {"axial"}


def test_objects_that_may_overlap_share_voxels(pipeline, case, settings):
    same = phantom.painted().astype(bool)
    prompts = PromptSet(
        case.source_grid,
        tuple(Mask(Axis.AXIAL, k, i, same[..., k]) for i in (1, 2) for k in (2, 8, 13)),
    )
    outcome = pipeline.carry_out(case, Recipe(prompts, replace(settings, overlap=True)))
    assert outcome.labels.shape == (2, *phantom.SHAPE)
    assert (outcome.labels[0] & outcome.labels[1])[same].all()
    voxels = {i: int(outcome.labels[i - 1].sum()) for i in (1, 2)}
    assert {o.object_id: o.voxels for o in outcome.report.objects} == voxels


def test_a_crop_is_obeyed_exactly(pipeline, case, prompts, settings):
    first, stop = np.array([2, 6, 1]), np.array([36, 34, 14])
    outcome = pipeline.carry_out(case, Recipe(prompts, settings, crop=(first, stop)))
    (crop,) = outcome.report.crops
    assert (crop.first, crop.stop) == ((2, 6, 1), (36, 34, 14))
    outside = np.ones(phantom.SHAPE, bool)
    outside[2:36, 6:34, 1:14] = False
    assert not outcome.labels[outside].any()
    assert outcome.labels.any()


def test_clicks_in_a_crop_are_not_looked_at_beyond_it(pipeline, case, settings, monkeypatch):
    monkeypatch.setattr("lib.engine.pipeline.look_closer", lambda *_: 1 / 0)
    click = Points(Axis.AXIAL, 8, 1, np.array([[14.0, 18.0]]), np.empty((0, 2)))
    recipe = Recipe(PromptSet(case.source_grid, (click,)), settings)
    whole = np.zeros(3, int), np.array(phantom.SHAPE)
    assert pipeline.carry_out(case, replace(recipe, crop=whole)).labels.shape == phantom.SHAPE
    with pytest.raises(ZeroDivisionError):
        pipeline.carry_out(case, recipe)


def test_what_is_left_out_is_told_apart(pipeline, case, settings):
    prompts = from_labelmap(phantom.painted(), case.source_grid, Axis.AXIAL)
    whole = pipeline.carry_out(case, Recipe(prompts, settings)).labels
    taken = np.zeros(phantom.SHAPE, bool)
    taken[:14] = True
    wiped = (Wiped(1, Axis.AXIAL, frozenset({5, 6})),)
    recipe = Recipe(prompts, settings, taken=taken, wiped=wiped)
    outcome = pipeline.carry_out(case, recipe)
    assert whole[..., 5:7].any()
    assert not outcome.labels[..., 5:7].any()
    assert not outcome.labels[taken].any()
    (told,) = outcome.report.objects
    assert told.left_to_others > 0  # painted slices reach into the other segment
    assert any("belong to other segments" in d for d in outcome.report.decided)
    assert [(a.first, a.last) for a in outcome.report.absent] == [(5, 6)]


def test_written_before_the_report_is_made(pipeline, case, prompts, settings, tmp_path):
    path = tmp_path / "labels.npy"

    def write(labels, grid):
        np.save(path, labels)
        return [path]

    outcome = pipeline.carry_out(case, Recipe(prompts, settings), write=write)
    assert outcome.report.written == (path,)
    assert "write" in outcome.report.seconds
    np.testing.assert_array_equal(np.load(path), outcome.labels)


def test_stopped_at_the_next_slice(pipeline, case, prompts, settings):
    def stop(done, _expected):
        raise Cancelled(f"after {done}")

    with pytest.raises(Cancelled, match="after 1"):
        pipeline.carry_out(case, Recipe(prompts, settings), stop)


def test_another_volume_is_refused(pipeline, case, prompts, settings):
    taken = np.zeros((3, 3, 3), bool)
    with pytest.raises(BadInput, match="was the volume exchanged"):
        pipeline.carry_out(case, Recipe(prompts, settings, taken=taken))

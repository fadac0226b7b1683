"""`segment --picture`: the result in three planes, named in the report, refused before the work."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from lib.commands import execute
from lib.commands.main import app
from lib.engine.log import Key, Results
from lib.geometry import Axis
from lib.pictures import result


@pytest.fixture(scope="module")
def segment():
    return lambda *words: execute(app, ["segment", *map(str, words), "--model", "builtin"])


def test_the_picture_shows_the_result_and_the_report_names_it(
    segment, ct, prompts, tmp_path, monkeypatch
):
    drawn = []
    draw = result.write_png
    monkeypatch.setattr(result, "write_png", lambda p, to: (drawn.append(p), draw(p, to)))
    out, report, picture = (tmp_path / n for n in ("out.nii.gz", "report.json", "out.png"))
    words = ["-o", out, "--report", report, "--picture", picture]
    assert segment(ct, "--prompts", prompts, *words) == 0
    said = json.loads(report.read_text())
    assert said["written"] == [str(out), str(picture)]
    assert said["seconds"]["picture"] > 0
    with Image.open(picture) as image:
        assert np.asarray(image.convert("RGB")).std() > 10
    (shown,) = drawn
    assert shown.marked.prompted == {Axis.AXIAL: [3, 7, 12]}
    assert set(shown.marked.suggested[Axis.AXIAL]) == {s["index"] for s in said["next_slices"]}
    assert list(shown.found.ids) == [2, 5]
    assert {o["object"]: o["voxels"] for o in said["objects"]} == {
        i: int((shown.found.labels == i).sum()) for i in (2, 5)
    }


def test_objects_that_share_voxels_are_drawn_too(segment, ct, prompts, tmp_path):
    picture = tmp_path / "out.png"
    words = ["-o", tmp_path / "out.nii.gz", "--overlap", "--picture", picture]
    assert segment(ct, "--prompts", prompts, *words) == 0
    assert picture.exists()


def refused(segment, capsys, ct, prompts, picture, word):
    out = picture.parent / "out.nii.gz"
    assert segment(ct, "--prompts", prompts, "-o", out, "--picture", picture) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: cannot write") or "no folder" in said
    assert word in said
    assert "\n" not in said  # it says nothing else: no work began
    assert not out.exists()


def test_another_ending_is_refused_before_the_work(segment, ct, prompts, tmp_path, capsys):
    refused(segment, capsys, ct, prompts, tmp_path / "out.jpg", "must end in .png")


def test_a_folder_that_is_not_there(segment, ct, prompts, tmp_path, capsys):
    out = tmp_path / "out.nii.gz"
    picture = tmp_path / "nowhere" / "out.png"
    assert segment(ct, "--prompts", prompts, "-o", out, "--picture", picture) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_in_its_place(segment, ct, prompts, tmp_path, capsys):
    (tmp_path / "out.png").mkdir()
    refused(segment, capsys, ct, prompts, tmp_path / "out.png", "is a folder")


def test_a_folder_that_may_only_be_read(segment, ct, prompts, tmp_path, capsys, monkeypatch):
    usual = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: mode != os.W_OK and usual(p, mode))
    refused(segment, capsys, ct, prompts, tmp_path / "out.png", "may only be read")


def test_a_replay_draws_the_logged_result(segment, ct, prompts, tmp_path):
    from lib.configs.options import Settings
    from lib.engine.pipeline import Pipeline
    from lib.engine.recipe import Recipe
    from lib.models.build import load_predictor
    from lib.prompts.labelmap import from_labelmap
    from lib.transforms.load import load_labelmap

    settings = Settings()
    pipeline = Pipeline(load_predictor("builtin"))
    case = pipeline.open(ct, settings)
    recipe = Recipe(from_labelmap(*load_labelmap(prompts)), settings)
    outcome = pipeline.carry_out(case, recipe)
    names = {"hip": 2, "rib": 5}
    entry = Results(tmp_path / "log").add(Key("me", "ct", "hip"), "masks", recipe, outcome, names)
    report, picture = tmp_path / "report.json", tmp_path / "out.png"
    words = ["-o", tmp_path / "out.nii.gz", "--picture", picture, "--report", report]
    assert segment("--replay", entry.path, *words) == 0
    said = json.loads(report.read_text())
    assert said["replay"]["identical"]
    assert said["written"][-1] == str(picture)
    assert picture.exists()

"""`segment.py` as a user calls it: results on the file's grid, and every mistake in one line."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.commands import execute
from lib.commands.main import app
from lib.places import APP
from tests.cli.conftest import AFFINE, SHAPE, save
from tests.signals import hears_ctrl_c

SCRIPT = APP / "segment.py"


@pytest.fixture(scope="module")
def segment():
    return lambda *words: execute(app, ["segment", *map(str, words), "--model", "builtin"])


def test_result_lies_on_the_files_grid(segment, ct, prompts, painted, tmp_path):
    out, report = tmp_path / "out.nii.gz", tmp_path / "report.json"
    assert segment(ct, "--prompts", prompts, "-o", out, "--report", report) == 0
    result = nib.load(out)
    labels = np.asarray(result.dataobj)
    assert labels.shape == SHAPE
    np.testing.assert_allclose(result.affine, AFFINE, atol=1e-6)
    assert set(np.unique(labels)) <= {0, 2, 5}
    for k in (3, 7, 12):
        np.testing.assert_array_equal(labels[:, :, k] == 2, painted[:, :, k] == 2)
    said = json.loads(report.read_text())
    assert said["settings"]["policy"] == "is+sps+stretches"
    assert {(s["index"], s["source"]) for s in said["slices"] if s["object"] == 2} >= {
        (3, "prompt"),
        (7, "prompt"),
        (12, "prompt"),
        (5, "forward"),
    }
    assert {o["object"]: o["voxels"] for o in said["objects"]} == {
        i: int((labels == i).sum()) for i in (2, 5)
    }
    stages = "start model load window prompts crop encode track merge restore write report"
    assert said["seconds"].keys() >= set(stages.split())
    assert said["checkpoint"]["sha256"]


def test_reoriented_and_cropped_prompts_are_the_same_prompts(segment, ct, prompts, tmp_path):
    cut = nib.as_closest_canonical(nib.load(prompts)).slicer[2:, 1:-1, 1:]
    moved = tmp_path / "moved.nii.gz"
    nib.save(cut, moved)
    results = []
    for labelmap in (prompts, moved):
        out = tmp_path / "out.nii.gz"
        assert segment(ct, "--prompts", labelmap, "-o", out) == 0
        results.append(np.asarray(nib.load(out).dataobj))
    np.testing.assert_array_equal(*results)


def test_points_and_boxes(segment, ct, tmp_path):
    points = tmp_path / "points.json"
    points.write_text(
        json.dumps(
            [
                {"object": 1, "axis": "axial", "foreground": [[18, 16, 7]]},
                {"object": 2, "axis": "axial", "box": [8, 3, 4, 9, 5, 5]},
            ]
        )
    )
    out = tmp_path / "out.nrrd"
    assert segment(ct, "--points", points, "-o", out, "--policy", "baseline") == 0
    assert out.exists()


def test_the_axis_is_that_of_the_painted_slices(segment, ct, ct_array, tmp_path):
    painted = np.zeros(SHAPE, np.uint8)
    painted[15:22, [13, 16, 19], 3:12] = 1
    marks, report = save(painted, tmp_path / "coronal.nii.gz"), tmp_path / "report.json"
    out = tmp_path / "out.nii.gz"
    assert segment(ct, "--prompts", marks, "-o", out, "--report", report) == 0
    said = json.loads(report.read_text())
    assert said["settings"]["axis"] == "coronal"
    assert "the axis is coronal, on which the prompts lie" in said["decided"]
    assert {s["axis"] for s in said["slices"]} == {"coronal"}


def test_another_axis_than_the_painted_one_is_refused(segment, ct, prompts, tmp_path, capsys):
    refused(
        segment,
        capsys,
        tmp_path,
        "painted are axial slices (3, 7, 12)",
        *(ct, "--prompts", prompts, "--axis", "coronal"),
    )


def test_overlap_writes_a_file_an_object(segment, ct, prompts, tmp_path):
    assert segment(ct, "--prompts", prompts, "-o", tmp_path / "out.nii.gz", "--overlap") == 0
    assert sorted(p.name for p in tmp_path.glob("out*")) == [
        "out.object2.nii.gz",
        "out.object5.nii.gz",
    ]


def _nan(array):
    array = array.astype(np.float32)
    array[3, 3, 3] = np.nan
    return array


BAD_VOLUMES = {
    "not a number": (_nan, AFFINE, "NaN"),
    "constant": (np.zeros_like, AFFINE, "constant"),
    "two dimensions": (lambda a: a[:, :, 0], AFFINE, "dimension"),
    "four dimensions": (lambda a: np.stack([a, a], -1), AFFINE, "dimension"),
}


@pytest.mark.parametrize("name", BAD_VOLUMES)
def test_bad_volume(segment, ct_array, prompts, tmp_path, capsys, name):
    change, affine, word = BAD_VOLUMES[name]
    bad = save(change(ct_array), tmp_path / "bad.nii.gz", affine)
    refused(segment, capsys, tmp_path, word, bad, "--prompts", prompts)


def test_truncated_volume(segment, ct, prompts, tmp_path, capsys):
    whole = ct.read_bytes()
    ct.write_bytes(whole[: len(whole) // 2])
    refused(segment, capsys, tmp_path, "ct.nii.gz", ct, "--prompts", prompts)


BAD_PROMPTS = {
    "empty": (np.zeros_like, AFFINE, "empty"),
    "negative": (lambda a: -a.astype(np.int16), AFFINE, "negative"),
    "fractional": (lambda a: a * 0.5, AFFINE, "whole"),
    "other spacing": (lambda a: a, AFFINE @ np.diag([1.1, 1, 1, 1]), "grid"),
    "moved": (lambda a: a, AFFINE + np.outer([1, 0, 0, 0], [0, 0, 0, 0.7]), "grid"),
}


@pytest.mark.parametrize("name", BAD_PROMPTS)
def test_bad_prompts(segment, ct, painted, tmp_path, capsys, name):
    change, affine, word = BAD_PROMPTS[name]
    bad = save(change(painted), tmp_path / "bad.nii.gz", affine)
    refused(segment, capsys, tmp_path, word, ct, "--prompts", bad)


BAD_OPTIONS = {
    "no prompt": ([], "no prompt"),
    "policy": (["--policy", "magic"], "magic"),
    "policy value": (["--policy", "sliced=9"], "sliced"),
    "axis": (["--axis", "diagonal"], "diagonal"),
    "propagation": (["--propagation", "sideways"], "sideways"),
    "window": (["--window", "flat"], "flat"),
    "device": (["--device", "abacus"], "abacus"),
    "unknown option": (["--colour", "red"], "colour"),
    "carry": (["--carry", "--propagation", "three-axis"], "carry"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(segment, ct, prompts, tmp_path, capsys, name):
    options, word = BAD_OPTIONS[name]
    given = [] if name == "no prompt" else ["--prompts", prompts]
    refused(segment, capsys, tmp_path, word, ct, *given, *options)


def test_unknown_model_names_the_known(ct, prompts, tmp_path, capsys, segment):
    code = segment(ct, "--prompts", prompts, "-o", tmp_path / "o.nii.gz", "--checkpoint", ct)
    assert code == 2
    assert one_line(capsys)


def test_points_outside_the_volume(segment, ct, tmp_path, capsys):
    points = tmp_path / "points.json"
    points.write_text(json.dumps([{"foreground": [[18, 16, 70]]}]))
    refused(segment, capsys, tmp_path, "outside", ct, "--points", points)


def test_no_folder_for_the_result(segment, ct, prompts, tmp_path, capsys):
    refused(
        segment, capsys, tmp_path, "nowhere", ct, "--prompts", prompts, out="nowhere/out.nii.gz"
    )


@pytest.mark.parametrize(
    "named",
    [
        {"-o": "ct.nii.gz"},
        {"-o": "prompts.nii.gz"},
        {"-o": "sub/../ct.nii.gz"},
        {"-o": "link.nii.gz"},
        {"--report": "ct.nii.gz"},
        {"--report": "out.nii.gz"},
        {"-o": "out.nii.gz", "--report": "out.png", "--picture": "out.png"},
        {"--report": "nowhere/report.json"},
        {"--report": "sub"},
        {"-o": "sub.nii.gz"},
        {"--points": "pts.json", "--report": "pts.json"},
    ],
)
def test_nothing_is_written_over_what_is_read_or_written(
    segment, ct, prompts, tmp_path, capsys, named
):
    """Told before the work, so that neither hours nor a CT are lost."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub.nii.gz").mkdir()
    (tmp_path / "link.nii.gz").symlink_to(ct)
    (tmp_path / "pts.json").write_text('[{"foreground": [[18, 16, 7]]}]')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = [
        w for name, value in {"-o": "out.nii.gz", **named}.items() for w in (name, tmp_path / value)
    ]
    assert segment(ct, "--prompts", prompts, *words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: cannot write")
    assert said.count("\n") == 1  # no work began
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("words", [["sample", "FILE/x"], ["sample", "FILE", "--dicom", "straight"]])
def test_what_the_system_refuses_is_one_line(tmp_path, capsys, words):
    file = tmp_path / "file"
    file.touch()
    assert execute(app, [word.replace("FILE", str(file)) for word in words]) == 2
    assert str(file) in one_line(capsys)


def test_a_pipe_is_no_volume(segment, ct, prompts, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.nii.gz")
    refused(segment, capsys, tmp_path, "no file", tmp_path / "pipe.nii.gz", "--prompts", prompts)


def test_not_in_hu_is_a_warning(segment, ct_array, prompts, tmp_path):
    shifted = save(ct_array - ct_array.min(), tmp_path / "shifted.nii.gz")
    out, report = tmp_path / "out.nii.gz", tmp_path / "report.json"
    assert segment(shifted, "--prompts", prompts, "-o", out, "--report", report) == 0
    assert any("Hounsfield" in w for w in json.loads(report.read_text())["warnings"])


def test_interrupted_leaves_nothing(tmp_path, ct_array, painted):
    """Ctrl+C in the middle of a propagation: exit code 130, no file, no fragment."""
    long = np.concatenate([ct_array] * 40, axis=2)
    marks = np.concatenate([painted] + [np.zeros_like(painted)] * 39, axis=2)
    ct, prompts = save(long, tmp_path / "ct.nii.gz"), save(marks, tmp_path / "p.nii.gz")
    before = set(tmp_path.iterdir())
    command = [sys.executable, SCRIPT, ct, "--prompts", prompts, "-o", tmp_path / "o.nii.gz"]
    command += ["--model", "builtin", "--extent", "whole"]
    process = subprocess.Popen(
        [*map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_ctrl_c,
    )
    seen = ""
    while "segmenting" not in seen and process.poll() is None:
        seen += os.read(process.stderr.fileno(), 4096).decode(errors="replace")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130, seen + rest
    assert "nothing was written" in rest
    assert set(tmp_path.iterdir()) == before


def test_interrupted_while_it_loads(monkeypatch, capsys):
    """Ctrl+C in the first second."""
    entry = runpy.run_path(str(APP / "__main__.py"))["main"]

    def interrupted(*_words, **_more):
        raise KeyboardInterrupt

    monkeypatch.setattr("lib.commands.main.main", interrupted)
    with pytest.raises(SystemExit) as left:
        entry()
    assert left.value.code == 130
    assert capsys.readouterr().err == "interrupted: nothing was written\n"


def test_same_request_same_result(segment, ct, prompts, tmp_path):
    results = []
    for n in range(2):
        out = tmp_path / f"out{n}.nii.gz"
        assert segment(ct, "--prompts", prompts, "-o", out) == 0
        results.append(np.asarray(nib.load(out).dataobj))
    assert torch.equal(*map(torch.from_numpy, results))


def refused(segment, capsys, tmp_path, word, *arguments, out="out.nii.gz"):
    """The command ends with 2 and one line that contains `word`; nothing is written."""
    before = set(tmp_path.rglob("*"))
    assert segment(*arguments, "-o", tmp_path / out) == 2
    assert word.lower() in one_line(capsys).lower()
    assert set(tmp_path.rglob("*")) == before


def one_line(capsys) -> str:
    errors = [
        line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("error:")
    ]
    assert len(errors) == 1
    return errors[0]

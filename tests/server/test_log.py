"""Nothing is lost: the log of every result, its replay, and undo."""

import json
import subprocess
import sys
from pathlib import Path

import nrrd
import numpy as np
import pytest
import requests

from tests.server.viewers import read_nrrd

SEGMENT = Path(__file__).parents[2] / "apps" / "sam2_ct" / "segment.py"


@pytest.fixture
def logs(studies) -> Path:
    return studies / "sam2_ct"


def replay(log: Path, out: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SEGMENT), "--replay", str(log), "-o", str(out), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("task", ["masks", "slice"])
def test_replay_gives_the_same_voxels(slicer, sample, painted, logs, tmp_path, monkeypatch, task):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if task == "masks":
        labels = painted.copy()
        labels[:20, :20, :] = 3  # a neighbour
        answer = slicer.scribbles(
            "pelvis", labels, sample.affine, {"hip": 1, "x": 3}, "hip", policy="tau=0.4,sliced=4"
        )
    else:
        answer = slicer.smart_edit("pelvis", [[30, 24, 12], [30, 24, 3]], model="sam2_ct_slice")
    assert answer.status == 200, answer.detail
    log = logs / answer.params["log"]
    done = replay(log, tmp_path / "again.nrrd", "--report", str(tmp_path / "report.json"))
    assert done.returncode == 0, done.stderr
    assert "voxel for voxel" in done.stderr
    again, _ = nrrd.read(str(tmp_path / "again.nrrd"))
    np.testing.assert_array_equal(again, answer.labels)
    assert json.loads((tmp_path / "report.json").read_text())["replay"]["identical"] is True


def test_log_says_what_made_the_result(slicer, sample, painted, logs):
    answer = slicer.scribbles("pelvis", painted, sample.affine, {"hip": 1}, "hip")
    path = logs / answer.params["log"]
    log = json.loads(path.read_text())
    assert len(log["report"]["checkpoint"]["sha256"]) == 64
    assert log["recipe"]["settings"]["policy"] == "is+sps"
    assert {"torch", "sam2", "monai", "monailabel", "numpy"} <= set(log["report"]["versions"])
    assert len(log["recipe"]["prompts"]["prompts"]) == 3
    assert log["client"] == slicer.client_id
    labels, _ = nrrd.read(str(path.with_suffix(".nrrd")))
    np.testing.assert_array_equal(labels, answer.labels)
    assert not list(path.parent.glob(".*"))  # nothing half written lies about


@pytest.mark.parametrize("damage", ["other file", "other volume", "gone"])
def test_replay_of_what_does_not_fit(slicer, logs, studies, tmp_path, damage):
    answer = slicer.smart_edit("pelvis", [[30, 24, 12]], model="sam2_ct_slice")
    log = logs / answer.params["log"]
    more, words = [], "not the log of a result"
    if damage == "other file":
        log = tmp_path / "x.json"
        log.write_text("{}")
    elif damage == "other volume":
        more, words = [str(studies / "turned.nii.gz")], "not the volume of"
    else:
        log, words = tmp_path / "nonesuch.json", "cannot read"
    done = replay(log, tmp_path / "again.nrrd", *more)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "again.nrrd").exists()


def test_undo_gives_the_previous_result(server, slicer, sample, painted):
    key = {"image": "pelvis", "label": "hip", "client_id": slicer.client_id}
    first = slicer.scribbles("pelvis", painted, sample.affine, {"hip": 1}, "hip")
    more = first.labels.copy()
    more[5:9, 5:9, 12] = 1
    second = slicer.scribbles("pelvis", more, sample.affine, {"hip": 1}, "hip")
    assert second.status == 200, second.detail
    assert not np.array_equal(first.labels, second.labels)

    listed = requests.get(f"{server.url}/sam2_ct/results", params=key, timeout=30).json()
    assert [r["log"] for r in listed] == [second.params["log"], first.params["log"]]

    np.testing.assert_array_equal(
        labels_of(
            requests.get(f"{server.url}/sam2_ct/result", params={**key, "back": 1}, timeout=30)
        ),
        first.labels,
    )
    undone = requests.post(f"{server.url}/sam2_ct/undo", params=key, timeout=30)
    np.testing.assert_array_equal(labels_of(undone), first.labels)
    # the next Update compares with the result that is the newest now
    again = slicer.scribbles("pelvis", more, sample.affine, {"hip": 1}, "hip")
    np.testing.assert_array_equal(again.labels, second.labels)
    for _ in range(2):
        assert requests.post(f"{server.url}/sam2_ct/undo", params=key, timeout=30).ok
    empty = requests.post(f"{server.url}/sam2_ct/undo", params=key, timeout=30)
    assert empty.status_code == 404
    assert "no result to undo" in empty.json()["detail"]


def test_next_volume_is_our_order(server, slicer):
    slicer.smart_edit("pelvis", [[30, 24, 12]])
    chosen = requests.post(f"{server.url}/activelearning/random", json={}, timeout=30)
    assert chosen.ok, chosen.text
    assert chosen.json()["id"] in {"pelvis", "turned", "long"}


def labels_of(answer: requests.Response) -> np.ndarray:
    assert answer.ok, answer.text
    return read_nrrd(answer.content)[0]

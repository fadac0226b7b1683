"""Nothing is lost: the log of every result, its replay, and undo."""

import json
import subprocess
import sys
from pathlib import Path

import nrrd
import numpy as np
import pytest
import requests

from lib.engine.replay import replay
from lib.errors import BadInput
from lib.serving.clients import COOKIE
from tests.server.viewers import Ohif, read_nrrd

SEGMENT = Path(__file__).parents[2] / "apps" / "sam2_ct" / "segment.py"


@pytest.fixture
def logs(studies) -> Path:
    return studies / "sam2_ct"


def test_replay_by_the_command_line(slicer, sample, painted, logs, tmp_path):
    labels = painted.copy()
    labels[:20, :20, :] = 3  # a neighbour
    answer = slicer.scribbles(
        "pelvis", labels, sample.affine, {"hip": 1, "x": 3}, "hip", policy="tau=0.4,sliced=4"
    )
    assert answer.status == 200, answer.detail
    log, again, report = logs / answer.params["log"], tmp_path / "x.nrrd", tmp_path / "x.json"
    command = [sys.executable, SEGMENT, "--replay", log, "-o", again, "--report", report]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "voxel for voxel" in done.stderr
    np.testing.assert_array_equal(nrrd.read(str(again))[0], answer.labels)
    assert json.loads(report.read_text())["replay"]["identical"] is True


@pytest.mark.parametrize("model", ["sam2_ct_slice", "sam2_ct_points"])
def test_replay_of_clicks(slicer, logs, model):
    clicks = [[30, 24, 12], [30, 24, 3]]
    answer = slicer.smart_edit("pelvis", clicks, model=model, roi=[55, 5, 5, 40, 20, 1])
    assert answer.status == 200, answer.detail
    _, outcome = replay(logs / answer.params["log"])
    assert outcome.report.replay.identical
    np.testing.assert_array_equal(outcome.labels, answer.labels)


def test_log_says_what_made_the_result(slicer, sample, painted, logs):
    answer = slicer.scribbles("pelvis", painted, sample.affine, {"hip": 1}, "hip")
    path = logs / answer.params["log"]
    log = json.loads(path.read_text())
    assert len(log["report"]["checkpoint"]["sha256"]) == 64
    assert log["recipe"]["settings"]["policy"] == "is+sps+stretches"
    assert {"torch", "sam2", "monai", "monailabel", "numpy"} <= set(log["report"]["versions"])
    assert len(log["recipe"]["prompts"]["prompts"]) == 3
    assert log["client"] == slicer.client_id
    labels, _ = nrrd.read(str(path.with_suffix(".nrrd")))
    np.testing.assert_array_equal(labels, answer.labels)
    assert not list(path.parent.glob(".*"))  # nothing half written lies about


def test_replay_of_what_does_not_fit(slicer, logs, studies, tmp_path):
    answer = slicer.smart_edit("pelvis", [[30, 24, 12]], model="sam2_ct_slice")
    log = logs / answer.params["log"]
    with pytest.raises(BadInput, match="not the volume of"):
        replay(log, studies / "turned.nii.gz")
    with pytest.raises(BadInput, match="cannot read"):
        replay(tmp_path / "nonesuch.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(BadInput, match="not the log of a result"):
        replay(tmp_path / "other.json")
    content = json.loads(log.read_text())
    content["report"]["checkpoint"]["sha256"] = "0" * 64
    (tmp_path / "checkpoint.json").write_text(json.dumps(content))
    with pytest.raises(BadInput, match="another checkpoint"):
        replay(tmp_path / "checkpoint.json")


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


def test_browsers_behind_one_address_are_told_apart(server, sample, bones):
    one, other = (Ohif(server.url, {COOKIE: f"browser-{n}"}) for n in "12")
    inside = np.argwhere(sample.labels == bones["hip_left"])
    click = inside[len(inside) // 2].tolist()
    accepted = one.infer("sam2_ct_slice", "pelvis", foreground=[click], object="told apart")
    assert accepted.status == 200, accepted.detail
    key = {"image": "pelvis", "label": "told apart"}
    listed = f"{server.url}/sam2_ct/results"
    assert len(requests.get(listed, params=key, cookies=one.cookies, timeout=30).json()) == 1
    assert requests.get(listed, params=key, cookies=other.cookies, timeout=30).json() == []
    assert requests.get(listed, params=key, timeout=30).json() == []
    mine = one.infer("sam2_ct_propagate", "pelvis", object="told apart", source="accepted")
    assert mine.status == 200, mine.detail
    theirs = other.infer("sam2_ct_propagate", "pelvis", object="told apart", source="accepted")
    assert theirs.status == 422
    assert "nothing to propagate" in theirs.detail


def test_next_volume_is_our_order(server, slicer):
    slicer.smart_edit("pelvis", [[30, 24, 12]])
    chosen = requests.post(f"{server.url}/activelearning/random", json={}, timeout=30)
    assert chosen.ok, chosen.text
    assert chosen.json()["id"] in {"pelvis", "turned", "long"}


def test_results_are_not_taken_for_volumes(server, slicer):
    slicer.smart_edit("pelvis", [[30, 24, 12]])
    listed = requests.get(f"{server.url}/datastore/", params={"output": "all"}, timeout=30).json()
    assert set(listed["objects"]) == {"pelvis", "turned", "long"}


def labels_of(answer: requests.Response) -> np.ndarray:
    assert answer.ok, answer.text
    return read_nrrd(answer.content)[0]

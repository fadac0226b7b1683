"""Batch inference runs through, tells of every image, and stops when it is told to."""

import time

import nibabel as nib
import numpy as np
import pytest
import requests


def status(server, **query) -> dict:
    return requests.get(f"{server.url}/batch/infer", params=query, timeout=30).json()


def run(server, model: str, body: dict | None, **query) -> requests.Response:
    return requests.post(f"{server.url}/batch/infer/{model}", params=query, json=body, timeout=120)


def finished(server, limit: float = 120) -> dict:
    deadline = time.monotonic() + limit
    while (now := status(server))["status"] == "RUNNING":
        assert time.monotonic() < deadline, now
        time.sleep(0.1)
    return now


@pytest.fixture
def started(server, sample, bones, tmp_path) -> str:
    """`pelvis` has a label with one painted slice; the other images have none. Its tag."""
    hip = sample.labels == bones["hip_left"]
    labels = np.zeros(hip.shape, np.uint8)
    k = int(np.argmax(hip.sum((0, 1))))
    labels[..., k] = hip[..., k]
    nib.save(nib.Nifti1Image(labels, sample.affine), tmp_path / "label.nii.gz")
    sent = requests.put(
        f"{server.url}/datastore/label",
        params={"image": "pelvis", "tag": "begun"},
        files={
            "label": ("label.nii.gz", (tmp_path / "label.nii.gz").read_bytes()),
            "params": (None, '{"label_info": [{"name": "hip"}]}'),
        },
        timeout=30,
    )
    assert sent.ok, sent.text
    yield "begun"
    for tag in ("begun", "carried"):
        requests.delete(
            f"{server.url}/datastore/label", params={"id": "pelvis", "tag": tag}, timeout=30
        )


def test_one_image_with_nothing_to_propagate_does_not_end_it(server, started):
    body = {"device": "cpu", "label_tag": "carried", "client_id": "batch", "source": "submitted"}
    answer = run(server, "sam2_ct_propagate", body, images="all")
    assert answer.ok, answer.text
    assert answer.json()["status"] in ("RUNNING", "DONE")
    assert run(server, "sam2_ct_propagate", body).status_code in (200, 429)
    told = finished(server)
    assert told["status"] == "DONE"
    images = told["images"]
    assert {"pelvis", "turned", "long"} <= set(images)
    assert images["pelvis"] == {"state": "done", "detail": "hip"}
    assert images["turned"]["state"] == "failed"
    assert "nothing to propagate" in images["turned"]["detail"]
    assert any(line.startswith("turned: failed") for line in told["details"])
    of_batch = {job["image"]: job for job in server.jobs(client_id="batch")}
    assert of_batch["pelvis"]["state"] == "done"
    assert of_batch["turned"]["state"] == "failed"
    saved = requests.get(
        f"{server.url}/datastore/label",
        params={"label": "pelvis", "tag": "carried"},
        timeout=30,
    )
    assert saved.ok
    assert len(saved.content) > 100


def test_stop(server, started):
    body = {"client_id": "batch", "foreground": [[20, 20, 12]], "end_of_object": 0}
    assert run(server, "sam2_ct_points", {**body, "propagation": "three-axis"}).ok
    deadline = time.monotonic() + 60
    while not any(j["state"] == "running" for j in server.jobs(client_id="batch")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stopped = requests.delete(f"{server.url}/batch/infer", timeout=30).json()
    assert stopped["status"] in ("RUNNING", "STOPPED")
    told = finished(server)
    assert told["status"] == "STOPPED"
    assert "stopped" in {one["state"] for one in told["images"].values()}
    assert requests.delete(f"{server.url}/batch/infer", timeout=30).json() is None
    assert (
        requests.get(
            f"{server.url}/batch/infer", params={"check_if_running": True}, timeout=30
        ).status_code
        == 404
    )


@pytest.mark.parametrize(
    ("model", "body", "query", "code"),
    [
        ("nobody", {}, {}, 404),
        ("sam2_ct_points", {}, {"images": "some"}, 422),
        ("sam2_ct_points", {"label_tag": "../x"}, {}, 422),
        ("sam2_ct_points", {"client_id": "\n"}, {}, 422),
    ],
)
def test_what_is_refused(server, model, body, query, code):
    assert run(server, model, body, **query).status_code == code


def test_at_once(server):
    answer = run(
        server, "sam2_ct_points", {"max_batch_size": 1, "client_id": "batch"}, run_sync=True
    )
    assert answer.ok, answer.text
    told = answer.json()
    assert told["status"] == "ERROR"  # nobody clicked anywhere
    (only,) = told["images"].values()
    assert "click on the object" in only["detail"]

"""What goes wrong is told in a sentence, and disturbs nothing."""

import json

import numpy as np
import pytest
import requests

CLICK = [[30, 24, 12]]

BAD_CLICKS = [
    pytest.param({"foreground": []}, 422, "click on the object", id="no prompt"),
    pytest.param({"foreground": [[900, 1, 1]]}, 422, "outside the volume", id="outside"),
    pytest.param({"foreground": [[1, 2]]}, 422, "foreground must be", id="two numbers"),
    pytest.param({"foreground": "1,2,3"}, 422, "foreground is not a list", id="text"),
    pytest.param({"roi": [1, 2, 3]}, 422, "roi must be", id="short roi"),
    pytest.param({"roi": [900, 990, 1, 2, 1, 2]}, 422, "outside the volume", id="roi outside"),
    pytest.param({"policy": "psp"}, 422, "unknown policy", id="policy"),
    pytest.param({"window": "bones"}, 422, "window", id="window"),
    pytest.param({"axis": "up"}, 422, "unknown axis", id="axis"),
    pytest.param({"propagation": "sideways"}, 422, "unknown propagation", id="propagation"),
    pytest.param({"result_extension": ".exe"}, 422, "result_extension", id="format"),
    pytest.param({"foreground": [], "background": CLICK}, 422, "negative", id="only negative"),
]


@pytest.mark.parametrize(("change", "status", "words"), BAD_CLICKS)
def test_bad_requests(slicer, change, status, words):
    answer = slicer.smart_edit("pelvis", **{"foreground": CLICK, **change})
    assert answer.status == status
    assert words in answer.detail
    assert "Internal Server Error" not in answer.detail


@pytest.mark.parametrize("axis", ["axial", "sagittal"])
def test_a_failed_request_does_not_disturb_the_next(slicer, axis):
    before = slicer.smart_edit("pelvis", CLICK, axis=axis)
    assert slicer.smart_edit("pelvis", [[900, 1, 1]], axis=axis).status == 422
    after = slicer.smart_edit("pelvis", CLICK, axis=axis)
    np.testing.assert_array_equal(before.labels, after.labels)


@pytest.mark.parametrize(
    "image",
    ["nobody", "/etc/passwd", "../studies/pelvis", "pelvis.nii.gz", "labels/final/pelvis", "."],
)
def test_images_outside_the_datastore_are_refused(slicer, image):
    answer = slicer.smart_edit(image, CLICK)
    assert answer.status == 404
    assert "no image" in answer.detail


def test_params_cannot_name_files(server, slicer, studies):
    secret = str(studies / "turned.nii.gz")
    asked = {"foreground": CLICK, "image": secret, "label_file": secret, "session": "x"}
    answer = slicer.infer("sam2_ct_points", "pelvis", asked)
    assert answer.status == 200
    assert answer.params["volume"]["path"].endswith("pelvis.nii.gz")
    answer = slicer.infer("sam2_ct_masks", "pelvis", {"label_file": secret})
    assert answer.status == 422
    assert "no label map came" in answer.detail


@pytest.mark.parametrize(
    ("query", "fields", "status", "words"),
    [
        ({}, {"params": "{}"}, 422, "no image"),
        ({"image": "pelvis"}, {"params": "{"}, 422, "not JSON"),
        ({"image": "pelvis"}, {"params": "[1]"}, 422, "JSON object"),
        ({"session_id": "0" * 36}, {"params": "{}"}, 404, "session has expired"),
        ({"session_id": "../../etc"}, {"params": "{}"}, 404, "session has expired"),
    ],
)
def test_odd_requests(server, query, fields, status, words):
    answer = requests.post(
        f"{server.url}/infer/sam2_ct_points",
        params=query,
        files={k: (None, v) for k, v in fields.items()},
        timeout=30,
    )
    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_unknown_checkpoint(slicer):
    answer = slicer.infer("sam2_ct_points", "pelvis", {"foreground": CLICK, "model": "huge"})
    assert answer.status == 422
    assert "unknown model 'huge'" in answer.detail


def test_unknown_model(slicer):
    answer = slicer.infer("deepedit", "pelvis", {})
    assert answer.status == 404
    assert "no model 'deepedit'" in answer.detail


def test_another_grid(slicer, sample, painted):
    answer = slicer.scribbles("pelvis", painted[:-2], sample.affine, {"hip": 1}, "hip")
    assert answer.status == 422
    assert "another grid" in answer.detail


def test_selected_segment_unknown_or_empty(slicer, sample, painted):
    answer = slicer.scribbles("pelvis", painted, sample.affine, {"hip": 1}, "rib")
    assert answer.status == 422
    assert "'rib'" in answer.detail
    answer = slicer.scribbles("pelvis", painted, sample.affine, {"hip": 1, "rib": 2}, "rib")
    assert answer.status == 422
    assert "empty" in answer.detail


def test_upload_that_is_no_label_map(server):
    params = {"label_info": [{"name": "hip", "id": 1}], "selected_label_name": "hip"}
    answer = requests.post(
        f"{server.url}/infer/sam2_ct_masks",
        params={"image": "pelvis"},
        files={"params": (None, json.dumps(params)), "label": ("x.nii.gz", b"not a nifti")},
        timeout=30,
    )
    assert answer.status_code == 422


@pytest.mark.parametrize("declared", [True, False])
def test_large_uploads_are_refused(server, declared):
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="big.nii.gz"\r\n\r\n'
    pieces = [start, *([b"x" * (1 << 20)] * 9), b"\r\n--x--\r\n"]
    body = b"".join(pieces) if declared else iter(pieces)
    try:
        answer = requests.put(
            f"{server.url}/datastore/?image=big",
            data=body,
            headers={"content-type": "multipart/form-data; boundary=x"},
            timeout=60,
        )
    except requests.ConnectionError:
        return  # the server hung up before everything was sent, as it may
    assert answer.status_code == 413
    assert "8 MB" in answer.json()["detail"]


def test_upstreams_errors_are_sentences_too(server):
    answer = requests.post(f"{server.url}/activelearning/nonesuch", json={}, timeout=30)
    assert answer.status_code == 422
    assert "nonesuch" in answer.json()["detail"]

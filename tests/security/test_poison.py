"""No request leaves something behind on which a later one, or the next start, breaks."""

import json

import pytest
import requests

from lib.errors import BadInput
from lib.serving import said
from lib.serving.studies import Studies

NESTED = '{"a":' * 3000 + "1" + "}" * 3000
LISTS = '{"a":' + "[" * 900 + "]" * 900 + "}"
POISON = [
    '{"a":"\\ud800"}',
    '{"\\udfff":1}',
    LISTS,
    NESTED,
    '{"a":NaN}',
    '{"a":Infinity}',
    '{"a":1e999}',
    '{"a":' + "9" * 400 + "}",
    '{"sam2_ct":"x"}',
    '{"sam2_ct":{"confidence":"x"}}',
    '{"strategy":3}',
    "[1]",
    "3",
    "null",
    "{",
    "\\",
    json.dumps({"a": "x" * 70_000}),
]
NAMES = [f"poison {n}" for n in range(len(POISON))]


@pytest.mark.parametrize("text", POISON, ids=NAMES)
def test_info_of_an_image(unharmed, text):
    answer = unharmed.ask("PUT", "/datastore/image/info?image=a", files={"info": (None, text)})
    assert answer.status_code == 422, answer.text
    assert unharmed.ask("GET", "/datastore/?output=all").ok
    assert unharmed.ask("POST", "/activelearning/random", json={}).ok
    assert set(Studies(str(unharmed.studies)).list_images()) >= {"a", "b"}


@pytest.mark.parametrize("text", POISON[:-1], ids=NAMES[:-1])
def test_params_of_uploads_and_labels(unharmed, text, label):
    sent = {"params": (None, text), "label": ("x.nii.gz", label.read_bytes())}
    answer = unharmed.ask("PUT", "/datastore/label?image=a&tag=draft", files=sent)
    assert answer.status_code == 422, answer.text
    sent = {"params": (None, text), "file": ("x.nii.gz", label.read_bytes())}
    assert unharmed.ask("PUT", "/datastore/image?image=z", files=sent).status_code == 422
    missing = unharmed.ask(
        "PUT", "/datastore/label/info?label=a&tag=final", files={"info": (None, text)}
    )
    assert missing.status_code == 422


@pytest.mark.parametrize("text", [*POISON[:8], *POISON[11:16]])
def test_params_of_requests(unharmed, text):
    for model in ("sam2_ct_points", "sam2_ct_masks", "sam2_ct_slice", "sam2_ct_propagate"):
        answer = unharmed.ask("POST", f"/infer/{model}?image=a", files={"params": (None, text)})
        assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("text", [*POISON[:8], *POISON[11:13], *POISON[14:16]])
@pytest.mark.parametrize("path", ["/activelearning/random", "/batch/infer/sam2_ct_propagate"])
def test_bodies(unharmed, text, path):
    answer = unharmed.ask(
        "POST", path, data=text.encode(), headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["detail"]


def test_a_body_without_files_is_small(unharmed):
    """Megabytes of JSON are read in one go, while nobody else is answered."""
    large = b'{"a":[' + b"[]," * 500_000 + b"1]}"
    for path in ("/activelearning/random", "/batch/infer/sam2_ct_propagate", "/auth/token"):
        for kind in ("application/json", "application/x-www-form-urlencoded", ""):
            for body in (large, iter([large])):
                try:
                    answer = unharmed.ask("POST", path, data=body, headers={"content-type": kind})
                except requests.ConnectionError:
                    continue  # it hung up before everything was sent, as it may
                assert answer.status_code in (404, 405, 413), answer.text


WRONG = [
    {"label_info": [{"name": "x", "id": [1]}], "selected_label_name": "x"},
    {"label_info": [{"name": "x", "id": "one"}], "selected_label_name": "x"},
    {"label_info": [{"name": ["x"], "id": 1}], "selected_label_name": ["x"]},
    {"label_info": {"name": "x"}, "selected_label_name": {}},
    {"label_info": [3, None, [], "x"], "selected_label_name": None},
    {"label_info": "x"},
    {"foreground": [[1e300, 0, 0]]},
    {"foreground": [[9, 8, 9_000_000_000_000_000_000]]},
    {"foreground": [["a", 0, 0]]},
    {"foreground": {"x": 1}},
    {"foreground": [[[1]], 2, 3]},
    {"foreground": [[True, None, 2]]},
    {"foreground": 7},
    {"foreground": "[" * 99_999},
    {"foreground": [[9, 8, 5]] * 1001},
    {"roi": [1e300] * 6},
    {"roi": ["a"] * 6},
    {"roi": {"a": 1}},
    {"roi": [[1], 2, 3, 4, 5, 6]},
    {"foreground": [[9, 8, 5]], "policy": {"a": 1}},
    {"foreground": [[9, 8, 5]], "policy": "sliced=" + "9" * 30},
    {"foreground": [[9, 8, 5]], "window": [[]]},
    {"foreground": [[9, 8, 5]], "window": "1e999,1"},
    {"foreground": [[9, 8, 5]], "window": "nan,nan"},
    {"foreground": [[9, 8, 5]], "window": "0,0"},
    {"foreground": [[9, 8, 5]], "axis": {"a": 1}},
    {"foreground": [[9, 8, 5]], "propagation": 3},
    {"foreground": [[9, 8, 5]], "extent": "x"},
    {"foreground": [[9, 8, 5]], "carry": []},
    {"foreground": [[9, 8, 5]], "model": ["x", {}]},
    {"foreground": [[9, 8, 5]], "model": "../../x"},
    {"foreground": [[9, 8, 5]], "result_extension": ["/../x.nrrd"]},
    {"foreground": [[9, 8, 5]], "result_extension": "/../x.nrrd"},
    {"foreground": [[9, 8, 5]], "result_dtype": {"x": 1}},
    {"foreground": [[9, 8, 5]], "result_compress": {"x": 1}},
    {"foreground": [[9, 8, 5]], "client_id": "x" * 999},
    {"foreground": [[9, 8, 5]], "client_id": ["x", "../y"]},
    {"foreground": [[9, 8, 5]], "client_id": {"x": "\n"}},
    {"foreground": [[9, 8, 5]], "job": "\n"},
    {"foreground": [[9, 8, 5]], "job": ["x" * 500]},
    {"foreground": [[9, 8, 5]], "label": {"a": 1}},
    {"foreground": [[9, 8, 5]], "label": "../../x"},
    {"foreground": [[9, 8, 5]], "label": "x" * 999},
    {"foreground": [[9, 8, 5]], "slice": "x"},
    {"foreground": [[9, 8, 5]], "slice": [1]},
    {"foreground": [[9, 8, 5]], "merge": []},
    {"prompt_slices": "9" * 5000},
    {"prompt_slices": {"a": 1}, "source": {"b": 2}, "object": ["c"]},
    {"source": "submitted", "object": "x"},
]


@pytest.mark.parametrize("params", WRONG, ids=range(len(WRONG)))
def test_values_of_the_wrong_kind_are_answered_in_a_sentence(unharmed, label, params):
    for model in ("sam2_ct_points", "sam2_ct_masks", "sam2_ct_slice", "sam2_ct_propagate"):
        files = {
            "params": (None, json.dumps({"propagation": "single", **params})),
            "label": ("x.nii.gz", label.read_bytes()),
        }
        answer = unharmed.ask("POST", f"/infer/{model}?image=a&output=json", files=files)
        assert answer.status_code in (200, 422), answer.text
        if answer.status_code == 422:
            assert str(unharmed.folder) not in answer.text


@pytest.mark.parametrize(
    ("name", "status"),
    [("a\nb", 422), ("\u202e", 422), ("x" * 129, 422), ("\0", 422), ("استخوان\u200cها 🦴", 200)],
)
def test_names_of_segments(unharmed, label, name, status):
    selected = {"label_info": [{"name": name, "id": 1}], "selected_label_name": name}
    click = {"foreground": [[9, 8, 5]]}
    for model, params in (
        ("sam2_ct_points", {**click, "label": name}),
        ("sam2_ct_slice", {**click, "object": name}),
        ("sam2_ct_masks", selected),
    ):
        files = {"params": (None, json.dumps(params)), "label": ("x.nii.gz", label.read_bytes())}
        answer = unharmed.ask("POST", f"/infer/{model}?image=a&output=json", files=files)
        assert answer.status_code == status, answer.text
        assert status == 200 or "cannot be the segment" in answer.json()["detail"]


def test_labels_with_info_of_the_wrong_kind(victim, label):
    for info in ({"label_info": 3}, {"label_info": [{"name": "x", "idx": [1]}]}, {"params": 3}):
        sent = {"params": (None, json.dumps(info)), "label": ("x.nii.gz", label.read_bytes())}
        assert victim.ask("PUT", "/datastore/label?image=a", files=sent).ok
        answer = victim.ask(
            "POST",
            "/infer/sam2_ct_propagate?image=a&output=json",
            files={"params": (None, '{"source":"submitted"}')},
        )
        assert answer.ok, answer.text
    assert victim.ask("DELETE", "/datastore/label?id=a&tag=final").ok


ODD = [
    ("GET", "/datastore/?output=x"),
    ("GET", "/datastore/dataset"),
    ("GET", "/datastore/dataset?limit_cases=-5"),
    ("HEAD", "/datastore/image?image=a&check_sum=ROT13:x"),
    ("HEAD", "/datastore/image?image=a&check_sum=:::"),
    ("GET", "/datastore/label?label=a&tag=final"),
    ("GET", "/datastore/label/info?label=nobody&tag=x"),
    ("DELETE", "/datastore/label?id=nobody&tag=x"),
    ("DELETE", "/datastore/image?id=nobody"),
    ("GET", "/sam2_ct/result?image=a&label=x&back=99999999999999999999999"),
    ("GET", "/sam2_ct/result?image=a&label=%00"),
    ("GET", "/sam2_ct/results?image=%ff&label=%ff"),
    ("POST", "/sam2_ct/undo?image=a&label=x"),
    ("GET", "/sam2_ct/jobs?client_id=%00&image=%00"),
    ("GET", "/sam2_ct/jobs/%ff"),
    ("PUT", "/session/?expiry=99999999999999999999"),
    ("GET", "/batch/infer"),
    ("DELETE", "/batch/infer"),
    ("POST", "/batch/infer/nobody"),
    ("POST", "/activelearning/%00"),
    ("POST", "/infer/%00?image=%00"),
    ("PATCH", "/info/"),
]


@pytest.mark.parametrize(("method", "path"), ODD)
def test_odd_requests(unharmed, method, path):
    answer = unharmed.ask(method, path)
    assert answer.status_code < 500, answer.text


def test_forms_that_are_none(unharmed):
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x", "application/json", "x"):
        for path in ("/infer/sam2_ct_points?image=a", "/session/", "/datastore/image"):
            for method in ("POST", "PUT"):
                answer = unharmed.ask(
                    method, path, data=b"--x\r\n\xff\x00--", headers={"content-type": kind}
                )
                assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "value",
    [{"a": "\ud800"}, {"a": [float("inf")]}, {"a": 1 << 70}, json.loads("[" * 40 + "]" * 40)],
)
def test_check(value):
    with pytest.raises(BadInput):
        said.check(value, "it")


def test_what_is_sound_passes():
    sound = {"a": [1, 2.5, None, True, "ä😀"], "b": {"c": [[1, 2, 3]] * 999}}
    assert said.read_object(json.dumps(sound)) == sound
    assert said.read_object("") == {}

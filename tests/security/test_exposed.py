"""What is served is what the viewers need, and nothing else."""

import pytest
from fastapi import APIRouter, FastAPI

from lib.configs.readers import EXPOSABLE
from lib.configs.tasks import TaskConfig
from lib.errors import BadInput
from lib.serving.exposure import GROUPS, expose

#: A new route belongs on this list, and its attacks into this folder.
SERVED = {
    "/activelearning/{strategy}": "POST",
    "/auth/": "GET",
    "/batch/infer": "GET DELETE",
    "/batch/infer/{model}": "POST",
    "/datastore/": "GET",
    "/datastore/dataset": "GET",
    "/datastore/image": "GET HEAD PUT DELETE",
    "/datastore/image/info": "GET PUT",
    "/datastore/label": "GET HEAD PUT DELETE",
    "/datastore/label/info": "GET PUT",
    "/infer/{model}": "POST",
    "/info/": "GET",
    "/sam2_ct/jobs": "GET",
    "/sam2_ct/jobs/{job_id}": "GET DELETE",
    "/sam2_ct/queue": "GET",
    "/sam2_ct/result": "GET",
    "/sam2_ct/results": "GET",
    "/sam2_ct/undo": "POST",
    "/session/": "PUT",
    "/session/{session_id}": "GET DELETE",
}

NOT_SERVED = [
    ("POST", "/infer/wsi/sam2_ct_points"),
    ("POST", "/infer/wsi_v2/sam2_ct_points"),
    ("GET", "/train/"),
    ("POST", "/train/"),
    ("POST", "/train/sam2_ct_points"),
    ("DELETE", "/train/"),
    ("GET", "/scoring/"),
    ("POST", "/scoring/dice"),
    ("GET", "/model/sam2_ct_points"),
    ("GET", "/model/info/sam2_ct_points"),
    ("PUT", "/model/sam2_ct_points"),
    ("DELETE", "/model/sam2_ct_points"),
    ("GET", "/logs/"),
    ("GET", "/logs/gpu"),
    ("POST", "/reload"),
    ("GET", "/proxy/dicom/x"),
    ("GET", "/proxy/dicom/wado/studies"),
    ("PUT", "/datastore/updatelabelinfo?label=a&tag=final"),
    ("GET", "/docs"),
    ("GET", "/"),
    ("GET", "/static/ohif/index.html"),
    ("GET", "/static/%00"),
]


def test_the_list(unharmed):
    told = unharmed.ask("GET", "/openapi.json").json()["paths"]
    ours = {path: set(methods.split()) for path, methods in SERVED.items()}
    assert {path: {m.upper() for m in methods} for path, methods in told.items()} == ours


@pytest.mark.parametrize(("method", "path"), NOT_SERVED)
def test_nothing_else(unharmed, method, path):
    answer = unharmed.ask(method, path, json={"image": str(unharmed.secret)})
    assert answer.status_code in (404, 405), answer.text


PATHS = ["", "viewer", "app-config.js", "%00", "../../app.py", "..%2f..%2f"]


@pytest.mark.parametrize("path", PATHS)
def test_pages_of_ohif(unharmed, path):
    answer = unharmed.ask("GET", f"/ohif/{path}")
    assert answer.status_code in (200, 404)
    assert b"FastAPI" not in answer.content


def test_groups_are_served_when_they_are_asked_for():
    def paths(*groups: str) -> set[str]:
        app, ours = FastAPI(), APIRouter()
        ours.add_api_route("/ours", lambda: {})
        app.add_api_route("/reload", lambda: {})
        expose(app, [ours], groups)
        return set(app.openapi()["paths"])

    assert paths() == {"/ours"}
    assert paths("train") == {"/ours", "/train/", "/train/{model}"}
    assert paths("reload") == {"/ours", "/reload"}
    assert set(GROUPS) == set(EXPOSABLE)


def test_options():
    config = TaskConfig.parse({"expose": "train, logs", "origins": "https://A.example:8443"})
    assert config.expose == ("train", "logs")
    assert config.origins == ("https://a.example:8443",)
    for conf in ({"expose": "everything"}, {"origins": "*"}, {"origins": "a.example"}):
        with pytest.raises(BadInput):
            TaskConfig.parse(conf)

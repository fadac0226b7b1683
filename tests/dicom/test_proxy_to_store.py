"""OHIF's way to the store leads to studies, and to nothing else of that server."""

import pytest
import requests

from lib.serving.proxy import is_dicomweb_path


def ask(server, path: str, method: str = "GET", **kwargs) -> requests.Response:
    return requests.request(method, f"{server.url}/proxy/dicom/{path}", timeout=60, **kwargs)


def test_searches_reach_the_store_with_their_filters(dicom_server, series):
    everything = ask(dicom_server, "qido/studies").json()
    assert len(everything) == 3
    uid = everything[0]["0020000D"]["Value"][0]
    found = ask(dicom_server, "qido/studies", params={"StudyInstanceUID": uid}).json()
    assert [one["0020000D"]["Value"][0] for one in found] == [uid]
    metadata = ask(dicom_server, f"wado/studies/{uid}/metadata")
    assert metadata.ok
    assert metadata.headers["content-type"].startswith("application/dicom+json")


@pytest.mark.parametrize(
    "path",
    [
        "wado/../../instances",
        "wado/..%2f..%2finstances",
        "wado/%2e%2e/%2e%2e/system",
        "wado/studies/..%2f..%2f..%2fsystem",
        "wado//etc/passwd",
        "wado/http://127.0.0.1:1/studies",
        "wado/system",
        "elsewhere/studies",
        "instances",
        "x",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else(dicom_server, path, method):
    answer = ask(dicom_server, path, method)
    assert answer.status_code in (404, 405), answer.text


@pytest.mark.parametrize("path", ["qido/studies", "wado/studies/1.2.3/series"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_nothing_is_changed_there(dicom_server, path, method):
    assert ask(dicom_server, path, method).status_code == 405


def test_posts_go_to_studies_alone(dicom_server):
    assert ask(dicom_server, "wado/studies/1.2.3/series", "POST").status_code == 405
    refused = ask(dicom_server, "stow/studies", "POST", data=b"x")
    assert 400 <= refused.status_code < 500


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("studies", True),
        ("studies/1.2/series/1.3/instances/1.4/frames/1,2", True),
        ("studies/1.2/series/1.3/thumbnail", True),
        ("studies/../x", False),
        ("studies/.", False),
        ("studies/a b", False),
        ("studies/x?y", False),
        ("", False),
    ],
)
def test_is_dicomweb_path(path, known):
    assert is_dicomweb_path(path) is known

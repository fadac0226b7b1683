"""Pages of other sites, and of names that are not the server's, get nothing."""

import socket

import pytest

from lib.serving.origins import OwnPagesOnly, host_name, own_names
from tests.serving.test_guards import ask, reads_everything

ROUTES = [
    ("GET", "/info/"),
    ("GET", "/datastore/image?image=a"),
    ("GET", "/openapi.json"),
    ("GET", "/ohif/"),
    ("POST", "/infer/sam2_ct_points?image=a"),
    ("POST", "/activelearning/random"),
    ("PUT", "/datastore/image/info?image=a"),
    ("DELETE", "/datastore/image?id=a"),
    ("DELETE", "/batch/infer"),
    ("OPTIONS", "/datastore/image?id=a"),
]
HOSTS = ["evil.example", "evil.example:8000", "", "127.0.0.1.evil.example"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"),
        *("", "http://[::1", "http://[x]y", "//127.0.0.1", "http://\xe4"),
    ],
)
def test_pages_of_other_sites_get_nothing(unharmed, method, path, origin):
    headers = {"Origin": origin, "Access-Control-Request-Method": "DELETE"}
    answer = unharmed.ask(method, path, headers=headers)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "", "127.0.0.1.evil.example"]
)
def test_names_that_are_not_the_servers_get_nothing(unharmed, method, path, host):
    assert unharmed.ask(method, path, headers={"Host": host}).status_code in (400, 403)
    rebound = {"Host": host, "Origin": f"http://{host}"}
    assert unharmed.ask(method, path, headers=rebound).status_code in (400, 403)


@pytest.mark.parametrize("destination", ["image", "script", "iframe", "empty"])
def test_nor_as_parts_of_them(unharmed, destination):
    headers = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate" if destination == "iframe" else "no-cors",
        "Sec-Fetch-Dest": destination,
    }
    assert unharmed.ask("GET", "/datastore/image?image=a", headers=headers).status_code == 403


def test_links_own_pages_and_programs_are_let_in(unharmed):
    own = unharmed.server.url
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    ours = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Origin": own}
    by_name = {"Host": "localhost:1", "Origin": "http://localhost:1"}
    for headers in ({}, link | {"Sec-Fetch-Dest": "document"}, ours, by_name):
        assert unharmed.ask("GET", "/info/", headers=headers).ok
    answer = unharmed.ask("GET", "/info/")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_a_site_on_the_list_is_let_in():
    site = "https://viewer.example.org"
    app = OwnPagesOnly(reads_everything, names=own_names(None, [site]), origins=[site])

    def status(host: str, origin: str) -> int:
        return ask(app, headers=[(b"host", host.encode()), (b"origin", origin.encode())])

    assert status("127.0.0.1:8000", site) == 200
    assert status("viewer.example.org", site) == 200
    assert status(f"{socket.gethostname()}:8000", site) == 200
    assert status("127.0.0.1:8000", "https://other.example.org") == 403


@pytest.mark.parametrize(
    ("host", "name"),
    [("[::1]:80", "::1"), ("a.b:1", "a.b"), ("a.b.", "a.b"), ("10.0.0.1", "10.0.0.1"), ("", "")],
)
def test_host_name(host, name):
    assert host_name(host) == name

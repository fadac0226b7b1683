"""Log-in, as Slicer's own client and as a browser meet it, on a real server."""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np
import pytest
import requests
from bs4 import BeautifulSoup
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

from lib.sample.ct import make_sample_ct
from lib.serving.auth.desk import COOKIE
from lib.serving.auth.passwords import hashed
from lib.serving.auth.users import Role, User, UsersFile
from tests.server.conftest import Server, running_server

TIMEOUT = 60
CLICK = {"foreground": [[30, 24, 12]], "label": "bone"}
#: A long propagation, to be looked at and stopped meanwhile.
LONG = {"propagation": "forward-backward", "extent": "whole", "axis": "axial"}


@dataclass
class Person:
    """A user and what a viewer of theirs does."""

    url: str
    name: str
    role: Role

    @property
    def password(self) -> str:
        return f"the password of {self.name}"

    def client(self, client_id: str | None = None) -> MONAILabelClient:
        """Upstream's client, as Slicer's plugin uses it, logged in."""
        client = MONAILabelClient(self.url, client_id=client_id)
        client.update_auth(client.auth_token(self.name, self.password))
        return client

    def ask(self, method: str, path: str, **kwargs) -> requests.Response:
        """A request with a bearer token."""
        token = log_in(self.url, self.name, self.password).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=60, **kwargs)


def log_in(url: str, name: str, password: str, address: str | None = None) -> requests.Response:
    headers = {"X-Forwarded-For": address} if address else {}
    fields = {"username": name, "password": password, "grant_type": "password"}
    return requests.post(f"{url}/auth/token", data=fields, headers=headers, timeout=TIMEOUT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("login")
    studies = folder / "studies"
    studies.mkdir()
    sample = make_sample_ct(0, shape=(60, 48, 24), spacing=(5.0, 5.0, 8.0))
    nib.save(nib.Nifti1Image(sample.ct, sample.affine), studies / "pelvis.nii.gz")
    noise = np.random.default_rng(0).normal(0, 30, (40, 40, 300)).astype(np.int16)
    nib.save(nib.Nifti1Image(noise, np.diag([2, 2, 3, 1])), studies / "long.nii.gz")
    return folder


@pytest.fixture(scope="module")
def users(folder) -> UsersFile:
    users = UsersFile(folder / "users.json")
    roles = {"anna": Role.ANNOTATOR, "bert": Role.ANNOTATOR, "eve": Role.USER, "root": Role.ADMIN}
    for name, role in roles.items():
        users.add(User(name, role, hashed(f"the password of {name}")))
    return users


@pytest.fixture(scope="module")
def server(folder, users) -> Iterator[Server]:
    conf = {"users": str(users.path)}
    log = folder / "server.log"
    with running_server(str(folder / "studies"), log, conf, probe="/auth/") as running:
        yield running
    assert "the password of" not in log.read_text()


@pytest.fixture
def person(server, users):
    return lambda name: Person(server.url, name, users.find(name).role)


@pytest.fixture
def anna(person) -> Person:
    return person("anna")


def test_slicers_client_logs_in_and_runs_a_model(server, anna, tmp_path):
    client = MONAILabelClient(anna.url, tmpdir=str(tmp_path), client_id="user-xyz")
    assert client.auth_enabled()
    assert not client.auth_valid_token()
    with pytest.raises(MONAILabelClientException) as refused:
        client.info()
    assert refused.value.status_code == 401
    client.update_auth(client.auth_token(anna.name, anna.password))
    assert client.auth_valid_token()
    assert "sam2_ct_points" in client.info()["models"]
    file, params = client.infer("sam2_ct_points", "pelvis", CLICK)
    assert Path(file).stat().st_size > 0
    assert params["label_names"]
    # a client is used once, as the plugin does: it keeps the headers of its last upload
    session = anna.client("user-xyz").create_session(f"{server.studies}/pelvis.nii.gz")
    assert anna.client("user-xyz").get_session(session["session_id"])
    assert anna.client("user-xyz").next_sample("first", {})["id"]


@pytest.mark.parametrize(("name", "password"), [("anna", "wrong"), ("nobody", "wrong"), ("", "")])
def test_wrong_password_and_unknown_name_look_alike(server, name, password):
    answer = log_in(server.url, name, password, "203.0.113.1")
    assert answer.status_code in (401, 422)  # 422: a form that is not filled in
    if name:
        assert answer.json() == {"detail": "wrong user name or password"}


def test_unknown_names_take_as_long(server):
    def seconds(name: str, address: str) -> float:
        return log_in(server.url, name, "wrong", address).elapsed.total_seconds()

    known = median(seconds("eve", f"203.0.114.{n}") for n in range(7))
    unknown = median(seconds("nobody", f"203.0.114.{n}") for n in range(7))
    assert 0.5 < unknown / known < 2


def test_everything_else_is_closed(server, person):
    paths = person("root").ask("GET", "/openapi.json").json()["paths"]
    assert len(paths) > 10
    public = {"/auth/", "/auth/token"}
    for path, methods in paths.items():
        for method in {m.upper() for m in methods} | {"GET", "POST", "HEAD"}:
            answer = requests.request(method, server.url + path, timeout=TIMEOUT)
            assert answer.status_code == 401 or path in public, (method, path)
    for path in ("/", "/docs", "/openapi.json", "/ohif/", "/static/", "/reload", "/auth/token/x"):
        for method in ("GET", "POST", "OPTIONS"):
            answer = requests.request(method, server.url + path, timeout=TIMEOUT)
            assert answer.status_code == 401, (method, path)


@pytest.mark.parametrize("path", ["//info/", "/auth/../info/", "/auth/%2e%2e/info/", "/AUTH/token"])
def test_detours_are_closed(server, path):
    with requests.Session() as session:
        request = requests.Request("GET", server.url).prepare()
        request.url = server.url + path
        assert session.send(request, timeout=TIMEOUT).status_code == 401


def forged(claims: dict, header: dict) -> str:
    pieces = (header, claims, {})
    coded = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in pieces]
    return b".".join([*coded[:2], b""]).decode()


def test_forged_and_tampered_tokens(server, anna):
    good = log_in(server.url, anna.name, anna.password).json()["access_token"]
    admin = {"sub": "root", "preferred_username": "root", "exp": time.time() + 3600}
    admin["realm_access"] = {"roles": ["monailabel-admin", "monailabel-user"]}
    bad = [forged(admin, {"alg": "none"}), good[:-1], good + "x", good.swapcase(), "", "root"]
    for token in bad:
        for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"{COOKIE}={token}"}):
            answer = requests.get(f"{server.url}/info/", headers=headers, timeout=TIMEOUT)
            assert answer.status_code == 401, headers
    basic = {"Authorization": f"Basic {good}", "Cookie": f"{COOKIE}={good}"}
    assert requests.get(f"{server.url}/info/", headers=basic, timeout=TIMEOUT).status_code == 401
    assert requests.get(f"{server.url}/info/?token={good}", timeout=TIMEOUT).status_code == 401


@pytest.mark.parametrize(
    ("name", "method", "path", "status"),
    [
        ("eve", "GET", "/info/", 200),
        ("eve", "GET", "/datastore/image?image=pelvis", 200),
        ("eve", "PUT", "/datastore/image/info?image=pelvis", 403),
        ("eve", "PUT", "/datastore/label?image=pelvis", 403),
        ("anna", "DELETE", "/datastore/image?id=pelvis", 403),
        ("anna", "DELETE", "/datastore/label?id=pelvis&tag=final", 403),
        ("anna", "POST", "/batch/infer/sam2_ct_propagate", 403),
        ("anna", "PUT", "/datastore/image/info?image=pelvis", 200),
        ("root", "DELETE", "/datastore/image?id=nonesuch", 404),  # let in, and told so
    ],
)
def test_roles_are_those_of_upstreams_routes(person, name, method, path, status):
    body = {"data": {"info": "{}"}} if path.startswith("/datastore/image/info") else {}
    answer = person(name).ask(method, path, **body)
    assert answer.status_code == status, answer.text
    if status == 403:
        assert "is required" in answer.json()["detail"]
    assert "pelvis" in person(name).ask("GET", "/datastore/?output=all").text


def test_a_role_is_taken_away_at_once(users, server):
    users.add(User("carl", Role.ANNOTATOR, hashed("the password of carl")))
    carl = Person(server.url, "carl", Role.ANNOTATOR).client()
    assert carl.info()
    users.set_password("carl", hashed("another password"))
    assert not carl.auth_valid_token()
    carl.update_auth(carl.auth_token("carl", "another password"))
    assert carl.auth_valid_token()
    users.remove("carl")
    assert not carl.auth_valid_token()
    assert log_in(server.url, "carl", "another password", "203.0.113.2").status_code == 401


def test_guessing_is_slowed_down(server, anna):
    address = "203.0.113.77"
    with ThreadPoolExecutor(8) as pool:  # at once, which must not help
        guesses = list(
            pool.map(lambda n: log_in(server.url, "anna", f"guess {n}", address), range(16))
        )
    assert sorted(g.status_code for g in guesses) == [401] * 5 + [429] * 11
    late = log_in(server.url, "anna", anna.password, address)
    if late.status_code == 429:  # unless the wait of a second is over already
        assert int(late.headers["Retry-After"]) >= 1
        assert "try again in" in late.json()["detail"]
        time.sleep(int(late.headers["Retry-After"]))
        late = log_in(server.url, "anna", anna.password, address)
    assert late.status_code == 200
    assert log_in(server.url, "anna", anna.password, "203.0.113.78").status_code == 200


def test_a_stranger_cannot_send_much(server):
    start = time.monotonic()
    answer = requests.post(
        f"{server.url}/auth/token", data={"username": "a" * (1 << 20), "password": "b"}, timeout=60
    )
    assert answer.status_code == 413
    assert time.monotonic() - start < 5


class Browser(requests.Session):
    """Sends what a browser sends; follows redirects, keeps cookies."""

    def __init__(self, url: str, **headers: str) -> None:
        super().__init__()
        self.url = url
        self.headers.update({"Accept": "text/html,*/*", **headers})

    def log_in(self, person: Person, next_: str = "", **change: str) -> requests.Response:
        fields = {"username": person.name, "password": person.password, "next": next_, **change}
        return self.post(f"{self.url}/auth/login", data=fields, allow_redirects=False)


def test_browser_is_sent_to_the_log_in_and_back(server, anna):
    browser = Browser(server.url)
    wanted = "/ohif/viewer?StudyInstanceUIDs=1.2.3&x=a%26b"
    page = browser.get(server.url + wanted)
    assert page.history[0].status_code == 303
    assert page.url.startswith(f"{server.url}/auth/login?next=")
    assert 'value="/ohif/viewer?StudyInstanceUIDs=1.2.3&amp;x=a%26b"' in page.text
    assert "script" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    style = browser.get(f"{server.url}/auth/login.css")
    assert style.headers["Content-Type"].startswith("text/css")

    wrong = browser.log_in(anna, wanted, password="wrong")
    assert wrong.status_code == 401
    assert 'role="alert"' in wrong.text
    assert "Set-Cookie" not in wrong.headers

    right = browser.log_in(anna, wanted)
    assert (right.status_code, right.headers["Location"]) == (303, wanted)
    cookie = right.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "Secure" not in cookie  # plain HTTP on the loopback
    assert browser.get(f"{server.url}/info/").json()["name"]
    assert browser.get(server.url + wanted).status_code == 200
    assert "anna" in browser.get(f"{server.url}/auth/login").text

    stolen = browser.cookies.get(COOKIE)
    assert "Log in" in browser.post(f"{server.url}/auth/logout").text
    assert COOKIE not in browser.cookies
    again = requests.get(f"{server.url}/info/", cookies={COOKIE: stolen}, timeout=TIMEOUT)
    assert again.status_code == 401


def test_behind_tls_the_cookie_is_secure(server, anna):
    behind = Browser(server.url, **{"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.5"})
    assert "Secure" in behind.log_in(anna).headers["Set-Cookie"]


@pytest.mark.parametrize("path", ["/auth/login", "/auth/logout", "/auth/token", "/sam2_ct/undo"])
def test_other_sites_cannot_log_somebody_in_or_out(server, anna, path):
    browser = Browser(server.url)
    assert browser.log_in(anna).status_code == 303
    fields = {"username": "eve", "password": "the password of eve"}
    for origin in ("https://evil.example", "null"):
        foreign = browser.post(f"{server.url}{path}", data=fields, headers={"Origin": origin})
        assert foreign.status_code == 403
        assert "Set-Cookie" not in foreign.headers
    assert "logged in as <strong>anna" in browser.get(f"{server.url}/auth/login").text


@pytest.mark.parametrize("host", ["", "evil.example"])
def test_live_connections_of_strangers_are_refused(server, host):
    headers = {
        **{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        **{"Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode()},
        **({"Host": host} if host else {}),
    }
    answer = requests.get(f"{server.url}/info/", headers=headers, timeout=TIMEOUT)
    assert answer.status_code == 403
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(
    "next_",
    [
        *("https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"),
        *("/a\r\nSet-Cookie: x=1", "/\t/evil.example", "///evil.example", "x", ""),
        *("//[", "http://[x", "/\\["),
    ],
)
def test_the_way_back_stays_here(server, anna, next_):
    location = Browser(server.url).log_in(anna, next_).headers["Location"]
    assert location == "/sam2_ct/"


def test_the_way_back_is_no_html(server):
    page = requests.get(
        f"{server.url}/auth/login", params={"next": '/"><script>alert(1)</script>'}, timeout=TIMEOUT
    )
    assert "<script" not in page.text


def test_scripts_are_told_instead_of_sent_away(server):
    answer = requests.get(f"{server.url}/info/", headers={"Accept": "*/*"}, timeout=TIMEOUT)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json() == {"detail": "log in first"}


def test_results_are_those_of_the_user(person):
    anna, bert = person("anna"), person("bert")
    anna.client("user-xyz").infer("sam2_ct_points", "pelvis", CLICK)
    key = {"image": "pelvis", "label": "bone"}
    mine = anna.ask("GET", "/sam2_ct/results", params={**key, "client_id": "user-xyz"})
    assert len(mine.json()) >= 1
    for claim in ("user-xyz", "anna", "anna/user-xyz", "../anna", None):
        asked = {**key, "client_id": claim} if claim else key
        assert bert.ask("GET", "/sam2_ct/results", params=asked).json() == []
        assert bert.ask("GET", "/sam2_ct/result", params=asked).status_code == 404
        assert bert.ask("POST", "/sam2_ct/undo", params=asked).status_code == 404
    again = anna.ask("GET", "/sam2_ct/results", params={**key, "client_id": "user-xyz"})
    assert again.json() == mine.json()


def test_jobs_are_seen_and_stopped_by_their_owner_or_an_admin(person):
    anna, bert, root = person("anna"), person("bert"), person("root")
    for job, may_stop in (("secret-job-1", anna), ("secret-job-2", root)):
        with ThreadPoolExecutor(1) as pool:
            params = {**LONG, "foreground": [[20, 20, 150]], "job": job}
            work = pool.submit(anna.client("user-xyz").infer, "sam2_ct_points", "long", params)
            wait_until(lambda job=job: anna.ask("GET", f"/sam2_ct/jobs/{job}").ok)
            shown = bert.ask("GET", "/sam2_ct/jobs").text
            shown += bert.ask("GET", "/sam2_ct/queue").text
            assert '"state":"running"' in shown
            assert not any(secret in shown for secret in (job, "anna", "user-xyz", "long"))
            assert job in anna.ask("GET", "/sam2_ct/jobs").text
            for method in ("GET", "DELETE"):
                assert bert.ask(method, f"/sam2_ct/jobs/{job}").status_code == 404
            assert anna.ask("GET", f"/sam2_ct/jobs/{job}").json()["state"] == "running"
            assert may_stop.ask("DELETE", f"/sam2_ct/jobs/{job}").ok
            with pytest.raises(MONAILabelClientException, match="409"):
                work.result(TIMEOUT)


def wait_until(condition, limit: float = 30) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_log_in_expires(folder, users):
    conf = {"users": str(users.path), "login_hours": "0.001"}
    log = folder / "expiry.log"
    with running_server(str(folder / "studies"), log, conf, probe="/auth/") as short:
        client = Person(short.url, "anna", Role.ANNOTATOR).client()
        assert client.auth_valid_token()
        browser = Browser(short.url)
        browser.log_in(Person(short.url, "anna", Role.ANNOTATOR))
        stolen = browser.cookies.get(COOKIE)
        time.sleep(4)
        assert not client.auth_valid_token()
        answer = requests.get(f"{short.url}/info/", cookies={COOKIE: stolen}, timeout=TIMEOUT)
        assert answer.status_code == 401


def test_a_damaged_users_file_lets_nobody_in(server, users, anna):
    client = anna.client()
    kept = users.path.read_bytes()
    try:
        users.path.write_text("{")
        answer = requests.get(f"{server.url}/info/", headers=client._headers, timeout=TIMEOUT)
        assert answer.status_code == 503
        assert log_in(server.url, "anna", anna.password).status_code == 503
        assert str(users.path) not in answer.text
    finally:
        users.path.write_bytes(kept)
    assert client.auth_valid_token()


def test_results_on_the_page_are_those_of_the_user(server, person, tmp_path):
    """Under whichever client name; an administrator sees everybody's, nobody else does."""
    anna, bert, root = map(person, ("anna", "bert", "root"))
    client = MONAILabelClient(anna.url, tmpdir=str(tmp_path), client_id="slicer-of-anna")
    client.update_auth(client.auth_token(anna.name, anna.password))
    client.infer("sam2_ct_slice", "pelvis", {**CLICK, "label": "rib of anna"})

    def shown(who: Person) -> list:
        answer = who.ask("GET", "/sam2_ct/page/results")
        assert answer.status_code == 200
        parsed = BeautifulSoup(answer.text, "html.parser").select("details.result")
        return [one for one in parsed if "rib of anna" in one.get_text()]

    (hers,) = shown(anna)
    (seen,) = shown(root)
    assert shown(bert) == []
    assert "of anna/slicer-of-anna" in " ".join(seen.summary.get_text(" ").split())
    assert "of anna/" not in hers.get_text(" ")
    # whoever logs in may sit elsewhere: the command names no folder of the server
    command = hers.select_one(".replay code").get_text()
    assert command.startswith("sam2-ct segment VOLUME --replay rib_of_anna-")
    assert server.studies not in hers.get_text()
    paths = [
        tag[key] for tag in hers.select("img, a") for key in ("src", "href") if tag.has_attr(key)
    ]
    undo = hers.select_one("button[data-url]")["data-url"]
    for path in paths:
        assert requests.get(f"{server.url}{path}", timeout=TIMEOUT).status_code == 401
        assert bert.ask("GET", path).status_code == 404
        assert anna.ask("GET", path).status_code == root.ask("GET", path).status_code == 200
    assert requests.post(f"{server.url}{undo}", timeout=TIMEOUT).status_code == 401
    assert bert.ask("POST", undo).status_code == 404
    assert bert.ask("POST", f"{undo}?client_id=slicer-of-anna").status_code == 404
    assert anna.ask("POST", undo).status_code == 200
    assert shown(anna) == shown(root) == []

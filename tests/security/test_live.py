"""The page and its stream of events, attacked: others' streams, foreign pages, too many of them."""

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import nibabel as nib
import numpy as np
import pytest
import requests

from lib.serving.auth.desk import COOKIE
from lib.serving.auth.passwords import hashed
from lib.serving.auth.users import Role, User, UsersFile
from lib.serving.page.events import PER_CLIENT
from lib.serving.scratch import HELD_UP
from tests.security.conftest import alarms, image_file
from tests.server.conftest import Server, running_server
from tests.server.viewers import Slicer

TIMEOUT = 30
EVENTS = "/sam2_ct/events"
PAGES = ["/sam2_ct/", EVENTS, "/sam2_ct/page/studies", "/sam2_ct/page/page.js"]
CLICK = [[9, 8, 5]]


@contextmanager
def listening(url: str, client: str = "", **kwargs) -> Iterator[requests.Response]:
    asked = {"client_id": client} if client else {}
    with requests.get(
        f"{url}{EVENTS}", params=asked, stream=True, timeout=TIMEOUT, **kwargs
    ) as answer:
        yield answer


def states(answer: requests.Response) -> Iterator[dict]:
    """As they come."""
    for line in answer.iter_lines(1):
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def first_state(url: str, **kwargs) -> dict:
    with listening(url, **kwargs) as answer:
        assert answer.status_code == 200, answer.text
        return next(states(answer))


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_sites_get_nothing(unharmed, path, origin):
    """An EventSource of another site sends its Origin; with a cookie of ours, too."""
    headers = {"Origin": origin, "Accept": "text/event-stream", "Sec-Fetch-Site": "cross-site"}
    answer = unharmed.ask("GET", path, headers=headers, cookies={"SAM2_CT_CLIENT": "x"})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    rebound = {"Host": "evil.example"}
    assert unharmed.ask("GET", path, headers=rebound).status_code == 403


@pytest.mark.parametrize("path", [path for path in PAGES if path != EVENTS])
def test_nothing_of_elsewhere_runs_in_the_page(unharmed, path):
    answer = unharmed.ask("GET", path)
    rules = dict(
        rule.strip().split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split(";")
    )
    assert rules == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    if "html" in answer.headers["Content-Type"]:
        assert answer.headers["Cache-Control"] == "no-store"
        assert (
            re.findall(r"<script(?! type=\"module\" src=\"/)|\son\w+=|\sstyle=", answer.text) == []
        )


@pytest.mark.parametrize(
    "path", ["../events.py", "..%2froutes.py", "page.html", "%00", "", "x", "page.js/"]
)
def test_nothing_but_its_files(unharmed, path):
    answer = unharmed.ask("GET", f"/sam2_ct/page/{path}", allow_redirects=False)
    assert answer.status_code in (307, 404)


HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onfocus='alert(1)"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_clients_name_is_text(unharmed, name):
    html = unharmed.ask("GET", "/sam2_ct/", params={"client_id": name}).text
    assert name not in html
    assert unharmed.ask("GET", "/sam2_ct/", cookies={"SAM2_CT_CLIENT": name}).text.count(name) == 0


@pytest.mark.parametrize("name", ["a\u202eb", "a\nb", "a\x00b", "a" * 129])
def test_what_is_no_name_is_told(unharmed, name):
    for path in ("/sam2_ct/", EVENTS):
        answer = unharmed.ask("GET", path, params={"client_id": name}, stream=True)
        assert answer.status_code == 422
        assert "cannot be the client" in answer.json()["detail"]


def test_many_streams_are_bounded_and_hold_nothing_up(unharmed):
    url = unharmed.server.url
    with ExitStack() as stack:
        for n in range(6):
            for _ in range(PER_CLIENT):
                answer = stack.enter_context(listening(url, f"many-{n}"))
                assert answer.status_code == 200
            refused = stack.enter_context(listening(url, f"many-{n}"))
            assert refused.status_code == 429
            assert "close one" in refused.json()["detail"]
        started = time.monotonic()  # 48 streams: more than the threads there are for requests
        with ThreadPoolExecutor(8) as pool:
            asked = list(pool.map(lambda _: unharmed.ask("GET", "/info/"), range(16)))
        assert all(answer.ok for answer in asked)
        assert time.monotonic() - started < 20
    deadline = time.monotonic() + 20
    while True:  # those that were hung up count no more
        with listening(url, "many-0") as answer:
            if answer.status_code == 200:
                break
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_nobody_listens_to_anothers_jobs(unharmed):
    url = unharmed.server.url
    slicer = Slicer(url, client_id="secret-client")
    with listening(url, "listener") as other, listening(url, "secret-client") as own:
        theirs, mine = states(other), states(own)
        before = next(theirs)["results"], next(mine)["results"]
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(slicer.smart_edit, "a", CLICK, job="secret-job")
            heard = []
            while not heard or heard[-1]["queues"] == [] or heard[-1]["queues"][0]["running"]:
                heard.append(next(theirs))
            assert work.result(TIMEOUT).status == 200
        told = json.dumps(heard)
        assert not any(secret in told for secret in ("secret-client", "secret-job", '"a"'))
        assert {state["results"] for state in heard} == {before[0]}
        while (state := next(mine))["results"] == before[1]:
            pass
        assert state["jobs"][0]["id"] == "secret-job"


@pytest.fixture(scope="module")
def locked(tmp_path_factory) -> Iterator[tuple[Server, UsersFile]]:
    folder = tmp_path_factory.mktemp("locked")
    (folder / "studies").mkdir()
    image_file(folder / "studies" / "a.nii.gz")
    users = UsersFile(folder / "users.json")
    for name in ("anna", "bert"):
        users.add(User(name, Role.ANNOTATOR, hashed(f"the password of {name}")))
    log, conf = folder / "server.log", {"users": str(users.path)}
    with running_server(str(folder / "studies"), log, conf, probe="/auth/") as server:
        yield server, users
    assert alarms(log) == []


def token(server: Server, name: str) -> str:
    fields = {"username": name, "password": f"the password of {name}"}
    answer = requests.post(f"{server.url}/auth/token", data=fields, timeout=TIMEOUT)
    return answer.json()["access_token"]


def test_strangers_are_sent_to_the_log_in(locked):
    server, _ = locked
    for path in PAGES:
        assert requests.get(f"{server.url}{path}", timeout=TIMEOUT).status_code == 401
    page = requests.get(f"{server.url}/sam2_ct/", headers={"Accept": "text/html"}, timeout=TIMEOUT)
    assert page.url == f"{server.url}/auth/login?next=%2Fsam2_ct%2F"


def test_with_log_in_a_claim_about_the_client_is_worth_nothing(locked):
    server, _ = locked
    anna, bert = ({COOKIE: token(server, name)} for name in ("anna", "bert"))
    params = {"client_id": "slicer", "foreground": CLICK, "label": "bone", "job": "secret-job"}
    asked = requests.post(
        f"{server.url}/infer/sam2_ct_points?image=a&output=json",
        files={"params": (None, json.dumps(params))},
        cookies=anna,
        timeout=TIMEOUT,
    )
    assert asked.ok, asked.text
    assert first_state(server.url, cookies=anna)["jobs"][0]["client"] == "anna/slicer"
    for claim in ("", "slicer", "anna", "anna/slicer", "../anna/slicer"):
        state = first_state(server.url, client=claim, cookies=bert)
        assert state["jobs"] == []
        assert "secret-job" not in json.dumps(state)


def test_a_stream_ends_with_the_log_in(locked):
    server, users = locked
    mine = token(server, "anna")
    with listening(server.url, cookies={COOKIE: mine}) as out:
        heard = states(out)
        next(heard)
        answer = requests.post(
            f"{server.url}/auth/logout",
            cookies={COOKIE: mine},
            allow_redirects=False,
            timeout=TIMEOUT,
        )
        assert answer.status_code == 303
        assert list(heard) == []  # at the next heartbeat, or change
    users.add(User("carl", Role.USER, hashed("the password of carl")))
    with listening(server.url, cookies={COOKIE: token(server, "carl")}) as gone:
        heard = states(gone)
        next(heard)
        users.remove("carl")
        assert list(heard) == []


@contextmanager
def of_its_own(folder) -> Iterator[Server]:
    (folder / "studies").mkdir()
    image_file(folder / "studies" / "a.nii.gz")
    with running_server(str(folder / "studies"), folder / "server.log", {}) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_with_open_streams_stops_at_once(tmp_path, number):
    with of_its_own(tmp_path) as server, ExitStack() as stack:
        open_ones = [stack.enter_context(listening(server.url, f"c{n}")) for n in range(20)]
        heard = [states(answer) for answer in open_ones]
        for stream in heard:
            next(stream)
        server.process.send_signal(number)
        started = time.monotonic()
        assert [list(stream) for stream in heard] == [[]] * 20
        assert time.monotonic() - started < 3
        server.process.wait(20)
        assert alarms(server.log) == []


@pytest.mark.slow
def test_who_does_not_read_holds_no_server_up(tmp_path):
    with of_its_own(tmp_path) as server, socket.socket() as stuck:
        noise = np.random.default_rng(0).integers(0, 1 << 15, (256, 256, 128), np.int16)
        nib.save(nib.Nifti1Image(noise, np.eye(4)), f"{server.studies}/large.nii")
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        stuck.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        asked = b"GET /datastore/image?image=large HTTP/1.1"
        stuck.sendall(asked + b"\r\nHost: 127.0.0.1\r\n\r\n")
        assert stuck.recv(12) == b"HTTP/1.1 200"
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(HELD_UP + 20)
        assert time.monotonic() - started > HELD_UP - 2, "it was not stuck: that tests nothing"

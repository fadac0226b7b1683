"""The README's example of TLS in front of the server: docs/nginx.conf, run by nginx itself."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from monailabel.client import MONAILabelClient

from lib.serving.auth.passwords import hashed
from lib.serving.auth.users import Role, User, UsersFile
from lib.serving.process import answers, free_port
from tests.server.conftest import running_server

EXAMPLE = Path(__file__).parents[2] / "docs" / "nginx.conf"
NAME = "https://ct.lab.example"
PASSWORD = "correct horse"
TIMEOUT = 30

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nginx() -> str:
    found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not installed: apt-get install nginx-light openssl")
    return found


@pytest.fixture(scope="module")
def certificate(nginx, tmp_path_factory) -> Path:
    """Of localhost, by itself; its key beside it."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", folder / "ct.key", "-out", folder / "ct.crt"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "ct.crt"


@pytest.fixture(scope="module")
def ports(nginx, certificate, tmp_path_factory) -> Iterator[tuple[int, int]]:
    """Of TLS and of plain HTTP, with the server behind them."""
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "studies").mkdir()
    users = UsersFile(folder / "users.json")
    users.add(User("anna", Role.ANNOTATOR, hashed(PASSWORD)))
    log = folder / "server.log"
    conf = {"users": str(users.path), "origins": NAME}
    with running_server(str(folder / "studies"), log, conf, probe="/auth/") as server:
        tls, plain = free_port(), free_port()
        site = (
            EXAMPLE.read_text()
            .replace("listen 443", f"listen 127.0.0.1:{tls}")
            .replace("listen 80;", f"listen 127.0.0.1:{plain};")
            .replace("127.0.0.1:8000", server.url.removeprefix("http://"))
            .replace("/etc/ssl/ct.lab.example", str(certificate.with_suffix("")))
        )
        (folder / "nginx.conf").write_text(around(site))
        process = subprocess.Popen([nginx, "-p", folder, "-c", "nginx.conf", "-e", "error.log"])
        try:
            deadline = time.monotonic() + 20
            while not answers(tls):
                assert process.poll() is None, (folder / "error.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield tls, plain
        finally:
            process.terminate()
            process.wait(20)


def around(site: str) -> str:
    """What Debian's /etc/nginx/nginx.conf has around a site; nothing outside the folder."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path temp-{kind};\n" for kind in kinds)
    return f"daemon off; pid pid; events {{}}\nhttp {{ access_log off;\n{places}\n{site}\n}}\n"


@pytest.fixture
def url(ports) -> str:
    return f"https://localhost:{ports[0]}"


@pytest.fixture
def browser(certificate) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False  # which may name other certificates
        session.verify = str(certificate)
        session.headers["Accept"] = "text/html"
        yield session


def test_the_cookie_is_for_tls_alone_and_every_way_leads_over_it(url, browser, ports):
    page = browser.get(f"{url}/ohif/", timeout=TIMEOUT)
    assert page.url == f"{url}/auth/login?next=%2Fohif%2F"
    fields = {"username": "anna", "password": PASSWORD, "next": "/ohif/"}
    origin = {"Origin": url}
    answer = browser.post(f"{url}/auth/login", data=fields, headers=origin, timeout=TIMEOUT)
    assert answer.url == f"{url}/ohif/"
    assert "Secure" in answer.history[0].headers["Set-Cookie"]
    address = answer.cookies["MONAILABEL_SERVER_URL"]
    assert address == f"https%3A%2F%2Flocalhost%3A{ports[0]}%2F"
    plain = requests.get(
        f"http://localhost:{ports[1]}/info/?x=1", allow_redirects=False, timeout=TIMEOUT
    )
    assert (plain.status_code, plain.headers["Location"]) == (301, "https://localhost/info/?x=1")


def test_slicers_client_comes_through(url):
    client = MONAILabelClient(url)
    assert client.auth_enabled()
    client.update_auth(client.auth_token("anna", PASSWORD))
    assert client.info()["login"].startswith("on")


def test_who_guesses_cannot_claim_another_address(url, browser):
    answers = [
        browser.post(
            f"{url}/auth/token",
            data={"username": "anna", "password": "wrong"},
            headers={"X-Forwarded-For": f"203.0.113.{n}"},
            timeout=TIMEOUT,
        ).status_code
        for n in range(6)
    ]
    assert answers == [401] * 5 + [429]


@pytest.mark.parametrize(
    ("name", "status"), [("ct.lab.example", 401), ("localhost", 401), ("evil.example", 403)]
)
def test_only_the_name_that_was_told_is_answered_to(url, browser, name, status):
    headers = {"Host": name, "Accept": "*/*"}
    assert browser.get(f"{url}/info/", headers=headers, timeout=TIMEOUT).status_code == status

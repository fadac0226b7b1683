"""Who may use a server that `sam2-ct serve` starts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from lib.serving.auth.users import Role, User, UsersFile
from lib.serving.process import SLICERS_CLIENT, free_port, page_of, url_of

APP = Path(__file__).parents[2] / "apps" / "sam2_ct"


def command(studies: Path, port: int, *more: str) -> list[str]:
    wanted = ["--studies", str(studies), "--port", str(port), "--model", "builtin", *more]
    return [sys.executable, str(APP), "serve", *wanted]


@pytest.mark.slow
def test_not_beyond_this_machine_without_a_word(tmp_path):
    asked = command(tmp_path, free_port(), "--host", "0.0.0.0")
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: with --host 0.0.0.0 every machine")
    assert "serving" not in done.stdout


@pytest.mark.slow
def test_with_users(tmp_path):
    users, port = UsersFile(tmp_path / "users.json"), free_port()
    users.add(User("anna", Role.USER, "$hash"))
    shared = ["--host", "0.0.0.0", "--users", str(users.path), "--browser"]
    seen = tmp_path / "seen"  # by a browser that writes down what it was asked to open
    browser = f"{sys.executable} -c \"open('{seen}', 'w').write('%s')\""
    (tmp_path / "studies").mkdir()
    with (tmp_path / "log").open("w") as log:
        asked = command(tmp_path / "studies", port, *shared)
        process = subprocess.Popen(
            asked,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "BROWSER": browser},
        )
    try:
        deadline = time.monotonic() + 120
        while "set the server to" not in (tmp_path / "log").read_text():
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        url = url_of("0.0.0.0", port)
        assert requests.get(f"{url}/info/", timeout=30).status_code == 401
        assert f"  page       {url}/sam2_ct/\n" in (tmp_path / "log").read_text()
        while not (seen.exists() and seen.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert seen.read_text() == f"{url}/sam2_ct/"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_the_page_of_slicers_client_or_of_whoever_logged_in():
    url = url_of("127.0.0.1", 80)
    assert page_of(url, SLICERS_CLIENT) == f"{url}/sam2_ct/?client_id=user-xyz"
    assert page_of(url) == f"{url}/sam2_ct/"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("ct.lab.example", "http://ct.lab.example:80"),
    ],
)
def test_address_to_type(host, url):
    assert url_of(host, 80) == url

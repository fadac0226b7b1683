"""Who may use a server that `sam2-ct serve` starts."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from lib.commands import execute
from lib.commands.main import app
from lib.places import APP
from lib.serving.auth.users import Role, User, UsersFile
from lib.serving.process import SLICERS_CLIENT, free_port, page_of, url_of


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


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_told_at_once(tmp_path, capsys, host):
    words = [
        "serve",
        "--studies",
        str(tmp_path),
        "--port",
        str(free_port()),
        "--host",
        host,
        "--open",
    ]
    assert execute(app, words) == 2
    assert f"error: no server can listen on {host} port" in capsys.readouterr().err


@contextmanager
def serving(folder: Path, *more: str, **env: str) -> Iterator[tuple[int, Path]]:
    """A server with its banner printed: its port, and what it said."""
    port, said = free_port(), folder / "log"
    (folder / "studies").mkdir()
    with said.open("w") as log:
        asked = command(folder / "studies", port, *more)
        environment = {**os.environ, **env}
        process = subprocess.Popen(
            asked, stdout=log, stderr=log, start_new_session=True, env=environment
        )
    try:
        deadline = time.monotonic() + 120
        while "stop       Ctrl+C" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield port, said
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.mark.slow
def test_with_users(tmp_path):
    users = UsersFile(tmp_path / "users.json")
    users.add(User("anna", Role.USER, "$hash"))
    with serving(tmp_path, "--host", "0.0.0.0", "--users", str(users.path)) as (port, said):
        url = url_of("0.0.0.0", port)
        assert requests.get(f"{url}/info/", timeout=30).status_code == 401
        assert f"  page       {url}/sam2_ct/\n" in said.read_text()


@pytest.mark.slow
def test_the_page_is_there_and_a_browser_is_sent_to_it(tmp_path):
    """With all its files: this test runs on the installed wheel, too."""
    seen = tmp_path / "seen"  # by a browser that writes down what it was asked to open
    browser = f"{sys.executable} -c \"open('{seen}', 'w').write('%s')\""
    with serving(tmp_path, "--browser", BROWSER=browser) as (port, said):
        url = url_of("127.0.0.1", port)
        shown = f"{url}/sam2_ct/?client_id=user-xyz"
        assert f"  page       {shown}\n" in said.read_text()
        deadline = time.monotonic() + 30
        while not (seen.exists() and seen.read_text() == shown):
            assert time.monotonic() < deadline, seen.exists() and seen.read_text()
            time.sleep(0.1)
        html = requests.get(shown, timeout=30).text
        parts = re.findall(r'(?:src|href)="(/sam2_ct/page/[^"]+)"', html)
        assert len(parts) == 2
        for part in [*parts, "/sam2_ct/page/results", "/sam2_ct/page/studies", "/favicon.ico"]:
            answer = requests.get(f"{url}{part}", timeout=30)
            assert answer.ok, part
            assert answer.content


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

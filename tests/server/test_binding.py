"""Whom the server answers, on the command line that a person would type."""

import subprocess
import time

import pytest
import requests

from lib.serving.process import free_port, server_command, server_environment
from tests.server.conftest import own_address


@pytest.fixture
def started(tmp_path):
    """Starts a server with --host as given, or without; returns its port and log."""
    processes = []

    def start(host: str | None, **conf: str) -> tuple[int, str]:
        port, log = free_port(), tmp_path / f"{host}.log"
        command = server_command(str(tmp_path), port, {"model": "builtin", **conf}, host or "")
        if host is None:
            at = command.index("--host")
            del command[at : at + 2]
        with log.open("w") as out:
            processes.append(
                subprocess.Popen(command, stdout=out, stderr=out, env=server_environment())
            )
        deadline = time.monotonic() + 120
        while "Uvicorn running" not in log.read_text():
            assert processes[-1].poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)
        return port, log.read_text()

    yield start
    for process in processes:
        process.terminate()
        process.wait(30)


def status(address: str, port: int) -> int:
    return requests.get(f"http://{address}:{port}/info/", timeout=30).status_code


@pytest.mark.slow
def test_this_machine_only_unless_told_otherwise(started):
    port, log = started(None)
    assert status("127.0.0.1", port) == 200
    assert status(own_address(), port) == 403
    assert "bound to" not in log


@pytest.mark.slow
def test_everybody_when_told_and_says_so(started):
    port, log = started("0.0.0.0", open="true")
    assert status(own_address(), port) == 200
    assert "bound to 0.0.0.0 and open: every machine that reaches it can read the studies" in log


@pytest.mark.slow
def test_not_everybody_without_a_word(tmp_path):
    command = server_command(str(tmp_path), free_port(), {"model": "builtin"}, "0.0.0.0")
    done = subprocess.run(
        command, capture_output=True, text=True, env=server_environment(), timeout=120, check=False
    )
    assert done.returncode == 2
    assert "--conf open true" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_proxy_does_not_open_a_server_without_log_in(started):
    port, _ = started("127.0.0.1")
    for_another = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    url = f"http://127.0.0.1:{port}/info/"
    assert requests.get(url, headers=for_another, timeout=30).status_code == 403
    assert requests.get(url, timeout=30).status_code == 200

"""The real server, as a child of this process, for as long as the demo asks it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from lib.errors import Unavailable
from lib.serving.process import LOOPBACK, free_port, server_command, server_environment

START_LIMIT = 120.0


@contextmanager
def running_server(output: Path, model: str) -> Iterator[str]:
    """The real server on a free port of the loopback, stopped at the end whatever happens."""
    studies = output / "studies"
    studies.mkdir(exist_ok=True)
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    log = output / "server.log"
    command = server_command(str(studies.resolve()), port, {"model": model})
    with log.open("w", encoding="utf-8") as stream:
        server = subprocess.Popen(
            command, env=server_environment(), stdout=stream, stderr=subprocess.STDOUT, cwd=output
        )
    try:
        _wait_for(server, url, log)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(server: subprocess.Popen, url: str, log: Path) -> None:
    give_up = time.monotonic() + START_LIMIT
    while time.monotonic() < give_up:
        if server.poll() is not None:
            raise Unavailable(f"the server stopped while starting, its log is {log}")
        try:
            if requests.get(f"{url}/info/", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise Unavailable(f"the server did not answer within {START_LIMIT:.0f} s, its log is {log}")

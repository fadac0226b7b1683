"""`make serve-dicom`: what it prints works, and it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from lib.commands.orthanc import OrthancMissing, find_orthanc
from lib.places import APP
from lib.serving.process import answers, free_port
from tests.signals import hears_ctrl_c

COMMAND = [sys.executable, str(APP), "serve-dicom"]
LIMIT = 180


@pytest.fixture
def serve_dicom(tmp_path):
    """Starts the script in a group of its own, as a terminal does; returns process and log."""
    try:
        find_orthanc()
    except OrthancMissing as error:
        pytest.skip(str(error))
    started = []

    def start(port: int) -> tuple[subprocess.Popen, Path]:
        log = tmp_path / f"{len(started)}.log"
        command = [*COMMAND, "-o", tmp_path / "out", "--port", str(port)]
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, "--model", "builtin"],
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=hears_ctrl_c,
            )
        started.append(process)
        return process, log

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def printed(process: subprocess.Popen, log: Path, what: str) -> str:
    """What follows `what` in the log, as soon as it is there."""
    deadline = time.monotonic() + LIMIT
    while not (found := re.search(rf"{what} +(\S+)", log.read_text())):
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.2)
    return found[1]


@pytest.mark.slow
def test_the_printed_address_works(serve_dicom, tmp_path):
    port = free_port()
    process, log = serve_dicom(port)
    ohif = printed(process, log, "OHIF")
    page = requests.get(ohif, timeout=30)
    assert page.ok
    assert page.cookies["MONAILABEL_SERVER_URL"] == f"http%3A%2F%2F127.0.0.1%3A{port}%2F"
    studies = f"http://127.0.0.1:{port}/proxy/dicom/qido/studies"
    accepted = {"accept": "application/dicom+json"}
    assert len(requests.get(studies, headers=accepted, timeout=30).json()) == 1
    store = printed(process, log, "DICOMweb")
    assert list((tmp_path / "out" / "orthanc" / "storage").iterdir())

    second, its_log = serve_dicom(port)
    assert second.wait(60) == 2
    assert f"port {port} is taken" in its_log.read_text()

    os.killpg(process.pid, signal.SIGINT)  # Ctrl+C
    assert process.wait(60) == 130
    assert not answers(port)
    with pytest.raises(requests.ConnectionError):
        requests.get(store, timeout=5)


def test_a_store_that_is_not_there(tmp_path):
    address = f"http://127.0.0.1:{free_port()}/dicom-web"
    command = [*COMMAND, "-o", tmp_path, "--port", str(free_port())]
    done = subprocess.run(
        [*command, "--dicomweb", address], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr == f"error: no DICOMweb store answers at {address}\n"

"""When the server goes, what it kept for itself goes; what stays is its user's alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.places import APP
from lib.serving.process import answers, free_port, server_environment
from tests.security.conftest import image_file
from tests.server.viewers import Slicer


def open_to_others(folder: Path) -> list[str]:
    """Files and folders that somebody else may read."""
    found = [folder, *folder.rglob("*")]
    return [str(path) for path in found if not path.is_symlink() and path.stat().st_mode & 0o077]


@pytest.fixture
def serving(tmp_path):
    """`sam2-ct serve` as a person would start it, in a process group of its own."""
    (tmp_path / "studies").mkdir()
    image_file(tmp_path / "studies" / "a.nii.gz")
    port = free_port()
    environment = {
        **server_environment(),
        "OMP_NUM_THREADS": "1",
        "SAM2_CT_HOME": str(tmp_path / "home"),
    }
    command = [
        sys.executable,
        str(APP),
        "serve",
        "--studies",
        str(tmp_path / "studies"),
        "--port",
        str(port),
    ]
    with (tmp_path / "out.log").open("w") as out:
        process = subprocess.Popen(
            [*command, "--model", "builtin"],
            stdout=out,
            stderr=out,
            env=environment,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while "stop " not in (tmp_path / "out.log").read_text():
            assert process.poll() is None, (tmp_path / "out.log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield process, port
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_sigterm_to_serve_stops_the_server_and_leaves_nothing(serving, tmp_path):
    process, port = serving
    slicer = Slicer(f"http://127.0.0.1:{port}")
    slicer.open_session(tmp_path / "studies" / "a.nii.gz")
    assert slicer.smart_edit("a", [[9, 8, 5]]).status == 200
    home, results = tmp_path / "home", tmp_path / "studies" / "sam2_ct"
    scratch = home / "scratch"
    assert len([p for p in scratch.iterdir() if p.is_dir()]) == 1
    assert open_to_others(scratch) == []
    assert open_to_others(home / "sessions") == []
    assert open_to_others(results) == []
    assert (tmp_path / "studies" / "datastore_v2.json").stat().st_mode & 0o777 == 0o666 & ~umask()

    process.send_signal(signal.SIGTERM)  # to `serve` alone
    assert process.wait(30) in (0, 143, -signal.SIGTERM)
    assert not answers(port)
    assert list(scratch.iterdir()) == []


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

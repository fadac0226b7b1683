"""Patients' images do not stay on the server's disk, and come whole or not at all."""

import os
import signal
from pathlib import Path

import pytest

from lib.serving.names import is_uid
from tests.dicom.conftest import dicom_environment
from tests.server.conftest import running_server
from tests.server.viewers import Ohif


def copies(folder: Path) -> list[str]:
    """Folders and files of series in a cache."""
    found = folder.glob("cache/*/*")
    return [
        p.name
        for p in found
        if is_uid(p.name.removesuffix(".nii.gz")) or p.name.startswith(".part-")
    ]


@pytest.mark.slow
def test_copies_go_at_shutdown_and_after_a_kill_at_the_next_start(store, series, tmp_path):
    uid, _ = series["straight"]
    environment = dicom_environment(tmp_path) | {"SAM2_CT_HOME": str(tmp_path / "home")}

    def fetched() -> None:
        answer = Ohif(server.url).infer("sam2_ct_points", uid, foreground=[[36, 28, 10]])
        assert answer.status == 200, answer.detail
        assert sorted(copies(tmp_path)) == sorted([uid, f"{uid}.nii.gz"])

    conf = {"results": str(tmp_path / "results")}
    with running_server(store.dicomweb, tmp_path / "log", conf, **environment) as server:
        fetched()
        (cache,) = (tmp_path / "cache").iterdir()
        assert not (tmp_path / "cache").stat().st_mode & 0o077
    assert copies(tmp_path) == []
    with running_server(store.dicomweb, tmp_path / "log", conf, **environment) as server:
        fetched()
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
    assert copies(tmp_path) != []
    # what a kill leaves of a series that was being fetched
    (cache / f".part-999999999-0.{uid}x1").mkdir()
    with running_server(store.dicomweb, tmp_path / "log", conf, **environment):
        assert copies(tmp_path) == []

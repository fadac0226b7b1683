"""Orthanc as `make serve-dicom` runs it."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from lib.commands.serve_dicom import dicom_environment
from lib.serving.process import free_port
from tests.server.conftest import Server, own_address, running_server
from tests.server.viewers import Ohif


def test_loopback_clients_are_answered(store):
    assert len(requests.get(f"{store.dicomweb}/studies", timeout=30).json()) == 3


@pytest.mark.parametrize("path", ["/dicom-web/studies", "/instances", "/app/explorer.html"])
def test_other_clients_are_refused(store, path):
    port = store.url.rpartition(":")[2]
    try:
        answer = requests.get(f"http://{own_address()}:{port}{path}", timeout=10)
    except requests.ConnectionError:
        return  # a version that listens on the loopback alone
    assert answer.status_code in (401, 403)


@contextmanager
def server_on(address: str, folder: Path) -> Iterator[Server]:
    """A server whose image store is somebody else's."""
    settings = dicom_environment(folder)
    with running_server(address, folder / "log", {}, probe="/sam2_ct/queue", **settings) as running:
        yield running


def test_a_store_that_is_gone_is_told_of(series, tmp_path):
    uid, _ = series["straight"]
    address = f"http://127.0.0.1:{free_port()}/dicom-web"
    with server_on(address, tmp_path) as server:
        answer = Ohif(server.url).infer("sam2_ct_points", uid, foreground=[[1, 1, 1]])
    assert answer.status == 503
    assert answer.detail.startswith(f"the image store at {address.split('/')[2]} does not answer")


def test_a_store_that_says_nothing_freezes_nothing(series, tmp_path):
    uid, _ = series["straight"]
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/dicom-web"
        with server_on(address, tmp_path) as server:
            asked = pool.submit(
                Ohif(server.url).infer, "sam2_ct_points", uid, foreground=[[1, 1, 1]]
            )
            held, _ = silent.accept()  # and nothing more
            for _ in range(20):
                start = time.perf_counter()
                assert requests.get(f"{server.url}/sam2_ct/queue", timeout=30).ok
                assert time.perf_counter() - start < 2
                time.sleep(0.05)
            assert not asked.done()
        assert isinstance(asked.exception(), requests.ConnectionError)  # stopped while it waits
        held.close()

"""Orthanc as `make serve-dicom` runs it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.server.conftest import own_address, running_server
from tests.server.viewers import Ohif
from tools.orthanc import free_port
from tools.serve_dicom import dicom_environment


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


@pytest.mark.slow  # the DICOMweb client tries again for half a minute
def test_a_store_that_is_gone_freezes_nothing(series, tmp_path):
    uid, _ = series["straight"]
    address = f"http://127.0.0.1:{free_port()}/dicom-web"
    settings = dicom_environment(tmp_path)
    with (
        running_server(address, tmp_path / "log", {}, probe="/sam2_ct/queue", **settings) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(Ohif(server.url).infer, "sam2_ct_points", uid, foreground=[[1, 1, 1]])
        waits = []
        while not asked.done():
            start = time.perf_counter()
            assert requests.get(f"{server.url}/sam2_ct/queue", timeout=30).ok
            waits.append(time.perf_counter() - start)
            time.sleep(0.1)
        assert len(waits) > 10
        assert max(waits) < 2
        assert asked.result().status == 503
        assert asked.result().detail.startswith(f"the image store at {address.split('/')[2]} does")

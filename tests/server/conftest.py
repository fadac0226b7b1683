"""A real server on a free port, with three small volumes."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests

from lib.sample.ct import SampleCT, make_sample_ct
from lib.serving.process import server_command, server_environment
from tests.server.viewers import Slicer

START_LIMIT = 120.0


@dataclass
class Server:
    """A running server."""

    url: str
    studies: str
    log: Path
    process: subprocess.Popen
    clients: int = field(default=0)

    def slicer(self, **kwargs) -> Slicer:
        """A new client with an id of its own."""
        self.clients += 1
        return Slicer(self.url, client_id=f"annotator-{self.clients}", **kwargs)

    def jobs(self, **query) -> list[dict]:
        return requests.get(f"{self.url}/sam2_ct/jobs", params=query, timeout=30).json()


@contextmanager
def running_server(
    studies: str, log: Path, conf: dict[str, str], probe: str = "/info/", **env: str
) -> Iterator[Server]:
    """Start the server, wait until the route `probe` answers, and stop it in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **server_environment(),
        # tests share the machine, and the built-in network is too small to share out
        "OMP_NUM_THREADS": "1",
        "MONAI_LABEL_SESSION_PATH": str(log.parent / "sessions"),
        **env,
    }
    command = server_command(studies, port, {"model": "builtin", **conf})
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env=environment, cwd=log.parent, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                if requests.get(f"{url}{probe}", timeout=5).ok:
                    break
            except requests.RequestException:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.2)
        yield Server(url, studies, log, process)
    finally:
        with suppress(ProcessLookupError):  # a test may have killed it
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def own_address() -> str:
    """An address of this machine that is not the loopback; skips where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; names the interface that leads there
        except OSError as error:
            pytest.skip(f"this machine has no address but the loopback: {error}")
        return probe.getsockname()[0]


@pytest.fixture(scope="session")
def sample() -> SampleCT:
    """A pelvis of 60 × 48 × 24 voxels."""
    return make_sample_ct(0, shape=(60, 48, 24), spacing=(5.0, 5.0, 8.0))


@pytest.fixture(scope="session")
def studies(sample, tmp_path_factory) -> Path:
    """`pelvis` (RAS), `turned` (the same patient stored LPI-wise) and `long` (300 slices)."""
    folder = tmp_path_factory.mktemp("studies")
    image = nib.Nifti1Image(sample.ct, sample.affine)
    nib.save(image, folder / "pelvis.nii.gz")
    turned = image.as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
    nib.save(turned, folder / "turned.nii.gz")
    noise = np.random.default_rng(0).normal(0, 30, (40, 40, 300))
    noise[12:28, 12:28] += 700
    nib.save(nib.Nifti1Image(noise.astype(np.int16), np.diag([2, 2, 3, 1])), folder / "long.nii.gz")
    return folder


@pytest.fixture(scope="session")
def server(studies, tmp_path_factory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "server.log"
    with running_server(str(studies), log, {"max_upload_mb": "8"}) as running:
        yield running


@pytest.fixture
def slicer(server) -> Slicer:
    return server.slicer()


@pytest.fixture(scope="session")
def bones(sample) -> dict[str, int]:
    """Structure → label value."""
    return {name: value for value, name in sample.names.items()}


@pytest.fixture
def painted(sample, bones) -> np.ndarray:
    """First, middle and last slice of the left hip, as value 1."""
    hip = sample.labels == bones["hip_left"]
    z = np.flatnonzero(hip.any((0, 1)))
    labels = np.zeros(hip.shape, dtype=np.uint8)
    for k in (z[0], z[len(z) // 2], z[-1]):
        labels[..., k] = hip[..., k]
    return labels

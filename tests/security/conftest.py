"""A server to be attacked, with a secret outside its studies; its log stays clean."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests

from tests.server.conftest import Server, running_server

TIMEOUT = 60
SHAPE = (20, 16, 12)
#: What a log must not hold, whatever was asked.
ALARMS = ("Traceback", "Exception in ASGI", "a request failed")


@dataclass
class Victim:
    """A running server and what lies around its studies."""

    server: Server
    folder: Path

    @property
    def studies(self) -> Path:
        return self.folder / "studies"

    @property
    def secret(self) -> Path:
        """A file that nobody may read through the server."""
        return self.folder / "secret.bin"

    def ask(self, method: str, path: str, **kwargs) -> requests.Response:
        kwargs.setdefault("timeout", TIMEOUT)
        return requests.request(method, f"{self.server.url}{path}", **kwargs)

    def files(self) -> set[str]:
        """Everything in the folder that the server does not keep to itself."""
        own = (".lock", "datastore_v2.json", "server.log")
        return {
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file()
            and path.name not in own
            and not path.is_relative_to(self.folder / "home" / "scratch")
            and not path.is_relative_to(self.folder / "studies" / "sam2_ct")
        }


def image_file(path: Path, seed: int = 0, shape=SHAPE) -> Path:
    """A small volume with a bright block."""
    array = np.random.default_rng(seed).normal(0, 30, shape)
    array[6:14, 5:11] += 700
    nib.save(nib.Nifti1Image(array.astype(np.int16), np.diag([2, 2, 3, 1])), path)
    return path


def label_file(path: Path, shape=SHAPE, value: int = 1) -> Path:
    """A label map on the grid of `image_file`."""
    array = np.zeros(shape, np.uint8)
    array[6:14, 5:11, [2, 9]] = value
    nib.save(nib.Nifti1Image(array, np.diag([2, 2, 3, 1])), path)
    return path


def alarms(log: Path) -> list[str]:
    """Lines of a log that tell of a defect."""
    return [line for line in log.read_text().splitlines() if any(a in line for a in ALARMS)]


@pytest.fixture(scope="session")
def victim(tmp_path_factory) -> Iterator[Victim]:
    folder = tmp_path_factory.mktemp("victim")
    (folder / "studies").mkdir()
    for n, name in enumerate(("a", "b")):
        image_file(folder / "studies" / f"{name}.nii.gz", n)
    (folder / "secret.bin").write_bytes(bytes(range(256)) * 20)
    with running_server(
        str(folder / "studies"),
        folder / "server.log",
        {"max_upload_mb": "16"},
        SAM2_CT_HOME=str(folder / "home"),
    ) as server:
        yield Victim(server, folder)


@pytest.fixture
def unharmed(victim) -> Iterator[Victim]:
    """The victim; afterwards nothing new lies about, it answers, and its log is clean."""
    before, told = victim.files(), len(alarms(victim.server.log))
    yield victim
    assert victim.ask("GET", "/info/").ok
    assert victim.files() == before
    assert alarms(victim.server.log)[told:] == []


@pytest.fixture
def label(tmp_path) -> Path:
    return label_file(tmp_path / "label.nii.gz")

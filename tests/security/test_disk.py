"""A full disk and one that may only be read: a sentence, and what was there stays."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests

from tests.security.conftest import SHAPE, alarms, image_file, label_file
from tests.server.conftest import Server, running_server
from tests.server.viewers import Slicer

CLICK = [[9, 8, 5]]


@pytest.fixture
def mount(tmp_path) -> Iterator[Callable[..., Path]]:
    """Mounts something at a new folder; skips where that is not allowed."""
    with ExitStack() as stack:

        def mounted(name: str, *arguments: str) -> Path:
            folder = tmp_path / name
            folder.mkdir()
            try:
                subprocess.run(["mount", *arguments, folder], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"nothing can be mounted here: {error}")
            stack.callback(subprocess.run, ["umount", "-l", folder], check=False)
            return folder

        yield mounted


def noise_label(path: Path, seed: int) -> bytes:
    """Some kilobytes that do not compress."""
    array = np.random.default_rng(seed).integers(0, 200, SHAPE).astype(np.uint8)
    nib.save(nib.Nifti1Image(array, np.diag([2, 2, 3, 1])), path)
    return path.read_bytes()


def submit(server: Server, content: bytes, tag: str = "final") -> requests.Response:
    return requests.put(
        f"{server.url}/datastore/label",
        params={"image": "a", "tag": tag},
        files={"label": ("x.nii.gz", content)},
        timeout=60,
    )


def fill(folder: Path) -> Path:
    """Use up every block of a disk."""
    filler = folder / "filler.bin"
    with filler.open("wb", buffering=0) as file:
        size = 1 << 16
        while size >= 1:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 16
    return filler


@pytest.mark.slow
def test_a_full_disk(mount, tmp_path):
    studies = mount("studies", "-t", "tmpfs", "-o", "size=1m", "tmpfs")
    image_file(studies / "a.nii.gz")
    old, new = (noise_label(tmp_path / "x.nii.gz", seed) for seed in (1, 2))
    home = {"SAM2_CT_HOME": str(tmp_path / "home")}
    with running_server(str(studies), tmp_path / "server.log", {}, **home) as server:
        assert submit(server, old).ok
        filler = fill(studies)
        index = (studies / "datastore_v2.json").read_bytes()
        image = image_file(tmp_path / "b.nii.gz", 7, (60, 40, 30)).read_bytes()
        answers = [
            submit(server, new),
            submit(server, new, "draft"),
            requests.put(
                f"{server.url}/datastore/image?image=b", files={"file": ("b", image)}, timeout=60
            ),
            requests.put(
                f"{server.url}/datastore/image/info?image=a",
                files={"info": (None, '{"x": "%s"}' % ("y" * 9000))},
                timeout=60,
            ),
        ]
        for answer in answers:
            assert answer.status_code == 507, answer.text
            assert "disk is full" in answer.json()["detail"]
        assert Slicer(server.url).smart_edit("a", CLICK).status == 507
        kept = requests.get(f"{server.url}/datastore/label?label=a&tag=final", timeout=60)
        assert kept.content == old
        assert (studies / "datastore_v2.json").read_bytes() == index
        assert not [p for p in studies.rglob(".part-*")]
        status = requests.get(f"{server.url}/datastore/", timeout=60).json()
        assert (status["total"], status["completed"]) == (1, 1)
        assert server.slicer().info()["name"]
    with running_server(str(studies), tmp_path / "again.log", {}, **home) as server:
        filler.unlink()
        assert submit(server, new).ok
        kept = requests.get(f"{server.url}/datastore/label?label=a&tag=final", timeout=60)
        assert kept.content == new
    assert alarms(tmp_path / "server.log") == []


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [True, False], ids=["results elsewhere", "all in one"])
def test_studies_that_may_only_be_read(mount, tmp_path, elsewhere):
    source = tmp_path / "source"
    source.mkdir()
    image_file(source / "a.nii.gz")
    studies = mount("studies", "--bind", str(source))
    remount = ["mount", "-o", "remount,ro,bind", studies]
    if subprocess.run(remount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted read-only here")
    conf = {"results": str(tmp_path / "results")} if elsewhere else {}
    home = {"SAM2_CT_HOME": str(tmp_path / "home")}
    with running_server(str(studies), tmp_path / "server.log", conf, **home) as server:
        answer = Slicer(server.url).smart_edit("a", CLICK)
        label = label_file(tmp_path / "x.nii.gz").read_bytes()
        refused = [(r.status_code, r.json()["detail"]) for r in [submit(server, label)]]
        if elsewhere:
            assert answer.status == 200, answer.detail
            assert answer.labels.any()
            sample = requests.post(f"{server.url}/activelearning/random", json={}, timeout=60)
            assert sample.json()["id"] == "a"
        else:
            refused.append((answer.status, answer.detail))
        for status, sentence in refused:
            assert status == 403
            assert "the server may only read there" in sentence
            assert str(tmp_path) not in sentence
    assert alarms(tmp_path / "server.log") == []
    assert [p.name for p in source.iterdir()] == ["a.nii.gz"]

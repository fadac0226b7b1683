"""Work that is cut off by `kill -9`, and what must be there afterwards."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import requests

from tests.security.conftest import SHAPE, image_file
from tests.server.conftest import Server


@dataclass
class Acknowledged:
    """What the server said is done, in all its lives; `sent`: it may be done all the same."""

    images: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)
    info: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)
    count: int = 0


class Workers:
    """Clients that submit images, labels, info and clicks until the server is gone."""

    def __init__(self, known: Acknowledged, folder: Path, size: int = 4) -> None:
        self.known = known
        self.folder = folder
        self.size = size
        self._number = itertools.count(int(time.time() * 1000))
        self._lock = threading.Lock()

    def work(self, server: Server, seconds: float) -> None:
        """Let them work for a while, and kill the server in the midst of it."""
        kinds = [self._image, self._label, self._info, self._click]
        threads = [
            threading.Thread(target=self._repeat, args=[kinds[n % len(kinds)], server.url, n])
            for n in range(self.size)
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        for thread in threads:
            thread.join(60)

    def _repeat(self, once: Callable[[str, int], None], url: str, worker: int) -> None:
        while True:
            try:
                once(url, worker)
            except requests.RequestException:
                return
            with self._lock:
                self.known.count += 1

    def _image(self, url: str, worker: int) -> None:
        number = next(self._number)
        content = image_file(self.folder / f"{worker}.nii.gz", number % 9).read_bytes()
        name = f"sent-{number % 20}-{worker}"
        files = {"file": ("x.nii.gz", content)}
        self.known.sent[name] = content
        sent = requests.put(f"{url}/datastore/image?image={name}", files=files, timeout=60)
        assert sent.status_code == 200, sent.text
        self.known.images[name] = content

    def _label(self, url: str, worker: int) -> None:
        number, tag = next(self._number), ("final", "draft")[worker // 4 % 2]
        array = np.full(SHAPE, 1 + number % 200, np.uint8)
        path = self.folder / f"label-{worker}.nii.gz"
        nib.save(nib.Nifti1Image(array, np.diag([2, 2, 3, 1])), path)
        sent = requests.put(
            f"{url}/datastore/label?image=a&tag={tag}",
            files={
                "label": ("x.nii.gz", path.read_bytes()),
                "params": (None, json.dumps({"number": number})),
            },
            timeout=60,
        )
        assert sent.status_code == 200, sent.text
        self.known.labels[tag] = number

    def _info(self, url: str, worker: int) -> None:
        key, number = f"worker-{worker}", next(self._number)
        files = {"info": (None, json.dumps({key: number}))}
        sent = requests.put(f"{url}/datastore/image/info?image=a", files=files, timeout=60)
        assert sent.status_code == 200, sent.text
        self.known.info[key] = number

    def _click(self, url: str, worker: int) -> None:
        params = {"foreground": [[9, 8, 5]], "client_id": f"clicks-{worker}"}
        sent = requests.post(
            f"{url}/infer/sam2_ct_points?image=a&output=json",
            files={"params": (None, json.dumps(params))},
            timeout=60,
        )
        assert sent.status_code == 200, sent.text
        self.known.results.append(sent.json()["log"])


def check(server: Server, studies: Path, home: Path, known: Acknowledged) -> None:
    """Everything acknowledged is there, whole; nothing half-written is."""
    told = requests.get(f"{server.url}/datastore/?output=all", timeout=60).json()["objects"]
    for name, content in known.images.items():
        kept = (studies / f"{name}.nii.gz").read_bytes()
        assert kept in (content, known.sent[name]), name
        known.images[name] = kept  # what was only sent may have come through: it counts from now on
        assert name in told
    for key, number in known.info.items():
        assert told["a"]["image"]["info"][key] >= number
    for tag, number in known.labels.items():
        label = told["a"]["labels"][tag]
        assert label["info"]["number"] >= number
        array = np.asarray(nib.load(studies / "labels" / tag / f"a{label['ext']}").dataobj)
        assert len(np.unique(array)) == 1  # whole, of one request
    for log in known.results[-50:]:
        path = studies / "sam2_ct" / log
        assert json.loads(path.read_text())["labels"]
        assert path.with_suffix(".nrrd").stat().st_size > 100
    left = [p.name for p in studies.rglob(".part-*") if p.parent in (studies, *_tags(studies))]
    assert left == []
    assert len([p for p in (home / "scratch").iterdir() if p.is_dir()]) == 1
    assert not list(studies.glob("datastore_v2.damaged-*"))


def _tags(studies: Path) -> list[Path]:
    return list((studies / "labels").glob("*"))

"""The server under siege: thousands of requests, sound and hostile, and a kill after a kill.

    make soak                                       10,000 requests, 200 kills, 8 clients
    python benchmarks/soak.py --requests 2000 --kills 20

Prints a table; ends with 1 if anything that must not happen did.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import requests
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct")]

from tests.security.conftest import alarms, image_file, label_file
from tests.security.killing import Acknowledged, Workers, check
from tests.server.conftest import Server, running_server

HOSTILE = [
    *("../../x", "/etc/passwd", "x\0y", "a" * 300, "ä😀", "", ".", "%00", "{", "[" * 3000, "NaN"),
    *('{"a":"\\ud800"}', '{"sam2_ct":3}', '{"a":NaN}', "-1", "1e999", "9" * 99, "null", "\n"),
]


class Siege:
    """Requests of all kinds at one server, and what came of them."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.url = server.url
        self.image = image_file(folder / "image.nii.gz", 3).read_bytes()
        self.label = label_file(folder / "label.nii.gz").read_bytes()
        self.statuses: Counter[str] = Counter()
        self.broken: list[str] = []
        self._lock = threading.Lock()

    def client(self, number: int, count: int) -> None:
        """Send `count` requests, one after the other."""
        chance = random.Random(number)
        session = requests.Session()
        for _ in range(count):
            method, path, kwargs = self._request(chance, number)
            try:
                answer = session.request(method, f"{self.url}{path}", timeout=120, **kwargs)
            except requests.RequestException as error:
                outcome, status = f"{method} {path[:60]}: {error}", "none"
            else:
                status = f"{answer.status_code // 100}xx"
                outcome = f"{method} {path[:60]}: {answer.status_code} {answer.text[:200]}"
            with self._lock:
                self.statuses[status] += 1
                if status in ("5xx", "none"):
                    self.broken.append(outcome)

    def _request(self, chance: random.Random, number: int) -> tuple[str, str, dict]:
        odd = chance.choice(HOSTILE)
        click = [[chance.randint(0, 19), chance.randint(0, 15), chance.randint(0, 11)]]
        params = {"foreground": click, "client_id": f"client-{number}"}
        files = {"params": (None, json.dumps(params))}
        return chance.choice(
            [
                ("GET", "/info/", {}),
                ("GET", "/datastore/?output=all", {}),
                ("GET", "/sam2_ct/jobs", {}),
                ("POST", "/activelearning/random", {"json": {"client_id": odd[:20]}}),
                ("POST", "/infer/sam2_ct_slice?image=a&output=image", {"files": files}),
                ("POST", "/infer/sam2_ct_points", {"files": files, "params": {"image": odd}}),
                (
                    "POST",
                    "/infer/sam2_ct_points?image=a",
                    {"files": {"params": (None, odd), "label": ("x.nrrd", odd)}},
                ),
                (
                    "PUT",
                    f"/datastore/image?image=sent-{number}",
                    {"files": {"file": ("x.nii.gz", self.image)}},
                ),
                ("PUT", "/datastore/image", {"params": {"image": odd}, "files": {"file": odd}}),
                (
                    "PUT",
                    f"/datastore/label?image=a&tag=tag-{number}",
                    {"files": {"label": ("x.nii.gz", self.label)}},
                ),
                (
                    "PUT",
                    "/datastore/label?image=a",
                    {"params": {"tag": odd}, "files": {"label": ("x.nii.gz", self.label)}},
                ),
                ("PUT", "/datastore/image/info?image=a", {"files": {"info": (None, odd)}}),
                ("PUT", "/session/", {"files": {"files": ("x.nii.gz", self.image)}}),
                ("PUT", "/session/?uncompress=true", {"files": {"files": (odd, odd)}}),
                ("GET", "/datastore/label", {"params": {"label": "a", "tag": odd}}),
                ("GET", "/sam2_ct/results", {"params": {"image": odd, "label": odd}}),
                ("DELETE", "/datastore/image", {"params": {"id": odd}}),
                ("GET", "/info/", {"headers": {"Origin": "https://evil.example"}}),
                ("DELETE", "/datastore/image?id=a", {"headers": {"Host": "evil.example"}}),
                ("POST", "/infer/wsi_v2/sam2_ct_points", {"files": files}),
            ]
        )


def besiege(folder: Path, count: int, clients: int) -> dict[str, object]:
    """Requests at one server that is not killed."""
    studies, home = folder / "studies", folder / "home"
    studies.mkdir(parents=True)
    image_file(studies / "a.nii.gz")
    waits: list[float] = []
    with running_server(str(studies), folder / "log", {}, SAM2_CT_HOME=str(home)) as server:
        memory = psutil.Process(server.process.pid)
        siege, over = Siege(server, folder), threading.Event()
        siege.client(0, 200)
        before = memory.memory_info().rss

        def look() -> None:
            while not over.wait(0.2):
                start = time.perf_counter()
                requests.get(f"{server.url}/info/", timeout=60)
                waits.append(time.perf_counter() - start)

        watcher = threading.Thread(target=look)
        watcher.start()
        start = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(siege.client, range(1, clients + 1), [count // clients] * clients))
        seconds = time.perf_counter() - start
        over.set()
        watcher.join()
        grown = (memory.memory_info().rss - before) / 1e6
    for line in siege.broken[:10]:
        print("  ", ascii(line), file=sys.stderr)
    return {
        "requests": sum(siege.statuses.values()),
        **{f"answered {kind}": siege.statuses[kind] for kind in ("2xx", "4xx", "5xx", "none")},
        "alarms in the log": len(alarms(folder / "log")),
        "requests a second": round(count / seconds, 1),
        "/info/ meanwhile, median s": round(float(np.median(waits)), 3),
        "/info/ meanwhile, longest s": round(max(waits), 3),
        "memory grown by, MB": round(grown, 1),
    }


def kill(folder: Path, kills: int, clients: int, minutes: float) -> dict[str, object]:
    """A server that is killed and started again and again."""
    studies, home = folder / "studies", folder / "home"
    studies.mkdir(parents=True)
    image_file(studies / "a.nii.gz")
    known, chance = Acknowledged(), random.Random(1)
    workers = Workers(known, folder, clients)
    lost, starts, told = 0, [], 0
    until = time.monotonic() + 60 * minutes
    for n in range(kills + 1):
        if time.monotonic() > until:
            kills = n
        log = folder / f"log-{n}"
        start = time.perf_counter()
        with running_server(str(studies), log, {}, SAM2_CT_HOME=str(home)) as server:
            starts.append(time.perf_counter() - start)
            try:
                check(server, studies, home, known)
            except (AssertionError, OSError, KeyError) as error:
                lost += 1
                print("  ", ascii(str(error))[:300], file=sys.stderr)
            if n < kills:
                workers.work(server, chance.uniform(0.2, 2.0))
        told += len(alarms(log))
        log.unlink()
        if n == kills:
            break
    return {
        "kills": kills,
        "starts after them": len(starts) - 1,
        "acknowledged meanwhile": known.count,
        "lives in which something was lost": lost,
        "alarms in the logs": told,
        "start, median s": round(float(np.median(starts)), 1),
    }


def main(
    count: Annotated[int, typer.Option("--requests")] = 10_000,
    kills: int = 200,
    clients: int = 8,
    minutes: Annotated[float, typer.Option(help="most time for the kills")] = 120,
) -> None:
    """Besiege a server, then kill it."""
    table: dict[str, object] = {"clients": clients}
    with tempfile.TemporaryDirectory() as folder:
        if count:
            table |= besiege(Path(folder, "siege"), count, clients)
        if kills:
            table |= kill(Path(folder, "kills"), kills, clients, minutes)
    print("| | |\n|:--|--:|")
    for name, value in table.items():
        print(f"| {name} | {value} |")
    forbidden = ("answered 5xx", "answered none", "alarms in the log")
    more = ("lives in which something was lost", "alarms in the logs")
    raise typer.Exit(1 if any(table.get(name) for name in (*forbidden, *more)) else 0)


if __name__ == "__main__":
    typer.run(main)

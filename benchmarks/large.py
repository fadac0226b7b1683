"""A CT of 512 × 512 × 800 voxels, three painted slices: memory, seconds by stage, and `/info/`.

    python benchmarks/large.py [--slices 800] [--json OUT]

Writes such a volume (int16, .nii.gz) and one of 64 × 64 × 24, segments both with the command line
and through a server, each in a process of its own, and prints a table: peak memory of the process
(as `wait4` tells it), wall time until the answer begins, what of it lies in no stage of the report,
and for the server how long `/info/`, asked ten times a second meanwhile, made somebody wait. That
depends on what else the machine does; so a last line tells the longest stretch in which the thread
of the request computed and no other thread of Python could.

Ends with 1 if the large volume takes more than twice its int16 voxels above what the tiny one
takes, if more than 5 % of a request lies in no stage, if an answer of `/info/` took longer than
0.3 s, or if other threads were kept waiting for 0.2 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import requests
from requests_toolbelt import MultipartDecoder

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct")]

from benchmarks.memory import MB, megabytes
from lib.geometry import Grid
from lib.serving.process import LOOPBACK, free_port, server_command, server_environment
from lib.transforms.save import save_labelmap
from lib.transforms.streams import gzipped

MODEL = "sam2_ct_masks"
UNTOLD = 0.05
HELD = 0.2
PATIENCE = 0.3
START_LIMIT = 120
SPACING = (0.7, 0.7, 1.0)
TINY = (64, 64, 24)
PARAMS = {
    "label_info": [{"name": "bone", "id": 1}],
    "selected_label_name": "bone",
    "client_id": "benchmark",
    "result_extension": ".nrrd",
    "result_compress": False,  # as Slicer asks for it
}


@dataclass
class Measured:
    """One process and what it was asked.

    Attributes:
        peak_mb: of resident memory.
        wall: seconds until each answer began, or the report was written.
        told: seconds by stage of each request.
        info: the longest that `/info/` took, seconds.
    """

    peak_mb: float = 0.0
    wall: list[float] = field(default_factory=list)
    told: list[dict[str, float]] = field(default_factory=list)
    info: float = 0.0

    @property
    def untold(self) -> float:
        """The largest share of a request that lies in no stage."""
        return max(1 - sum(t.values()) / w for t, w in zip(self.told, self.wall, strict=True))


@dataclass(frozen=True)
class Case:
    """A CT, its bone painted on three slices, and on one more."""

    ct: Path
    painted: Path
    more: Path
    voxels: int


def make(folder: Path, shape: tuple[int, int, int]) -> Case:
    """A body of noise with an oblique bone in it, slice by slice."""
    import nibabel as nib

    folder.mkdir()
    grid = Grid(shape, np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1]))
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[:2]), indexing="ij")
    body = x**2 + (1.3 * y) ** 2 < 0.8
    first, last = 3 * shape[2] // 8, 5 * shape[2] // 8
    bone: dict[int, np.ndarray] = {}
    header = nib.Nifti1Image(np.broadcast_to(np.int16(0), shape), grid.affine).header
    with (folder / "ct.nii.gz").open("wb") as file, gzipped(file) as out:
        header.set_data_offset(352)
        header["magic"] = b"n+1"
        header.write_to(out)
        out.write(bytes(4))
        for k in range(shape[2]):
            noise = rng.normal(0, 18, shape[:2])
            plane = np.where(body, 40.0, -1000.0)
            if first <= k <= last:
                middle = 0.2 + 0.2 * (k - first) / (last - first)
                bone[k] = (x - middle) ** 2 + (y - 0.1) ** 2 < 0.012
                plane[bone[k]] = 900.0
            out.write((plane + noise).astype("<i2").tobytes(order="F"))
    files = []
    marks = (first, (first + last) // 2, last)
    for name, slices in (("three", marks), ("four", (*marks, first + (last - first) // 4))):
        labels = np.zeros(shape, np.uint8, order="F")
        for k in slices:
            labels[:, :, k] = bone[k]
        files.append(folder / f"{name}.nrrd")
        save_labelmap(labels, grid, files[-1])
    return Case(folder / "ct.nii.gz", *files, int(np.prod(shape)))


def command_line(case: Case, folder: Path) -> Measured:
    """`segment`, in a process of its own."""
    report = folder / "report.json"
    command = [sys.executable, str(ROOT / "apps" / "sam2_ct"), "segment", str(case.ct)]
    command += ["--prompts", str(case.painted), "-o", str(folder / "out.nii.gz")]
    command += ["--report", str(report), "--model", "builtin", "--device", "cpu"]
    start = time.time()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    peak = peak_of(process)
    wall = report.stat().st_mtime - start  # what Python does at its end is no part of it
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Measured(peak, [wall], [json.loads(report.read_text())["seconds"]])


def through_server(case: Case, folder: Path) -> Measured:
    """Three painted slices, then a fourth, as Slicer sends them, to a server that just started."""
    folder.mkdir()
    studies = folder / "studies"
    studies.mkdir()
    (studies / "ct.nii.gz").hardlink_to(case.ct)
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    conf = {"model": "builtin", "device": "cpu", "home": str(folder / "home")}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            server_command(str(studies), port, conf),
            env=server_environment(),
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    measured = Measured()
    try:
        deadline = time.monotonic() + START_LIMIT
        while not _answers(url):
            if time.monotonic() > deadline:
                raise RuntimeError(f"no server: {(folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.2)
        with asked_all_the_time(f"{url}/info/") as waits:
            for labels in (case.painted, case.more):
                wall, told = _ask(url, labels)
                measured.wall.append(wall)
                measured.told.append(told)
        measured.info = max(waits)
    finally:
        server.terminate()
        measured.peak_mb = peak_of(server)
    return measured


@contextmanager
def asked_all_the_time(url: str) -> Iterator[list[float]]:
    """Ask ten times a second, from another process; at the end, the seconds each answer took.

    This one takes the answer of hundreds of megabytes apart, and would not look at its clock then.
    """
    command = [sys.executable, __file__, "--ask", url]
    waits: list[float] = []
    asker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    asker.stdout.readline()  # it has begun
    try:
        yield waits
    finally:
        told, _ = asker.communicate()
        waits += map(float, told.split())


def _ask_until_told(url: str) -> None:
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    print("asking", flush=True)
    with requests.Session() as session:
        while not over.wait(0.1):
            start = time.perf_counter()
            session.get(url, timeout=60).raise_for_status()
            print(time.perf_counter() - start)


def held(case: Case) -> float:
    """Seconds of processor time for which a request kept every other thread of Python waiting."""
    command = [sys.executable, __file__, "--held", str(case.ct), str(case.painted), str(case.more)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def _held(ct: Path, *labels: Path) -> float:
    """The same, in this process: another thread looks every 2 ms what this one has computed."""
    from lib.configs.tasks import TaskConfig
    from lib.engine.jobs import JobBoard
    from lib.engine.log import Results
    from lib.engine.models import Engines, ModelKey
    from lib.infers.base import Services
    from lib.infers.masks import MaskTask
    from lib.infers.request import Asker, ViewerRequest

    clock = time.pthread_getcpuclockid(threading.get_ident())
    longest, over = [0.0], threading.Event()

    def look() -> None:
        last = time.clock_gettime(clock)
        while not over.wait(0.002):
            longest.append(max(longest.pop(), time.clock_gettime(clock) - last))
            last = time.clock_gettime(clock)

    with tempfile.TemporaryDirectory() as folder:
        engines = Engines(ModelKey("builtin"), "cpu")
        services = Services(TaskConfig.parse({}), engines, JobBoard(), Results(Path(folder)))
        task = MaskTask(services)
        engines.get()  # loading torch and the network comes before the first request
        looker = threading.Thread(target=look)
        looker.start()
        for file in labels:
            request = ViewerRequest.parse(PARAMS, MODEL, Asker("me", "ct", "ct"), label_file=file)
            answer, _ = task(request, ct)
            Path(answer).unlink()
        over.set()
        looker.join()
    return longest[0]


def peak_of(process: subprocess.Popen) -> float:
    """Wait for the end of a process; megabytes."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return megabytes(used)


def _answers(url: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"{url}/info/", timeout=5).ok
    return False


def _ask(url: str, labels: Path) -> tuple[float, dict[str, float]]:
    """Seconds until the answer begins, and what it says of them."""
    start = time.perf_counter()
    with labels.open("rb") as file:
        answer = requests.post(
            f"{url}/infer/{MODEL}",
            params={"image": "ct"},
            files={"params": (None, json.dumps(PARAMS)), "label": (labels.name, file)},
            timeout=600,
            stream=True,
        )
    wall = time.perf_counter() - start
    answer.raise_for_status()
    parts = MultipartDecoder.from_response(answer).parts
    (said,) = (p for p in parts if b'name="params"' in p.headers[b"Content-Disposition"])
    return wall, json.loads(said.text)["seconds"]


def measure(shape: tuple[int, int, int]) -> tuple[dict[str, tuple[Measured, Measured]], float]:
    """By way in: the tiny volume's figures, and those of one of that shape; and `held` of it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        large, tiny = make(folder / "large", shape), make(folder / "tiny", TINY)
        found = {
            "command line": (
                command_line(tiny, folder / "tiny"),
                command_line(large, folder / "large"),
            ),
            "server": (
                through_server(tiny, folder / "tiny-server"),
                through_server(large, folder / "large-server"),
            ),
        }
        return found, held(large)


def report(
    shape: tuple[int, int, int], found: dict[str, tuple[Measured, Measured]], waiting: float
) -> list[str]:
    """Print the tables; returns the bounds that are missed."""
    allowed = 2 * 2 * np.prod(shape) / MB
    missed = []
    print(
        f"{' × '.join(map(str, shape))} int16 ({allowed / 2:.0f} MB), three painted slices over a "
        f"quarter of it (the server: then a fourth), {os.cpu_count()} cores\n"
    )
    print("| | peak MB | of a tiny volume | above it | allowed | s | in no stage | /info/ s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (small, big) in found.items():
        above = big.peak_mb - small.peak_mb
        seconds = ", then ".join(f"{w:.1f}" for w in big.wall)
        waited = f"{big.info:.2f}" if big.info else "–"
        print(
            f"| {name} | {big.peak_mb:.0f} | {small.peak_mb:.0f} | {above:.0f} | {allowed:.0f} "
            f"| {seconds} | {100 * big.untold:.1f} % | {waited} |"
        )
        if above > allowed:
            missed.append(f"{name}: {above:.0f} MB above the tiny volume, {allowed:.0f} allowed")
        if big.untold > UNTOLD:
            missed.append(f"{name}: {100 * big.untold:.1f} % of a request in no stage")
        if big.info > PATIENCE:
            missed.append(f"{name}: /info/ took {big.info:.2f} s, {PATIENCE} allowed")
    if waiting > HELD:
        missed.append(f"other threads waited {waiting:.2f} s, {HELD} allowed")
    print()
    for name, (_, big) in found.items():
        for told in big.told:
            stages = ", ".join(f"{stage} {s:.2f}" for stage, s in told.items() if s >= 0.005)
            print(f"- {name}, seconds: {stages}")
    print(f"- other threads waited for the request's for {waiting:.3f} s at most")
    print("- " + ("; ".join(missed) or "every bound is kept"))
    return missed


def main() -> None:
    """Measure and print; exit code 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=800)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    parser.add_argument("--held", type=Path, nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        _ask_until_told(arguments.ask)
        return
    if arguments.held:
        print(_held(*arguments.held))
        return
    shape = (arguments.side, arguments.side, arguments.slices)
    found, waiting = measure(shape)
    if arguments.json:
        said = {n: {"tiny": asdict(a), "large": asdict(b)} for n, (a, b) in found.items()}
        arguments.json.write_text(json.dumps(said, indent=1) + "\n")
    sys.exit(bool(report(shape, found, waiting)))


if __name__ == "__main__":
    main()

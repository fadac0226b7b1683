"""From three painted slices to a bone, through the real server.

Makes a sample CT (or takes yours), starts the MONAI Label server with this app on the loopback,
sends the painted slices as Slicer's Scribbles panel does, and writes what comes back.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import requests
import torch
from monai.metrics import compute_dice
from monailabel.client.client import MONAILabelClient, MONAILabelClientException

from lib.errors import BadInput, Unavailable
from lib.files import write_json
from lib.geometry import Axis
from lib.pictures.figure import Picture, write_png
from lib.pictures.planes import Found, Marked, View, cuts
from lib.prompts.labelmap import from_labelmap
from lib.prompts.simulated import mask_prompts
from lib.sample.ct import make_sample_ct, write_case
from lib.serving.process import LOOPBACK, free_port, server_command, server_environment
from lib.transforms.load import load_labelmap, load_volume
from lib.transforms.save import save_labelmap
from lib.transforms.window import parse_window
from lib.transforms.windowed import Windowed

MODEL = "sam2_ct_masks"
BONE = "hip_left"
START_LIMIT = 120.0


@dataclass(frozen=True)
class Task:
    """What is sent: a CT, a label map of painted slices, and the truth where it is known."""

    ct: Path
    prompts: Path
    truth: Path | None
    label: int
    name: str


def run_demo(
    output: Path, ct: Path | None, prompts: Path | None, truth: Path | None, model: str
) -> None:
    """Write segmentation, picture and report into `output`.

    Args:
        output: folder, made if it is not there.
        ct: a volume, or None for the sample CT.
        prompts: label map of painted slices of `ct`.
        truth: label map of the whole bone, to measure Dice.
        model: checkpoint by name.

    Raises:
        BadInput: files that cannot be used.
        Unavailable: the server does not start.
    """
    output.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    with _stage(seconds, "sample CT"):
        task = _own(ct, prompts, truth, output) if ct and prompts else _sample(output / "sample")
    volume = load_volume(task.ct)
    grid = volume.grid
    painted, prompt_grid = load_labelmap(task.prompts)
    if not prompt_grid.same_as(grid):
        raise BadInput(f"{task.prompts} lies on another grid than {task.ct}: resample it first")
    marks = from_labelmap(painted, grid, object_ids=[task.label]).prompts
    slices = [p.index for p in marks]
    print(f"{task.name}: painted axial slices {slices} of {task.ct}")

    with _server(output, model, seconds) as url:
        answer, params = _ask(url, task, output, seconds)
    labels, result_grid = load_labelmap(answer)
    answer.unlink()
    if not result_grid.same_as(grid):
        raise RuntimeError("the server answered on another grid than the CT's")
    mask = labels > 0
    with _stage(seconds, "write"):
        segmentation = output / "segmentation.nii.gz"
        save_labelmap(mask, grid, segmentation, like=task.ct)
        known = None if task.truth is None else load_labelmap(task.truth)[0] > 0
        dice = None if known is None else dice_of(mask, known)
        picture = output / "overlay.png"
        settings = params["settings"]
        line = (
            f"{task.name}, {params['checkpoint']['name']} checkpoint, policy {settings['policy']}"
        )
        line += "" if dice is None else f", Dice {dice:.3f}"
        shown = Windowed(volume.upright(), parse_window(settings["window"]))
        found = Found(mask, grid, [1])
        rows = _planes(found, slices)
        marked = Marked({Axis.AXIAL: slices})
        write_png(Picture(shown, found, rows, marked, {1: task.name}, known, line), picture)
    report = output / "report.json"
    write_json(report, {**params, "demo": {"seconds": seconds, "dice": dice, "prompts": slices}})
    _say(params, seconds, dice, [segmentation, picture, report])


def dice_of(mask: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two (X, Y, Z) bool masks, by MONAI."""
    pair = (torch.from_numpy(a[None, None].astype(np.uint8)) for a in (mask, truth))
    return float(compute_dice(*pair))


def _sample(folder: Path) -> Task:
    """The sample CT with three painted slices of one bone; made once."""
    case = folder / "phantom"
    if not case.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_case(make_sample_ct(), case)
    truth = case / "segmentations" / f"{BONE}.nii.gz"
    labels, grid = load_labelmap(truth)
    painted = np.zeros(grid.shape, dtype=np.uint8)
    for prompt in mask_prompts(labels > 0, grid).prompts:
        painted[:, :, prompt.index] = prompt.mask
    prompts = folder / "prompts.nii.gz"
    save_labelmap(painted, grid, prompts, like=truth)
    return Task(case / "ct.nii.gz", prompts, truth, 1, BONE)


def _own(ct: Path, prompts: Path, truth: Path | None, output: Path) -> Task:
    """A user's files; a volume that is no NIfTI file is uploaded as one, as Slicer does."""
    volume = load_volume(ct)
    values = np.unique(load_labelmap(prompts)[0])
    if not values.any():
        raise BadInput(f"{prompts} is empty: paint at least one slice")
    if not ct.name.endswith((".nii", ".nii.gz")):
        ct = output / "volume.nii.gz"
        nib.save(nib.Nifti1Image(volume.grey, volume.grid.affine, dtype=volume.grey.dtype), ct)
    label = int(values[values > 0][0])
    return Task(ct, prompts, truth, label, f"object {label}")


@contextmanager
def _server(output: Path, model: str, seconds: dict[str, float]) -> Iterator[str]:
    """The real server on a free port of the loopback, stopped at the end whatever happens."""
    studies = output / "studies"
    studies.mkdir(exist_ok=True)
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    log = output / "server.log"
    command = server_command(str(studies.resolve()), port, {"model": model})
    with log.open("w", encoding="utf-8") as stream:
        server = subprocess.Popen(
            command, env=server_environment(), stdout=stream, stderr=subprocess.STDOUT, cwd=output
        )
    try:
        with _stage(seconds, "start server"):
            _wait_for(server, url, log)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(server: subprocess.Popen, url: str, log: Path) -> None:
    give_up = time.monotonic() + START_LIMIT
    while time.monotonic() < give_up:
        if server.poll() is not None:
            raise Unavailable(f"the server stopped while starting, its log is {log}")
        try:
            if requests.get(f"{url}/info/", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise Unavailable(f"the server did not answer within {START_LIMIT:.0f} s, its log is {log}")


def _ask(url: str, task: Task, output: Path, seconds: dict[str, float]) -> tuple[Path, dict]:
    """Upload the volume, then send the painted slices: the two requests Slicer makes."""
    client = MONAILabelClient(url, tmpdir=str(output))
    params = {
        "label_info": [{"name": task.name, "id": task.label}],
        "selected_label_name": task.name,
        "roi": [],
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        "result_compress": False,
    }
    try:
        with _stage(seconds, "upload"):
            session = client.create_session(str(task.ct))["session_id"]
        with _stage(seconds, "segment (request)"):
            answer, said = client.infer(
                MODEL, "", params, label_in=str(task.prompts), session_id=session
            )
    except MONAILabelClientException as error:
        raise BadInput(f"the server refused: {error.msg}") from error
    return Path(answer), said


def _planes(found: Found, painted: list[int]) -> list[list[View]]:
    """Painted axial slices and two that were not above, two of either other plane below."""
    between = [t for t in cuts(found, Axis.AXIAL, 0.2, 0.4, 0.6, 0.8) if t not in painted]
    shown = sorted({*painted, *between[:1], *between[-1:]})
    return [
        [View(Axis.AXIAL, t) for t in shown],
        [View(a, t) for a in (Axis.CORONAL, Axis.SAGITTAL) for t in cuts(found, a, 1 / 3, 2 / 3)],
    ]


@contextmanager
def _stage(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 2)


def _say(params: dict, seconds: dict, dice: float | None, written: list[Path]) -> None:
    for warning in params["warnings"]:
        print(f"WARNING: {warning}")
    checkpoint = params["checkpoint"]
    print(f"checkpoint {checkpoint['name']} (sha256 {checkpoint['sha256'][:12]}…)")
    for name, value in {
        **seconds,
        **{f"  server: {k}": v for k, v in params["seconds"].items()},
    }.items():
        print(f"{name:24s}{value:8.2f} s")
    if dice is None:
        print("Dice                    not known (no --truth)")
    elif checkpoint["trained"]:
        print(f"Dice                    {dice:8.3f}")
    else:
        print(f"Dice                    {dice:8.3f}   MEANS NOTHING: the network is untrained")
    for path in written:
        print(f"wrote {path}")

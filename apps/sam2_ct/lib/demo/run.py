"""From three painted slices to a bone, through the real server.

Makes a sample CT (or takes yours), starts the MONAI Label server with this app on the loopback,
sends the painted slices as Slicer's Scribbles panel does, and writes what comes back. On the sample
it then goes on as an annotator would: paints the slice that the answer suggests, and asks again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monailabel.client.client import MONAILabelClient, MONAILabelClientException
from numpy.typing import NDArray

from lib.demo.server import running_server
from lib.errors import BadInput
from lib.evaluation.metrics import overlap
from lib.files import write_json
from lib.geometry import Axis, Grid
from lib.pictures.figure import Picture, write_png
from lib.pictures.planes import Found, Marked, View, cuts
from lib.prompts.labelmap import from_labelmap
from lib.prompts.simulated import mask_prompts
from lib.sample.ct import make_sample_ct, write_case
from lib.transforms.load import load_labelmap, load_volume
from lib.transforms.save import save_labelmap
from lib.transforms.volume import Volume
from lib.transforms.window import parse_window
from lib.transforms.windowed import Windowed

MODEL = "sam2_ct_masks"
BONE = "hip_left"
CORRECTIONS = 3


@dataclass(frozen=True)
class Task:
    """What is sent: a CT, a label map of painted slices, and the truth where it is known.

    Attributes:
        corrections: slices more that are painted from the truth, each where the last answer
            suggests it, as an annotator would go on.
    """

    ct: Path
    prompts: Path
    truth: Path | None
    label: int
    name: str
    corrections: int = 0


@dataclass(frozen=True)
class Round:
    """One request and what came of it.

    Attributes:
        slices: axial, painted so far.
        mask: (X, Y, Z) bool.
        said: the report of the server.
        seconds: the annotator waited.
        dice: None where the truth is not known.
    """

    slices: list[int]
    mask: NDArray[np.bool_]
    said: dict[str, Any]
    seconds: float
    dice: float | None


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
        task = _own(ct, prompts, truth, output) if ct and prompts else _sample(output)
    volume = load_volume(task.ct)
    known = None if task.truth is None else load_labelmap(task.truth)[0] > 0
    slices = _painted_slices(task, volume.grid)
    print(f"{task.name} of {task.ct}")
    starting = time.perf_counter()
    with running_server(output, model) as url:
        seconds["start server"] = round(time.perf_counter() - starting, 2)
        client = MONAILabelClient(url, tmpdir=str(output))
        with _stage(seconds, "upload"), _refusals():
            session = client.create_session(str(task.ct))["session_id"]
        rounds = [_ask(client, session, task, slices, volume.grid, known)]
        while known is not None and len(rounds) <= task.corrections:
            index = _suggested(rounds[-1], known)
            if index is None:
                break
            _paint(task, index, known)
            slices = sorted({*slices, index})
            rounds.append(_ask(client, session, task, slices, volume.grid, known))
    last = rounds[-1]
    with _stage(seconds, "write"):
        segmentation = output / "segmentation.nii.gz"
        save_labelmap(last.mask, volume.grid, segmentation, like=task.ct)
        picture = output / "overlay.png"
        write_png(_picture(task, volume, last, known), picture)
    report = output / "report.json"
    told = [{"slices": r.slices, "dice": r.dice, "seconds": r.seconds} for r in rounds]
    write_json(report, {**last.said, "demo": {"seconds": seconds, "rounds": told}})
    _say(rounds[0], seconds, last, [segmentation, picture, report])


def _sample(output: Path) -> Task:
    """The sample CT, made once, with three painted slices of one bone."""
    case = output / "sample" / "phantom"
    if not case.exists():
        case.parent.mkdir(parents=True, exist_ok=True)
        write_case(make_sample_ct(), case)
    truth = case / "segmentations" / f"{BONE}.nii.gz"
    labels, grid = load_labelmap(truth)
    painted = np.zeros(grid.shape, dtype=np.uint8)
    for prompt in mask_prompts(labels > 0, grid).prompts:
        painted[:, :, prompt.index] = prompt.mask
    prompts = output / "painted.nii.gz"
    save_labelmap(painted, grid, prompts, like=case / "ct.nii.gz")
    return Task(case / "ct.nii.gz", prompts, truth, 1, BONE, CORRECTIONS)


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


def _ask(
    client: MONAILabelClient,
    session: str,
    task: Task,
    slices: list[int],
    grid: Grid,
    known: NDArray[np.bool_] | None,
) -> Round:
    """Send the painted slices, as Slicer's Scribbles panel does; read and tell what comes back."""
    params = {
        "label_info": [{"name": task.name, "id": task.label}],
        "selected_label_name": task.name,
        "roi": [],
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        "result_compress": False,
    }
    start = time.perf_counter()
    with _refusals():
        answer, said = client.infer(
            MODEL, "", params, label_in=str(task.prompts), session_id=session
        )
    seconds = round(time.perf_counter() - start, 2)
    labels, result_grid = load_labelmap(Path(answer))
    Path(answer).unlink()
    if not result_grid.same_as(grid):
        raise RuntimeError("the server answered on another grid than the CT's")
    mask = labels > 0
    dice = None if known is None else overlap(mask, known)[0]
    found = Round(slices, mask, said, seconds, dice)
    _say_round(found)
    return found


def _painted_slices(task: Task, grid: Grid) -> list[int]:
    painted, prompt_grid = load_labelmap(task.prompts)
    if not prompt_grid.same_as(grid):
        raise BadInput(f"{task.prompts} lies on another grid than {task.ct}: resample it first")
    return [mask.index for mask in from_labelmap(painted, grid, object_ids=[task.label]).prompts]


def _suggested(last: Round, known: NDArray[np.bool_]) -> int | None:
    """The best suggested slice that the bone is on."""
    suggested = (s["index"] for s in last.said["next_slices"])
    return next((index for index in suggested if known[:, :, index].any()), None)


def _paint(task: Task, index: int, known: NDArray[np.bool_]) -> None:
    """Paint the truth on a slice."""
    painted, grid = load_labelmap(task.prompts)
    painted[:, :, index] = known[:, :, index]
    save_labelmap(painted, grid, task.prompts, like=task.ct)


def _picture(task: Task, volume: Volume, last: Round, known: NDArray[np.bool_] | None) -> Picture:
    settings = last.said["settings"]
    name = last.said["checkpoint"]["name"]
    line = f"{task.name}, {name} checkpoint, policy {settings['policy']}"
    line += "" if last.dice is None else f", Dice {last.dice:.3f}"
    shown = Windowed(volume.upright(), parse_window(settings["window"]))
    found = Found(last.mask, volume.grid, [1])
    marked = Marked({Axis.AXIAL: last.slices})
    return Picture(shown, found, _planes(found, last.slices), marked, {1: task.name}, known, line)


def _planes(found: Found, painted: list[int]) -> list[list[View]]:
    """Painted axial slices and two that were not, four a row; two of either other plane below."""
    between = [t for t in cuts(found, Axis.AXIAL, 0.2, 0.4, 0.6, 0.8) if t not in painted]
    shown = sorted({*painted, *between[:1], *between[-1:]})
    return [
        *([View(Axis.AXIAL, t) for t in shown[n : n + 4]] for n in range(0, len(shown), 4)),
        [View(a, t) for a in (Axis.CORONAL, Axis.SAGITTAL) for t in cuts(found, a, 1 / 3, 2 / 3)],
    ]


@contextmanager
def _refusals() -> Iterator[None]:
    """Within, what the server refuses is bad input of the one who asked for the demo."""
    try:
        yield
    except MONAILabelClientException as error:
        raise BadInput(f"the server refused: {error.msg}") from error


@contextmanager
def _stage(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 2)


def _say_round(one: Round) -> None:
    slices = ", ".join(map(str, one.slices))
    dice = "" if one.dice is None else f"Dice {one.dice:.3f}, "
    print(f"painted axial slices {slices}: {dice}{one.seconds:.1f} s")
    for warning in one.said["warnings"]:
        print(f"WARNING: {warning}")


def _say(first: Round, seconds: dict, last: Round, written: list[Path]) -> None:
    checkpoint = last.said["checkpoint"]
    print(f"checkpoint {checkpoint['name']} (sha256 {checkpoint['sha256'][:12]}…)")
    for name, value in {
        **seconds,
        "first request": first.seconds,
        **{f"  server: {k}": v for k, v in first.said["seconds"].items()},
    }.items():
        print(f"{name:24s}{value:8.2f} s")
    if last.dice is None:
        print("Dice                    not known (no --truth)")
    elif checkpoint["trained"]:
        print(f"Dice                    {last.dice:8.3f}")
    else:
        print(f"Dice                    {last.dice:8.3f}   MEANS NOTHING: the network is untrained")
    for path in written:
        print(f"wrote {path}")

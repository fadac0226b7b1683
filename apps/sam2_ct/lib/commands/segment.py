"""`sam2-ct segment`: one volume and some prompts in, one label map out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lib.errors import BadInput
from lib.files import write_json

if TYPE_CHECKING:
    from lib.configs.settings import Settings
    from lib.geometry import Grid
    from lib.pipeline import Outcome
    from lib.prompts.types import PromptSet

console = Console(stderr=True)


def segment(
    output: Annotated[Path, typer.Option("-o", "--output", help=".nii.gz, .nii or .nrrd")],
    ct: Annotated[
        Path | None, typer.Argument(help="NIfTI, NRRD or a folder with one DICOM series")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="label map on the CT's grid: every non-empty slice is a mask prompt"),
    ] = None,
    points: Annotated[Path | None, typer.Option(help="JSON with points and boxes")] = None,
    axis: Annotated[str, typer.Option(help="axial, coronal or sagittal")] = "axial",
    propagation: Annotated[
        str, typer.Option(help="single, forward-backward or three-axis")
    ] = "single",
    policy: Annotated[
        str, typer.Option(help="baseline, sps, is, is+sps, sliced2, stride4, gate1, key=value,…")
    ] = "is+sps",
    window: Annotated[
        str,
        typer.Option(help="bone, soft-tissue, lung, brain, mr, none, clahe, clahe+bone or L,W"),
    ] = "bone",
    carry: Annotated[bool, typer.Option(help="backward pass sees the forward memories")] = False,
    merge: Annotated[str, typer.Option(help="forward-backward: mean or distance")] = "mean",
    end_of_object: Annotated[
        int, typer.Option(help="empty slices after which a pass ends, 0 never")
    ] = 3,
    overlap: Annotated[
        bool, typer.Option(help="objects may share voxels: one file each, OUT.object<N>.nii.gz")
    ] = False,
    model: Annotated[
        str, typer.Option(help="auto, builtin, tiny, small, base_plus, large")
    ] = "auto",
    checkpoint: Annotated[Path | None, typer.Option(help="your own checkpoint file")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    report: Annotated[Path | None, typer.Option(help="where to write the report (JSON)")] = None,
    replay_log: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            metavar="LOG",
            help="reproduce a result of the server from its log; the log has prompts and options",
        ),
    ] = None,
) -> None:
    """Segment the marked objects of a CT through the whole volume."""
    from lib.configs.settings import Settings
    from lib.transforms.save import check_output

    if replay_log is not None:
        check_output(output)
        if prompts is not None or points is not None:
            raise BadInput("the log has its prompts: leave --prompts and --points out")
        return _replay(replay_log, ct, output, checkpoint, device, report)
    if ct is None:
        raise BadInput("no volume: name a NIfTI or NRRD file, or a folder with one DICOM series")
    settings = Settings.parse(
        {
            "axis": axis,
            "propagation": propagation,
            "policy": policy,
            "window": window,
            "carry": carry,
            "merge": merge,
            "end_of_object": end_of_object,
            "overlap": overlap,
        }
    )
    check_output(output)
    if prompts is None and points is None:
        raise BadInput("no prompt: give --prompts LABELMAP or --points FILE.json")

    # torch and the engine load here, after everything cheap has been checked
    from lib.models.build import load_predictor
    from lib.pipeline import Pipeline

    start = time.perf_counter()
    loaded = load_predictor(model, checkpoint, device)
    for warning in loaded.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    pipeline = Pipeline(loaded)
    model_loaded = time.perf_counter()
    case = pipeline.open(ct, settings)
    for warning in case.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    marked = read_prompts(case.source_grid, settings, prompts, points)
    opened = time.perf_counter()
    console.print(
        f"segmenting {len(marked.object_ids)} object(s) from {len(marked.prompts)} prompts"
    )
    outcome = _with_progress(
        lambda progress: pipeline.segment(case, marked, settings, progress=progress)
    )
    finished = time.perf_counter()
    written = _write(outcome, marked, ct, output)
    outcome.report["seconds"] = {
        "model": round(model_loaded - start, 3),
        "load": round(opened - model_loaded, 3),
        **outcome.report["seconds"],
        "write": round(time.perf_counter() - finished, 3),
    }
    outcome.report["written"] = [str(p) for p in written]
    if report is not None:
        write_json(report, outcome.report)
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)


def read_prompts(
    grid: Grid, settings: Settings, labelmap: Path | None, points: Path | None
) -> PromptSet:
    """Prompts of both files, moved to the CT's grid.

    Raises:
        BadInput: a file that cannot be used, or that lies on another grid.
    """
    from lib.prompts.files import read_points
    from lib.prompts.labelmap import from_labelmap
    from lib.prompts.types import PromptSet
    from lib.transforms.load import load_labelmap

    marked = []
    if labelmap is not None:
        labels, its_grid = load_labelmap(labelmap)
        # a flip, permutation or crop of the CT's grid (Slicer's .seg.nrrd) moves over exactly
        marked += from_labelmap(labels, its_grid, settings.axis).on(grid).prompts
    if points is not None:
        marked += read_points(points, grid).prompts
    return PromptSet(grid, tuple(marked))


def _replay(
    log: Path,
    ct: Path | None,
    output: Path,
    checkpoint: Path | None,
    device: str,
    report: Path | None,
) -> None:
    from lib.replay import replay
    from lib.transforms.save import save_labelmap

    case, outcome = replay(log, ct, checkpoint, device, _with_progress)
    save_labelmap(outcome.labels, outcome.grid, output, like=case.path)
    if report is not None:
        write_json(report, outcome.report)
    if outcome.report["replay"]["identical"]:
        console.print(f"wrote {output}, voxel for voxel the logged result", soft_wrap=True)
    else:
        console.print(
            f"warning: wrote {output}, but it differs from the logged result: "
            "another volume, or other versions (see the log)",
            style="yellow",
            soft_wrap=True,
        )


def _with_progress(run: Callable[[Callable[[int, int], None]], Outcome]) -> Outcome:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("propagating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("slices"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("propagating", total=None)
        return run(lambda done, of: bar.update(task, completed=done, total=of))


def _write(outcome: Outcome, prompts: PromptSet, ct: Path, output: Path) -> list[Path]:
    from lib.transforms.save import save_labelmap

    if outcome.labels.ndim == 3:
        save_labelmap(outcome.labels, outcome.grid, output, like=ct)
        return [output]
    stem, ending = output.name.split(".", 1)
    paths = [output.with_name(f"{stem}.object{i}.{ending}") for i in prompts.object_ids]
    for labels, path in zip(outcome.labels, paths, strict=True):
        save_labelmap(labels, outcome.grid, path, like=ct)
    return paths

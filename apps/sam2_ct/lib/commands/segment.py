"""`sam2-ct segment`: one volume and some prompts in, one label map out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lib.commands.options import with_options
from lib.configs.option import Where, read_options
from lib.configs.options import ServerOptions, Settings
from lib.errors import BadInput
from lib.files import DICOM_SEG, check_output, check_picture, check_places, write_json

if TYPE_CHECKING:
    import numpy as np

    from lib.dicom_seg.segments import Segment
    from lib.engine.pipeline import Case, Write
    from lib.engine.report import Outcome
    from lib.geometry import Axis, Grid
    from lib.prompts.types import PromptSet

console = Console(stderr=True)


@with_options(Where.COMMAND)
def segment(
    context: typer.Context,
    output: Annotated[
        Path, typer.Option("-o", "--output", help=".nii.gz, .nii, .nrrd, or .dcm: DICOM SEG")
    ],
    ct: Annotated[
        Path | None, typer.Argument(help="NIfTI, NRRD or a folder with one DICOM series")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="label map on the CT's grid: every non-empty slice is a mask prompt"),
    ] = None,
    points: Annotated[Path | None, typer.Option(help="JSON with points and boxes")] = None,
    report: Annotated[Path | None, typer.Option(help="where to write the report (JSON)")] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="OUT.png", help="where to draw the result in three planes"),
    ] = None,
    replay_log: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            metavar="LOG",
            help="reproduce a result of the server from its log; the log has prompts and options",
        ),
    ] = None,
    **options: object,
) -> None:
    """Segment the marked objects of a CT through the whole volume."""
    _check_output(output, ct)
    if picture is not None:
        check_picture(picture)
    check_places([output, report, picture], [ct, prompts, points, replay_log])
    chosen = read_options(ServerOptions, options)
    settings = Settings.parse(options)
    if replay_log is not None:
        if prompts is not None or points is not None:
            raise BadInput("the log has its prompts: leave --prompts and --points out")
        return _replay(replay_log, ct, output, chosen, report, picture)
    if ct is None:
        raise BadInput("no volume: name a NIfTI or NRRD file, or a folder with one DICOM series")
    if prompts is None and points is None:
        raise BadInput("no prompt: give --prompts LABELMAP or --points FILE.json")

    from lib.dicom_seg.segments import named, of_slicer

    names = {}
    if options.get("labels"):
        if output.suffix.lower() != DICOM_SEG:
            raise BadInput("--labels names segments of a DICOM SEG: give -o OUT.dcm, too")
        names = named({value: name for name, value in chosen.labels.items()})

    # torch and the engine load here, after everything cheap has been checked
    from lib.engine.clock import Clock

    clock = Clock(began=context.obj)
    clock.rest("start")
    with clock("start"):
        from lib.engine.pipeline import Pipeline
        from lib.engine.recipe import Recipe
        from lib.models.build import load_predictor
    with clock("model"):
        loaded = load_predictor(chosen.model, chosen.checkpoint, chosen.device, chosen.precision)
    _warn(loaded.warnings)
    pipeline = Pipeline(loaded)
    case = pipeline.open(ct, settings, clock)
    _warn(case.warnings)
    with clock("prompts"):
        marked, axis = read_prompts(case.source_grid, settings.axis, prompts, points)
    names = names or of_slicer(prompts)
    console.print(
        f"segmenting {len(marked.object_ids)} object(s) from {len(marked.prompts)} prompts "
        f"along the {axis.value} axis"
    )
    found = f"the axis is {axis.value}, on which the prompts lie"
    decided = (found,) if settings.axis is None else ()
    outcome = _with_progress(
        lambda progress: pipeline.carry_out(
            case,
            Recipe(marked, replace(settings, axis=axis), decided=decided),
            progress,
            clock=clock,
            write=_writer(marked.object_ids, ct, output, names),
        )
    )
    outcome = _with_picture(picture, case, outcome, marked, names)
    _write_report(outcome, report)
    for path in outcome.report.written:
        console.print(f"wrote {path}", soft_wrap=True)


def read_prompts(
    grid: Grid, asked: Axis | None, labelmap: Path | None, points: Path | None
) -> tuple[PromptSet, Axis]:
    """Prompts of both files, moved to the CT's grid, and the axis they lie on.

    Args:
        grid: of the CT.
        asked: the axis to use; None: that of the painted slices, else of the points.
        labelmap: file with painted slices.
        points: file with points and boxes.

    Raises:
        BadInput: a file that cannot be used, or that lies on another grid.
    """
    from lib.prompts.axis import painted_axis
    from lib.prompts.boxes import where
    from lib.prompts.files import read_points
    from lib.prompts.labelmap import from_labelmap
    from lib.prompts.types import PromptSet
    from lib.transforms.load import load_labelmap

    marked, axis = [], asked
    if labelmap is not None:
        labels, its_grid = load_labelmap(labelmap)
        axis = painted_axis(asked, where(lambda v: v != 0, labels), its_grid)
        # a flip, permutation or crop of the CT's grid (Slicer's .seg.nrrd) moves over exactly
        marked += from_labelmap(labels, its_grid, axis).on(grid).prompts
    if points is not None:
        marked += read_points(points, grid).prompts
    prompts = PromptSet(grid, tuple(marked))
    return prompts, axis or prompts.prompts[0].axis


def _replay(
    log: Path,
    ct: Path | None,
    output: Path,
    chosen: ServerOptions,
    report: Path | None,
    picture: Path | None,
) -> None:
    from lib.dicom_seg.segments import named
    from lib.engine.log import read_log
    from lib.engine.replay import replay

    logged = read_log(log)
    check_places([output, report, picture], [logged.volume])
    names = named({value: name for name, value in logged.label_names.items()})
    case, outcome = replay(
        log,
        ct,
        chosen.checkpoint,
        chosen.device,
        _with_progress,
        lambda case, recipe: _writer(recipe.prompts.object_ids, case.path, output, names),
    )
    outcome = _with_picture(picture, case, outcome, logged.recipe.prompts, names)
    _write_report(outcome, report)
    if outcome.report.replay and outcome.report.replay.identical:
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


def _writer(ids: Sequence[int], ct: Path, output: Path, names: Mapping[int, Segment]) -> Write:
    """Writes labels to `output`; of objects that share voxels, a file for each but in DICOM."""
    from lib.dicom_seg.segments import masks_of
    from lib.transforms.save import save_labelmap

    def write(labels: np.ndarray, grid: Grid) -> list[Path]:
        shared = labels.ndim == 4
        if output.suffix.lower() == DICOM_SEG:
            from lib.dicom_seg.write import save_dicom_seg

            masks = dict(zip(ids, labels, strict=True)) if shared else masks_of(labels)
            save_dicom_seg(masks, grid, output, ct, names)
            return [output]
        if not shared:
            save_labelmap(labels, grid, output, like=ct)
            return [output]
        stem, ending = output.name.split(".", 1)
        paths = [output.with_name(f"{stem}.object{i}.{ending}") for i in ids]
        for its, path in zip(labels, paths, strict=True):
            save_labelmap(its, grid, path, like=ct)
        return paths

    return write


def _with_picture(
    picture: Path | None,
    case: Case,
    outcome: Outcome,
    prompts: PromptSet,
    names: Mapping[int, Segment],
) -> Outcome:
    """Draw the result, if that was asked for; the report names the picture then.

    It shows what the report suggests, so it is drawn after that was made.
    """
    if picture is None:
        return outcome
    from lib.engine.clock import Clock
    from lib.pictures.result import write_picture

    told = {value: segment.name for value, segment in names.items()}
    clock = Clock()
    with clock("picture"):
        write_picture(picture, case, outcome, prompts, told)
    said = outcome.report
    seconds = {**said.seconds, **clock.seconds}
    report = replace(said, written=(*said.written, picture), seconds=seconds)
    return replace(outcome, report=report)


def _check_output(output: Path, ct: Path | None) -> None:
    """As `check_output`; a DICOM SEG is written for a DICOM series only."""
    if output.suffix.lower() != DICOM_SEG:
        return check_output(output)
    if ct is not None and not ct.is_dir():
        raise BadInput(
            f"{output} would be a DICOM SEG, which refers to the images of a series: give a folder "
            "with one as CT, or choose .nii.gz"
        )
    if ct is not None and output.exists() and output.resolve().parent == ct.resolve():
        from lib.transforms.dicom import series_files

        check_places([output], series_files(ct)[0])


def _write_report(outcome: Outcome, path: Path | None) -> None:
    from lib.engine.report import to_json

    if path is not None:
        write_json(path, to_json(outcome.report))


def _warn(sentences: Sequence[str]) -> None:
    for warning in sentences:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True)

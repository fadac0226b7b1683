"""`sam2-ct evaluate`: the paper's tables from a dataset."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lib.errors import BadInput, Cancelled
from lib.lean import load_monai

# \b keeps click from joining the lines of the examples
_HELP = """The paper's tables from a dataset: tables and figures, measured beside published.

\b
    sam2-ct evaluate split  --dataset ROOT --per-class N --seed S -o SPLIT.json
    sam2-ct evaluate run    --dataset ROOT --split SPLIT.json --table all -o RESULTS/
    sam2-ct evaluate report RESULTS/

Exit codes: 0 done, 2 bad input (one line on stderr), 130 interrupted.
"""
app = typer.Typer(add_completion=False, help=_HELP, rich_markup_mode=None, no_args_is_help=True)

Dataset = Annotated[Path, typer.Option("--dataset", help="Folder in TotalSegmentator's layout.")]


@app.command("split")
def split_command(
    root: Dataset,
    per_class: Annotated[int, typer.Option("--per-class", help="Samples of each class.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="The manifest to write (JSON).")],
    seed: Annotated[int, typer.Option("--seed")] = 0,
    classes: Annotated[
        str, typer.Option("--classes", help="`bones`, or structures by name: liver,spleen.")
    ] = "bones",
    exclude: Annotated[
        Path | None, typer.Option("--exclude", help="Samples never to draw, one a line.")
    ] = None,
) -> None:
    """Draw a balanced selection of samples once, with a checksum of each mask."""
    load_monai()
    from lib.evaluation import dataset
    from lib.evaluation import split as splits

    excluded = dataset.read_exclusions(exclude) if exclude else frozenset()
    kinds = dataset.classes(classes)
    with Console(stderr=True).status("reading masks") as status:
        drawn = splits.draw(
            root, kinds, per_class, seed, exclusions=excluded, progress=status.update
        )
    new = splits.write(drawn, out)
    print(f"{out}: {len(drawn.samples)} samples{'' if new else ', unchanged'}")
    print(f"checksum {drawn.checksum}")
    for kind, count in drawn.short.items():
        print(f"warning: {kind} has {count} of {per_class} samples", file=sys.stderr)


@app.command("run")
def run_command(
    root: Dataset,
    split_file: Annotated[Path, typer.Option("--split", help="Manifest made by `split`.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder of results; it resumes.")],
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            help="1, 5, 6, 7, interactive, challenge, all of these; annotator, extent, "
            "guidance; repeatable.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML with configurations of your own.")
    ] = None,
    model: Annotated[str, typer.Option("--model")] = "auto",
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint")] = None,
    device: Annotated[str, typer.Option("--device")] = "auto",
    window: Annotated[
        str, typer.Option("--window", help="Where a row names none; mr for MR.")
    ] = "bone",
    ray: Annotated[
        str | None, typer.Option("--ray", help="Address of a Ray cluster, or local.")
    ] = None,
    cache_mb: Annotated[
        int,
        typer.Option(min=1, help="Encoded slices held, a process; SAM 2 needs 17 a slice."),
    ] = 4096,
) -> None:
    """Measure every row of the tables on every sample; resumes where it was stopped."""
    if not table and config is None:
        raise BadInput(
            "nothing to measure: give --table 1|5|6|7|interactive|challenge|all|annotator|extent|"
            "guidance or --config"
        )
    load_monai()
    from lib.evaluation import split as splits

    drawn = splits.read(split_file)
    splits.verify(drawn, root)

    # MONAI and torch speak of their own future; here stderr is for the person who runs this
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="monai|torch|nibabel|sam2")
    # torch and the engine load here, after everything cheap has been checked
    from lib.evaluation import configurations as rows_module
    from lib.evaluation import runner
    from lib.evaluation.evaluator import Equipment
    from lib.evaluation.store import ResultStore
    from lib.models.build import load_predictor
    from lib.models.registry import BUILTIN
    from lib.transforms.window import parse_window

    base = replace(rows_module.BASE, window=parse_window(window))
    for name in table or []:
        rows_module.rows_of(name, "any", base)
    loaded = load_predictor(model, checkpoint, device)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    rows = [r for name in table or [] for r in rows_module.rows_of(name, loaded.name, base)]
    if config is not None:
        rows += rows_module.rows_from_file(config, loaded.name, base)
    shown = {r.configuration.key for r in rows if r.table in ("1", "own")}
    # workers take the very same weights, without choosing again
    name = BUILTIN if loaded.name == "untrained" else loaded.name
    equipment = Equipment(
        root.resolve(),
        model if checkpoint else name,
        checkpoint and checkpoint.resolve(),
        device,
        frozenset(shown),
        cache_mb << 20,
    )
    store = ResultStore(out)
    job = runner.Job(root, drawn, split_file, rows, loaded, equipment, base, ray)
    try:
        failed = runner.run(job, store)
    except KeyboardInterrupt:
        raise Cancelled(
            f"what is measured stays in {out}, the same command goes on from there"
        ) from None
    for reason in dict.fromkeys(store.run["skipped"].values()):
        print(f"left out: {reason}", file=sys.stderr)
    if failed:
        sample, reason = next(iter(failed.items()))
        raise BadInput(f"{len(failed)} samples could not be measured, such as {sample}: {reason}")
    print(f"{out}: {len(store.done())} results; next: sam2-ct evaluate report {out}")


@app.command("report")
def report_command(
    results: Annotated[Path, typer.Argument(help="Folder made by `run`, finished or not.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: RESULTS/report.")
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option("--exclude", help="Known bad samples, one a line: also report without them."),
    ] = None,
) -> None:
    """All tables and figures beside the paper's: one HTML file, Markdown, CSV and PNG."""
    load_monai()
    from lib.evaluation import dataset

    excluded = dataset.read_exclusions(exclude) if exclude else None

    from lib.evaluation.report import write_report

    page = write_report(results, out or results / "report", excluded)
    print(page, page.with_suffix(".md"), sep="\n")

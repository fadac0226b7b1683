"""From a folder of results to a report: Markdown, HTML, CSV, figures, the contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from lib.errors import BadInput
from lib.evaluation import annotator, contact, figures, layout, repeat, tables
from lib.evaluation.configurations import ANNOTATOR, paper
from lib.evaluation.dataset import is_excluded
from lib.evaluation.document import (
    Commands,
    Document,
    Line,
    Picture,
    Span,
    code,
    emphasis,
    strong,
)
from lib.evaluation.frames import as_frame
from lib.evaluation.html import to_html
from lib.evaluation.markdown import to_markdown
from lib.evaluation.store import ResultStore
from lib.files import write_whole

_METRICS: Line = (
    "Dice and IoU over voxels. HD is the largest distance between the two voxel sets, as the paper "
    "writes it (its unit is not given, so mm and voxels). HD95 and NSD (tolerance 2 mm) are "
    "between surfaces. An empty prediction scores 0 and the diagonal of the crop as its distance. "
    "“Dice unpainted” leaves out the slices the annotator painted, which come back as painted. "
    "Values are mean ± standard deviation over samples; intervals are 95 %, by resampling cases; "
    "– is what was not measured. Full definitions: ",
    code("lib/evaluation/metrics.py"),
    ", ",
    code("lib/evaluation/statistics.py"),
    ".",
)


#: Below this the report says that intervals and tests are no evidence.
FEW_CASES = 10


def write_report(folder: Path, out: Path, exclusions: frozenset[str] | None = None) -> Path:
    """Write `report.html`, `report.md`, the figures and tables that they show, and the CSV.

    Args:
        folder: results of a run, finished or not.
        out: where the report goes.
        exclusions: samples (or cases) known to be bad: every table also without them.

    Returns:
        The HTML file, which holds everything; the Markdown beside it has the same name.

    Raises:
        BadInput: no results, or the folder cannot be written to.
    """
    store = ResultStore(folder)
    run = store.run
    frame = as_frame(store.records())
    if not len(frame):
        raise BadInput(f"{folder} holds no result yet: run `evaluate.py run` again, it resumes")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot write to {out}: {error.strerror or error}") from error

    page = Document("Evaluation")
    _which_checkpoint(page, run, frame)
    _how_much(page, run, frame)
    page.section("How to read it")
    page.say(*_METRICS)
    _how_sure(page, frame)
    _tables(page, run, frame, out, "")
    _csv(frame.drop(columns=["components", "rounds"]), out / "samples.csv")
    if exclusions is not None:
        keep = ~frame["sample"].map(lambda s: is_excluded(s, exclusions))
        page.section("Without excluded samples")
        page.say(
            f"{frame.loc[~keep, 'sample'].nunique()} of {frame['sample'].nunique()} samples are on "
            "the exclusion list; the same tables without them."
        )
        if keep.any():
            _tables(page, run, frame[keep], out, "_without_excluded")
    # names of samples and rows are drawn as they are, also with a $ in them
    with mpl.rc_context({"text.parse_math": False}):
        _figures(page, run, frame, out)
        _contact_sheets(page, store, run, frame, out)
    page.section("Settings")
    page.add(repeat.settings(run))
    page.section("To repeat it")
    page.add(Commands(repeat.commands(run, folder)))
    page.points(repeat.circumstances(run, _devices(frame)))
    write_whole(out / "report.md", lambda p: p.write_text(to_markdown(page), encoding="utf-8"))
    path = out / "report.html"
    write_whole(path, lambda p: p.write_text(to_html(page), encoding="utf-8"))
    return path


def _which_checkpoint(page: Document, run: Mapping, frame: pd.DataFrame) -> None:
    page.say(
        "Measured with checkpoint ",
        strong(run["model"]),
        " (SHA-256 ",
        code(run["checkpoint_sha256"]),
        f"), input {run['image_size']} × {run['image_size']} pixels, "
        f"on {_devices(frame) or run['device']}.",
    )
    if not run["trained"]:
        page.say(
            strong("These weights are random."),
            " No figure of SAM 2 below means anything; the run shows that the evaluation works. "
            "The comparators need no weights and are real.",
        )
    elif not run["zero_shot"]:
        page.say(
            strong("Not the paper's setting."),
            " This is not one of Meta's SAM 2 checkpoints. The built-in one is a small network "
            "trained for trying the app out, on generated bodies: on such data it is ",
            emphasis("not"),
            " zero-shot, and its figures say nothing about the paper's. The paper's figures stand "
            "beside them for the layout of its tables only.",
        )


def _how_much(page: Document, run: Mapping, frame: pd.DataFrame) -> None:
    wanted = len(run["samples"]) * len(run["configurations"])
    line: list[str | Span] = [
        f"{len(frame)} of {wanted} results ({len(run['samples'])} samples of "
        f"{len(run['classes'])} classes, {len(run['configurations'])} configurations)."
    ]
    if len(frame) < wanted:
        line += [" ", strong("The run is not finished"), ": rows have different n."]
    if run["short"]:
        few = ", ".join(f"{k} {n}" for k, n in run["short"].items())
        line.append(f" Classes that have less than the {run['per_class']} wanted: {few}.")
    if run["excluded"]:
        listed = len(run["excluded"])
        line.append(f" The split was drawn without what its exclusion list names ({listed}).")
    page.say(*line)


def _how_sure(page: Document, frame: pd.DataFrame) -> None:
    cases = frame["case"].nunique()
    many = "1 case" if cases == 1 else f"{cases} cases"
    line: list[str | Span] = [
        f"Intervals resample {many}. Tests are Wilcoxon's signed-rank test on pairs of the "
        "same sample, corrected for the number of tests in a table (Holm)."
    ]
    if cases < FEW_CASES:
        few = strong(f"{many} {'is' if cases == 1 else 'are'} too few to decide anything")
        line += [" ", few, ": here they show the form."]
    page.say(*line)


def _tables(page: Document, run: Mapping, frame: pd.DataFrame, out: Path, suffix: str) -> None:
    for name in dict.fromkeys(r["table"] for r in run["rows"]):
        rows = [r for r in run["rows"] if r["table"] == name]
        known = paper()["tables"].get(name, {"title": "Own configurations", "note": ""})
        title = f"{known['title']}{' (without excluded)' if suffix else ''}"
        page.section(title)
        page.say(known["note"])
        if name == "7":
            data = tables.per_class(frame, rows)
            page.add(layout.per_class(data, title))
            _csv(data, out / f"table_7{suffix}.csv")
            continue
        if name == ANNOTATOR:
            data = annotator.table(frame, rows)
            page.add(*layout.annotator(data, title))
            _csv(data, out / f"table_{name}{suffix}.csv")
            continue
        data = tables.table(frame, rows, run["skipped"])
        page.add(*layout.scores(data, title, salient=name == "interactive"))
        _csv(data, out / f"table_{name}{suffix}.csv")
        reasons = dict.fromkeys(v for v in data["not_measured"] if v)
        page.points([[f"Not measured: {reason}"] for reason in reasons])
        empty = int(data["empty"].sum())
        page.say(f"Empty predictions: {empty}." if empty else "")
        by_round = tables.rounds(frame, rows)
        if len(by_round):
            page.add(layout.rounds(by_round, title))
            _csv(by_round, out / f"table_{name}_rounds{suffix}.csv")
        score = "auc_dice" if len(by_round) else "dice"
        compared = tables.comparisons(frame, rows, score)
        if len(compared):
            page.say("Paired differences, on the samples that both rows measured:")
            page.add(layout.comparisons(compared, title, score))
            _csv(compared, out / f"table_{name}_paired{suffix}.csv")
    data = tables.per_class(frame, _first_of_each(run["rows"]))
    _csv(data, out / f"per_class{suffix}.csv")


def _first_of_each(rows: Sequence[Mapping]) -> list[Mapping]:
    """Every configuration once; its label with table and experiment, which is unambiguous."""
    first: dict[str, Mapping] = {}
    for r in rows:
        label = f"{r['table']}: {r['experiment']}: {r['label']}"
        first.setdefault(r["key"], {**r, "label": label})
    return list(first.values())


def _figures(page: Document, run: Mapping, frame: pd.DataFrame, out: Path) -> None:
    made = figures.draw_all(frame, run["rows"], run["temporal_cosine"], run["model"], out)
    if not made:
        return
    page.section("Figures")
    page.add(*(Picture(out / name, caption, caption) for name, caption in made))
    _csv(figures.component_times(frame, run["model"]), out / "component_times.csv")


def _contact_sheets(
    page: Document, store: ResultStore, run: Mapping, frame: pd.DataFrame, out: Path
) -> None:
    sheets = []
    seen = set()
    for row in run["rows"]:
        if row["table"] not in ("1", "own") or row["key"] in seen:
            continue
        seen.add(row["key"])
        path = out / f"contact_{len(seen)}.png"
        shown = contact.draw(store, frame, row["key"], row["label"], path)
        if shown is not None:
            sheets.append(Picture(path, row["label"], shown))
    if sheets:
        page.section("Contact sheets: worst and median cases")
        page.add(*sheets)


def _devices(frame: pd.DataFrame) -> str:
    """Where the network ran: with Ray, not where the command was typed."""
    return ", ".join(sorted(frame["device"].dropna().unique()))


def _csv(data: pd.DataFrame, path: Path) -> None:
    write_whole(path, lambda p: data.to_csv(p, index=False, float_format="%.6g"))

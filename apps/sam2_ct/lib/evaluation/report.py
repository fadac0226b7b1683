"""From a folder of results to a report: Markdown and CSV tables, figures, the contact sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lib.errors import BadInput
from lib.evaluation import contact, figures, tables
from lib.evaluation.configurations import paper
from lib.evaluation.dataset import is_excluded
from lib.evaluation.frames import as_frame
from lib.evaluation.store import ResultStore
from lib.files import write_whole

_METRICS = """\
Dice and IoU over voxels. HD is the largest distance between the two voxel sets, as the paper
writes it (its unit is not given, so mm and voxels). HD95 and NSD (tolerance 2 mm) are between
surfaces. An empty prediction scores 0 and the diagonal of the crop as its distance. "Dice
unpainted" leaves out the slices the annotator painted, which come back as painted. Values are
mean ± standard deviation over samples; intervals are 95 %, by resampling cases. Full definitions:
`lib/evaluation/metrics.py`, `lib/evaluation/statistics.py`."""


#: Below this the report says that intervals and tests are no evidence.
FEW_CASES = 10


@dataclass
class _Page:
    """The Markdown as it grows."""

    parts: list[str] = field(default_factory=list)

    def add(self, *paragraphs: str) -> None:
        self.parts += [p for p in paragraphs if p]

    def text(self) -> str:
        return "\n\n".join(self.parts) + "\n"


def write_report(folder: Path, out: Path, exclusions: frozenset[str] | None = None) -> Path:
    """Write `report.md` and what it shows.

    Args:
        folder: results of a run, finished or not.
        out: where the report goes.
        exclusions: samples (or cases) known to be bad: every table also without them.

    Returns:
        The Markdown file.

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

    page = _Page()
    page.add("# Evaluation", *_which_checkpoint(run, frame), _how_much(run, frame))
    page.add("## How to read it", _METRICS, _how_sure(frame))
    _tables(page, run, frame, out, "")
    _csv(frame.drop(columns=["components", "rounds"]), out / "samples.csv")
    if exclusions is not None:
        keep = ~frame["sample"].map(lambda s: is_excluded(s, exclusions))
        page.add(
            "## Without excluded samples",
            f"{frame.loc[~keep, 'sample'].nunique()} of {frame['sample'].nunique()} samples are on "
            "the exclusion list; the same tables without them.",
        )
        if keep.any():
            _tables(page, run, frame[keep], out, "_without_excluded")
    _figures(page, run, frame, out)
    _contact_sheets(page, store, run, frame, out)
    page.add("## To repeat it", _repeat(run, frame))
    path = out / "report.md"
    write_whole(path, lambda p: p.write_text(page.text(), encoding="utf-8"))
    return path


def _which_checkpoint(run: Mapping, frame: pd.DataFrame) -> list[str]:
    where = _devices(frame) or run["device"]
    lines = [
        f"Measured with checkpoint **{run['model']}** (SHA-256 `{run['checkpoint_sha256']}`), "
        f"input {run['image_size']} × {run['image_size']} pixels, on {where}."
    ]
    if not run["trained"]:
        lines.append(
            "**These weights are random.** No figure of SAM 2 below means anything; the run shows "
            "that the evaluation works. The comparators need no weights and are real."
        )
    elif not run["zero_shot"]:
        lines.append(
            "**Not the paper's setting.** This is not one of Meta's SAM 2 checkpoints. The "
            "built-in one is a small network trained for trying the app out, on generated bodies: "
            "on such data it is *not* zero-shot, and its figures say nothing about the paper's. "
            "The paper's figures stand beside them for the layout of its tables only."
        )
    return lines


def _how_much(run: Mapping, frame: pd.DataFrame) -> str:
    wanted = len(run["samples"]) * len(run["configurations"])
    text = (
        f"{len(frame)} of {wanted} results ({len(run['samples'])} samples of "
        f"{len(run['classes'])} classes, {len(run['configurations'])} configurations)."
    )
    if len(frame) < wanted:
        text += " **The run is not finished**: rows have different n."
    if run["short"]:
        few = ", ".join(f"{k} {n}" for k, n in run["short"].items())
        text += f" Classes that have less than the {run['per_class']} wanted: {few}."
    if run["excluded"]:
        listed = len(run["excluded"])
        text += f" The split was drawn without the {listed} entries of its exclusion list."
    return text


def _how_sure(frame: pd.DataFrame) -> str:
    cases = frame["case"].nunique()
    text = (
        f"Intervals resample {cases} cases. Tests are Wilcoxon's signed-rank test on pairs of the "
        "same sample, corrected for the number of tests in a table (Holm)."
    )
    if cases < FEW_CASES:
        text += f" **{cases} cases are too few to decide anything**: here they show the form."
    return text


def _tables(page: _Page, run: Mapping, frame: pd.DataFrame, out: Path, suffix: str) -> None:
    for name in dict.fromkeys(r["table"] for r in run["rows"]):
        rows = [r for r in run["rows"] if r["table"] == name]
        known = paper()["tables"].get(name, {"title": "Own configurations", "note": ""})
        page.add(f"## {known['title']}{' (without excluded)' if suffix else ''}")
        page.add(known.get("note", ""))
        if name == "7":
            data = tables.per_class(frame, rows)
            page.add(tables.per_class_markdown(data))
            _csv(data, out / f"table_7{suffix}.csv")
            continue
        data = tables.table(frame, rows, run["skipped"])
        page.add(tables.table_markdown(data, salient=name == "interactive"))
        _csv(data, out / f"table_{name}{suffix}.csv")
        reasons = dict.fromkeys(v for v in data["not_measured"] if v)
        page.add("\n".join(f"- Not measured: {reason}" for reason in reasons))
        empty = int(data["empty"].sum())
        page.add(f"Empty predictions: {empty}." if empty else "")
        by_round = tables.rounds(frame, rows)
        if len(by_round):
            page.add(tables.rounds_markdown(by_round))
            _csv(by_round, out / f"table_{name}_rounds{suffix}.csv")
        score = "auc_dice" if name == "challenge" else "dice"
        compared = tables.comparisons(frame, rows, score)
        if len(compared):
            page.add(
                "Paired differences, on the samples that both rows measured:",
                tables.comparisons_markdown(compared, score),
            )
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


def _figures(page: _Page, run: Mapping, frame: pd.DataFrame, out: Path) -> None:
    made = figures.draw_all(frame, run["rows"], run["temporal_cosine"], run["model"], out)
    if not made:
        return
    page.add("## Figures")
    for name, caption in made:
        page.add(f"![{caption}]({name})", f"*{caption}.*")
    _csv(figures.component_times(frame, run["model"]), out / "component_times.csv")


def _contact_sheets(
    page: _Page, store: ResultStore, run: Mapping, frame: pd.DataFrame, out: Path
) -> None:
    shown = []
    seen = set()
    for row in run["rows"]:
        if row["table"] not in ("1", "own") or row["key"] in seen:
            continue
        seen.add(row["key"])
        name = f"contact_{len(seen)}.png"
        if contact.draw(store, frame, row["key"], row["label"], out / name):
            shown.append(f"![{row['label']}]({name})")
    if shown:
        page.add("## Contact sheets: worst and median cases", *shown)


def _devices(frame: pd.DataFrame) -> str:
    """Where the network ran: with Ray, not where the command was typed."""
    return ", ".join(sorted(frame["device"].dropna().unique()))


def _repeat(run: Mapping, frame: pd.DataFrame) -> str:
    lines = {
        "Checkpoint": f"{run['model']}, SHA-256 `{run['checkpoint_sha256']}`",
        "Split": f"{run['split_file']}, checksum `{run['split_checksum']}`, seed {run['seed']}, "
        f"{run['per_class']} a class",
        "Dataset": run["dataset"],
        "Device": f"{_devices(frame) or run['device']}; command typed on {run['processor']}"
        + (f", Ray {run['ray']}" if run["ray"] else ""),
        "Every option of every configuration": "`run.json` beside the results",
        "Settings rows leave out": ", ".join(f"{k}={v}" for k, v in run["base"].items()),
        "Versions": ", ".join(f"{k} {v}" for k, v in run["versions"].items()),
    }
    for part in run.get("earlier", []):
        text = ", ".join(f"{k} {v}" for k, v in part["versions"].items())
        lines[f"Earlier part on {part['device']}"] = text
    warnings = [f"- Warning: {w}" for w in run["warnings"]]
    return "\n".join([*(f"- {k}: {v}" for k, v in lines.items()), *warnings])


def _csv(data: pd.DataFrame, path: Path) -> None:
    write_whole(path, lambda p: data.to_csv(p, index=False, float_format="%.6g"))

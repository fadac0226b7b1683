"""Measure once more, append it to the history with the commit, and draw the page of it.

    python benchmarks/history.py [--quick]

Runs `speed.py` (the built-in network and, unless --quick, `tiny` at 512²), `memory.py`, and times
`sam2-ct --version`; appends a line to benchmarks/history.jsonl and writes docs/benchmarks.md with
its figure. On two cores it takes about ten minutes, with --quick two.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.memory import table as memory_table

HISTORY = ROOT / "benchmarks" / "history.jsonl"
PAGE = ROOT / "docs" / "benchmarks.md"
FIGURE = PAGE.with_suffix(".svg")
QUICK = "builtin 192², 60 slices"
RUNS = {
    QUICK: ["--model", "builtin", "--slices", "60", "--peer", "sam_3d"],
    "tiny 512², 24 slices": [
        *("--model", "tiny", "--image-size", "512", "--slices", "24", "--peer", "sam_3d")
    ],
}

Line = dict[str, object]
"""One line of the history: `commit`, `day`, `speed` by run, `memory`, `start_seconds`."""


def measured_by(script: str, arguments: Sequence[str] = ()) -> object:
    """The JSON that a script beside this one writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
        subprocess.run([*command, "--json", str(out)], check=True)
        return json.loads(out.read_text())


def start_up() -> float:
    """Seconds of processor time of `sam2-ct --version`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(ROOT / "apps" / "sam2_ct"), "--version"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return round(spent, 2)


def commit() -> str:
    """The commit that is measured; with a + if files differ from it."""
    said = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(said, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def runs_of(history: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines in which each run was measured, oldest first."""
    names = dict.fromkeys(name for line in history for name in line["speed"])
    return {name: [line for line in history if name in line["speed"]] for name in names}


def figure(history: Sequence[Line]) -> Figure:
    """Ratios of each run over the commits, and beside them memory and start."""
    runs = runs_of(history)
    drawn = Figure(figsize=(4 * (len(runs) + 2), 3.2), layout="constrained")
    panels = drawn.subplots(1, len(runs) + 2)
    for axes, (name, lines) in zip(panels, runs.items(), strict=False):
        found = [line["speed"][name]["ratios"] for line in lines]
        ratios = dict.fromkeys(kind for ratio in found for kind in ratio)
        curves = {kind: [ratio.get(kind) for ratio in found] for kind in ratios}
        _curves(axes, name, "times faster, ours = 1", lines, curves)
    peaks = [{f"{m['slices']} slices": m["rest"] for m in line["memory"]} for line in history]
    lengths = dict.fromkeys(length for peak in peaks for length in peak)
    curves = {length: [peak.get(length) for peak in peaks] for length in lengths}
    _curves(panels[-2], "memory", "peak without the volumes, MB", history, curves)
    starts = {"sam2-ct --version": [line["start_seconds"] for line in history]}
    _curves(panels[-1], "start", "processor s", history, starts)
    return drawn


def _curves(
    axes: Axes,
    title: str,
    unit: str,
    lines: Sequence[Line],
    curves: dict[str, list[float | None]],
) -> None:
    axes.set_title(title)
    axes.set_ylabel(unit)
    for name, values in curves.items():
        axes.plot(range(len(lines)), values, marker="o", label=name)
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(len(lines)), [line["commit"] for line in lines], rotation=60)
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)


def page(history: Sequence[Line]) -> str:
    """The page of the history, Markdown."""
    return "\n".join(_page(history)) + "\n"


def _page(history: Sequence[Line]) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "`make bench` adds a line here: how many times longer the stock SAM 2 loop and MONAI"
    yield "Label's `sam_3d` take than this project, same random weights, one process, processor"
    yield "time. `python benchmarks/speed.py --help` says what each figure is;"
    yield "`python benchmarks/speed.py --device cuda` measures a GPU."
    yield ""
    yield f"![ratios, memory and start over the commits]({FIGURE.name})"
    for name, lines in runs_of(history).items():
        found = [line["speed"][name] for line in lines]
        kinds = list(dict.fromkeys(k for f in found for k in f["ratios"]))
        yield f"\n## {name}\n"
        yield "| commit | day | precision | policy | " + " | ".join(kinds) + " | processor |"
        yield "|---|---|---|---|" + "---|" * (len(kinds) + 1)
        for line, f in zip(lines, found, strict=True):
            shown = " | ".join(f"×{f['ratios'][k]}" if k in f["ratios"] else "" for k in kinds)
            what = f"{f['precision']} | {f['policy']} | {shown} | {f['machine']['processor']}"
            yield f"| {line['commit']} | {line['day']} | {what} |"
    last = history[-1]
    yield f"\n## Memory and start, commit {last['commit']}\n"
    yield "Built-in network, `benchmarks/memory.py`:\n"
    yield memory_table(last["memory"])
    yield f"\n`sam2-ct --version`: {last['start_seconds']} s of processor time."


def draw(history: Sequence[Line]) -> None:
    """Write the page and its figure; the same history gives the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "sam2_ct"}):
        figure(history).savefig(FIGURE, metadata={"Date": None})
    PAGE.write_text(page(history))


def main() -> None:
    """Measure, append, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the built-in network alone")
    wanted = {QUICK: RUNS[QUICK]} if parser.parse_args().quick else RUNS
    line = {
        "commit": commit(),
        "day": datetime.now(timezone.utc).date().isoformat(),
        "speed": {name: measured_by("speed.py", run) for name, run in wanted.items()},
        "memory": measured_by("memory.py"),
        "start_seconds": start_up(),
    }
    with HISTORY.open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    draw([json.loads(text) for text in HISTORY.read_text().splitlines()])


if __name__ == "__main__":
    main()

"""Measure once more, append it to the history with the commit, and draw the page of it.

    python benchmarks/history.py [--quick]

Runs `speed.py` (the built-in network and, unless --quick, `tiny` at 512²), `memory.py`, and times
`sam2-ct --version`; appends a line to benchmarks/history.jsonl and writes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HISTORY = ROOT / "benchmarks" / "history.jsonl"
PAGE = ROOT / "docs" / "benchmarks.md"
RUNS = {
    "builtin 192², 60 slices": ["--model", "builtin", "--slices", "60", "--peer", "sam_3d"],
    "tiny 512², 24 slices": ["--model", "tiny", "--image-size", "512", "--slices", "24",
                             "--peer", "sam_3d"],
}  # fmt: skip
QUICK = "builtin 192², 60 slices"


def speed(arguments: list[str]) -> dict[str, object]:
    """What `speed.py` finds."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "speed.json"
        command = [sys.executable, str(ROOT / "benchmarks" / "speed.py"), *arguments]
        subprocess.run([*command, "--json", str(out)], check=True)
        return json.loads(out.read_text())


def memory() -> str:
    """The table of `memory.py`."""
    command = [sys.executable, str(ROOT / "benchmarks" / "memory.py")]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


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


def page(history: list[dict[str, object]]) -> str:
    """The page of the history, Markdown with a chart for each run that was measured."""
    return "\n".join(_page(history)) + "\n"


def _page(history: list[dict[str, object]]) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "`make bench` adds a line here: how many times longer the stock SAM 2 loop and MONAI"
    yield "Label's `sam_3d` take than this project, same random weights, one process, processor"
    yield "time. `python benchmarks/speed.py --help` says what each figure is;"
    yield "`python benchmarks/speed.py --device cuda` measures a GPU."
    for name in dict.fromkeys(n for line in history for n in line["speed"]):
        lines = [line for line in history if name in line["speed"]]
        found = [line["speed"][name] for line in lines]
        kinds = list(dict.fromkeys(k for f in found for k in f["ratios"]))
        yield f"\n## {name}\n"
        yield "```mermaid"
        yield "xychart-beta"
        yield "    x-axis [" + ", ".join(f'"{line["commit"]}"' for line in lines) + "]"
        yield '    y-axis "times faster"'
        for kind in kinds:
            values = ", ".join(str(f["ratios"].get(kind, 0)) for f in found)
            yield f'    line "{kind}" [{values}]'
        yield "```\n"
        yield "| commit | day | precision | policy | " + " | ".join(kinds) + " | processor |"
        yield "|---|---|---|---|" + "---|" * (len(kinds) + 1)
        for line, f in zip(lines, found, strict=True):
            shown = " | ".join(f"×{f['ratios'][k]}" if k in f["ratios"] else "" for k in kinds)
            what = f"{f['precision']} | {f['policy']} | {shown} | {f['machine']['processor']}"
            yield f"| {line['commit']} | {line['day']} | {what} |"
    last = history[-1]
    if "memory" in last:
        yield f"\n## Memory and start, commit {last['commit']}\n"
        yield str(last["memory"])
        yield f"\n`sam2-ct --version`: {last['start_seconds']} s of processor time."


def main() -> None:
    """Measure, append, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the built-in network alone")
    wanted = {QUICK: RUNS[QUICK]} if parser.parse_args().quick else RUNS
    line = {
        "commit": commit(),
        "day": datetime.now(timezone.utc).date().isoformat(),
        "speed": {name: speed(arguments) for name, arguments in wanted.items()},
        "memory": memory(),
        "start_seconds": start_up(),
    }
    with HISTORY.open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    history = [json.loads(text) for text in HISTORY.read_text().splitlines()]
    PAGE.write_text(page(history))


if __name__ == "__main__":
    main()

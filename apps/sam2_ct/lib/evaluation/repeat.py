"""What it takes to measure the same again: settings, commands, circumstances."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from lib.evaluation.configurations import TABLES, UNPUBLISHED
from lib.evaluation.document import Cell, Line, Style, Table, code


def settings(run: Mapping) -> Table:
    """Every configuration with the rows it measures and the options it does not share with all.

    Args:
        run: the content of `run.json`.
    """
    rows: dict[str, list[str]] = {}
    for row in run["rows"]:
        rows.setdefault(row["key"], []).append(f"{row['table']}: {row['label']}")
    body = []
    for configuration in run["configurations"]:
        own = {k: v for k, v in configuration.items() if k != "key" and v != run["base"].get(k)}
        body.append(
            [
                Cell(configuration["key"], style=Style.CODE),
                Cell("; ".join(dict.fromkeys(rows.get(configuration["key"], [])))),
                Cell(_options(own)),
            ]
        )
    header = ["Configuration", "Table: row", "Options"]
    return Table.of("Options of each configuration, beside those that rows leave out", header, body)


def commands(run: Mapping, folder: Path) -> str:
    """The command lines that measure and report the same from the same manifest.

    Names of files are without their folders, as `run.json` keeps them.
    """
    tables = dict.fromkeys(r["table"] for r in run["rows"])
    configs = dict.fromkeys(r["experiment"] for r in run["rows"] if r["table"] == "own")
    model, _, file = run["model"].partition(":")
    words = ["sam2-ct", "evaluate", "run", "--dataset", run["dataset"], "--split"]
    words.append(run["split_file"])
    for name in (*TABLES, *UNPUBLISHED):
        words += ["--table", name] if name in tables else []
    for name in configs:
        words += ["--config", name]
    words += ["--model", "builtin" if model == "untrained" else model]
    words += ["--checkpoint", file] if file else []
    words += ["--window", run["base"]["window"], "-o", folder.name]
    return f"{shlex.join(words)}\nsam2-ct evaluate report {shlex.quote(folder.name)}"


def circumstances(run: Mapping, devices: str) -> list[Line]:
    """Checkpoint, split, machine, versions, warnings.

    Args:
        run: the content of `run.json`.
        devices: where the network ran, if results say it.
    """
    ray = f", Ray {run['ray']}" if run["ray"] else ""
    lines: list[Line] = [
        ["Checkpoint: ", f"{run['model']}, SHA-256 ", code(run["checkpoint_sha256"])],
        [
            f"Split: {run['split_file']}, checksum ",
            code(run["split_checksum"]),
            f", seed {run['seed']}, {run['per_class']} a class",
        ],
        [f"Dataset: {run['dataset']}"],
        [f"Device: {devices or run['device']}; command typed on {run['processor']}{ray}"],
        ["Every option of every configuration: ", code("run.json"), " beside the results"],
        [f"Settings rows leave out: {_options(run['base'])}"],
        [f"Versions: {_versions(run)}"],
    ]
    lines += [
        [f"Earlier part on {part['device']}: {_versions(part)}"] for part in run.get("earlier", [])
    ]
    return [*lines, *([f"Warning: {warning}"] for warning in run["warnings"])]


def _options(options: Mapping[str, object]) -> str:
    return ", ".join(f"{k}={v}" for k, v in options.items())


def _versions(part: Mapping) -> str:
    return ", ".join(f"{k} {v}" for k, v in part["versions"].items())

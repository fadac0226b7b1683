"""The commands: a killed run goes on, Ray gives the same, mistakes are one line and exit code 2."""

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lib import commands, evaluation
from lib.commands import evaluate
from lib.evaluation import split as splits
from lib.evaluation.cluster import Worker
from lib.evaluation.configurations import Configuration
from lib.evaluation.evaluator import Equipment, Evaluator
from lib.evaluation.store import ResultStore
from lib.places import APP

SCRIPT = APP / "evaluate.py"


def run(*arguments):
    """`sam2-ct evaluate` in this process; returns its exit code."""
    return commands.execute(evaluate.app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def split(dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("split") / "split.json"
    assert run("split", "--dataset", dataset, "--per-class", 2, "--seed", 1, "-o", path) == 0
    return path


@pytest.fixture(scope="module")
def arguments(dataset, split, configurations, checkpoint):
    return (
        "run", "--dataset", dataset, "--split", split, "--config", configurations,
        "--model", "builtin", "--checkpoint", checkpoint, "--device", "cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def serial(arguments, tmp_path_factory):
    """Results of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("serial") / "results"
    assert run(*arguments, "-o", out) == 0
    return out


def scores(folder):
    return {(r["sample"], r["configuration"]): r["scores"] for r in ResultStore(folder).records()}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_and_started_again_it_repeats_nothing(arguments, serial, tmp_path):
    out = tmp_path / "results"
    command = [sys.executable, SCRIPT, *arguments, "-o", out]
    process = subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lines = out / "results.jsonl"
    deadline = time.monotonic() + 240
    while not (lines.exists() and lines.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = lines.read_bytes()
    complete = kept[: kept.rindex(b"\n") + 1]
    assert 2 <= complete.count(b"\n") < len(scores(serial))
    # and as if the kill had come in the middle of a line
    lines.write_bytes(complete + b'{"sample": "case_a/fem')

    assert run(*arguments, "-o", out) == 0
    after = lines.read_bytes()
    assert after.startswith(complete)
    pairs = [(r["sample"], r["configuration"]) for r in ResultStore(out).records()]
    assert len(pairs) == len(set(pairs)) == 16
    assert scores(out) == scores(serial)

    assert run(*arguments, "-o", out) == 0
    assert lines.read_bytes() == after


def test_interrupted_it_keeps_what_is_measured(arguments, tmp_path, monkeypatch, capsys):
    append = ResultStore.append

    def interrupted(store, record):
        append(store, record)
        if len(store.done()) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(ResultStore, "append", interrupted)
    assert run(*arguments, "-o", tmp_path / "results") == commands.INTERRUPTED
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("interrupted")]
    assert "goes on from there" in line
    assert len(scores(tmp_path / "results")) == 4


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ray_gives_what_the_serial_run_gives(arguments, serial, tmp_path, capsys):
    pytest.importorskip("ray")
    code = run(*arguments, "-o", tmp_path / "results", "--ray", "local")
    if code == commands.BAD_INPUT and "cannot join the Ray cluster" in (
        said := capsys.readouterr().err
    ):
        pytest.skip(f"Ray does not start here: {said}")
    assert code == 0
    assert scores(tmp_path / "results") == scores(serial)
    devices = {r["device"] for r in ResultStore(tmp_path / "results").records()}
    assert devices == {None, "cpu (1 thread)"}  # comparators need none


def test_a_cluster_that_is_not_there_is_one_line(arguments, tmp_path, capsys):
    pytest.importorskip("ray")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        assert run(*arguments, "-o", tmp_path / "results", "--ray", address) == 2
    assert f"cannot reach the Ray cluster '{address}'" in capsys.readouterr().err


def test_a_worker_keeps_what_it_measured_before_the_memory_ran_out(
    dataset, split, checkpoint, monkeypatch
):
    one = Evaluator._one

    def scarce(evaluator, sample, configuration):
        if configuration.settings.window.describe() == "none":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return one(evaluator, sample, configuration)

    monkeypatch.setattr(Evaluator, "_one", scarce)
    worker = Worker(Equipment(dataset, "builtin", checkpoint, "cpu"), "mine")
    pair = [Configuration.parse({"window": w}).on("mine") for w in ("bone", "none")]
    _, results, reason = worker.evaluate((splits.read(split).samples[0], pair))
    assert [r.record["configuration"] for r in results] == [pair[0].key]
    assert reason == "not enough memory (CUDA out of memory.)"


def test_ray_is_imported_only_inside_the_function_that_needs_it():
    for file in [Path(evaluate.__file__), *Path(evaluation.__file__).parent.glob("*.py")]:
        for node in ast.parse(file.read_text()).body:
            names = [a.name for a in getattr(node, "names", []) if isinstance(node, ast.Import)]
            names.append(node.module or "" if isinstance(node, ast.ImportFrom) else "")
            assert not any(n.split(".")[0] == "ray" for n in names), file


def test_the_same_split_again_is_fine_another_is_refused(dataset, split, capsys):
    assert run("split", "--dataset", dataset, "--per-class", 2, "--seed", 1, "-o", split) == 0
    assert "unchanged" in capsys.readouterr().out
    assert run("split", "--dataset", dataset, "--per-class", 1, "--seed", 1, "-o", split) == 2
    assert "never overwritten" in capsys.readouterr().err


def test_a_changed_mask_is_refused_before_anything_is_measured(
    arguments, dataset, changed, tmp_path, capsys
):
    root, mask = changed
    options = [root if a == dataset else a for a in arguments]
    assert run(*options, "-o", tmp_path / "results") == 2
    error = capsys.readouterr().err.strip()
    assert f"{mask} is not the mask the split was drawn from" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_a_sample_too_large_for_the_memory_does_not_stop_the_others(
    arguments, tmp_path, monkeypatch, capsys
):
    one = Evaluator._one

    def scarce(evaluator, sample, configuration):
        if sample.kind == "femur":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return one(evaluator, sample, configuration)

    monkeypatch.setattr(Evaluator, "_one", scarce)
    assert run(*arguments, "-o", tmp_path / "results") == 2
    assert "not enough memory (CUDA out of memory.)" in capsys.readouterr().err
    assert scores(tmp_path / "results")
    assert not any("femur" in sample for sample, _ in scores(tmp_path / "results"))


def test_another_checkpoint_needs_another_folder(arguments, serial, capsys):
    other = list(arguments)
    del other[other.index("--checkpoint") : other.index("--checkpoint") + 2]
    assert run(*other, "-o", serial) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_run_says_what_is_needed_to_repeat_it(serial, split):
    made = json.loads((serial / "run.json").read_text())
    assert made["split_checksum"]
    assert made["model"] == "builtin:seeing.pt"
    assert len(made["checkpoint_sha256"]) == 64
    assert made["zero_shot"] is False
    assert {"torch", "sam2", "monai", "python"} <= set(made["versions"])
    assert len(made["temporal_cosine"]) == 7
    assert made["temporal_cosine"][3][3] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--config": None}, "nothing to measure"),
        ({"--split": "missing.json"}, "cannot read the split"),
        ({"--dataset": "missing"}, "no dataset folder"),
        ({"--config": "missing.yaml"}, "cannot read missing.yaml"),
        ({"--window": "nonsense"}, "unknown window"),
        ({"--device": "abacus"}, "unknown device"),
        ({"--table": "9"}, "unknown table"),
        ({"--model": "nonsense", "--checkpoint": None}, "unknown model"),
    ],
)
def test_mistakes_are_one_line(arguments, change, message, tmp_path, capsys):
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True)) | change
    flat = [x for name, value in options.items() if value is not None for x in (name, value)]
    assert run("run", *flat, "-o", tmp_path / "results") == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1


def test_a_sample_that_cannot_be_read_does_not_stop_the_others(
    arguments, dataset, tmp_path, capsys
):
    root = tmp_path / "copy"
    shutil.copytree(dataset, root)
    (root / "case_b" / "ct.nii.gz").write_bytes(b"not an image")
    options = [root if a == dataset else a for a in arguments]
    assert run(*options, "-o", tmp_path / "results") == 2
    assert "could not be measured" in capsys.readouterr().err
    assert {s.split("/")[0] for s, _ in scores(tmp_path / "results")} == {"case_a"}

"""A run: what is still to be measured, by this process or by a cluster, into the store."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from lib.configs.options import Settings
from lib.errors import Unavailable
from lib.evaluation import cluster
from lib.evaluation import split as splits
from lib.evaluation.configurations import Configuration, Method, Row
from lib.evaluation.evaluator import UNMEASURABLE, Equipment, Evaluator, Result, reason_of
from lib.evaluation.progress import RunProgress
from lib.evaluation.split import Sample, Split
from lib.evaluation.store import FORMAT, ResultStore
from lib.evaluation.trial import device_name
from lib.models.build import LoadedModel
from lib.models.download import fetch
from lib.models.registry import BUILTIN, CHECKPOINTS

_PACKAGES = ("torch", "sam2", "monai", "monailabel", "numpy", "scipy", "scikit-image", "pandas")


@dataclass(frozen=True)
class Job:
    """Everything that decides a run.

    Attributes:
        root: the dataset.
        split: checked samples.
        split_file: where the split was read from.
        rows: what to measure.
        loaded: the run's model.
        equipment: the same for workers.
        base: options that rows leave out.
        ray: address of a cluster, `local`, or None.
    """

    root: Path
    split: Split
    split_file: Path
    rows: Sequence[Row]
    loaded: LoadedModel
    equipment: Equipment
    base: Settings
    ray: str | None = None


def run(job: Job, store: ResultStore) -> dict[str, str]:
    """Measure what the store does not hold yet.

    Returns:
        Sample → why it could not be measured; empty if all went well.

    Raises:
        BadInput: the store belongs to another run.
    """
    skipped = unavailable_models(job.rows, job.loaded.name)
    if not job.base.window.is_ct:
        skipped |= {
            r.configuration.key: "a threshold in Hounsfield units means nothing outside CT"
            for r in job.rows
            if r.configuration.method is Method.THRESHOLD
        }
    wanted = {
        r.configuration.key: r.configuration for r in job.rows if r.configuration.key not in skipped
    }
    store.begin(describe(job, wanted, skipped))
    try:
        done = store.done()
        tasks = []
        # one case after the other, so that each volume is opened once
        for sample in sorted(job.split.samples, key=lambda s: s.id):
            missing = [c for key, c in wanted.items() if (sample.id, key) not in done]
            if missing:
                tasks.append((sample, missing))
        failed: dict[str, str] = {}
        total = sum(len(c) for _, c in tasks)
        with RunProgress(total) as progress:
            kept = len(job.split.samples) * len(wanted) - total
            if kept:
                progress.say(f"{kept} results are there already, {total} to go")
            for sample, result, reason in _results(job, tasks):
                if reason is not None:
                    failed[sample.id] = reason
                    progress.say(f"{sample.id} left out: {reason}")
                    continue
                if result.view is not None:
                    store.put_view(sample.id, str(result.record["configuration"]), result.view)
                store.append(result.record)
                progress.advance(sample.id)
        return failed
    finally:
        store.close()


def _results(
    job: Job, tasks: Sequence[cluster.Task]
) -> Iterator[tuple[Sample, Result | None, str | None]]:
    if not tasks:
        return
    if job.ray is not None:
        answers = cluster.spread(job.ray, tasks, job.equipment, job.loaded.name)
        for sample, results, reason in answers:
            if reason is not None:
                yield sample, None, reason
            for result in results:
                yield sample, result, None
        return
    evaluator = Evaluator(job.equipment, job.loaded.name, job.loaded)
    for sample, configurations in tasks:
        try:
            for result in evaluator.evaluate(sample, configurations):
                yield sample, result, None
        except UNMEASURABLE as error:
            yield sample, None, reason_of(error)


def unavailable_models(rows: Sequence[Row], run_model: str) -> dict[str, str]:
    """Configurations whose checkpoint cannot be had → why; available ones are downloaded.

    Beside the built-in checkpoint, which is for trying out, no others are fetched.
    """
    skipped: dict[str, str] = {}
    reasons: dict[str, str | None] = {run_model: None}
    for row in rows:
        name = row.configuration.model or run_model
        if name not in reasons:
            reasons[name] = _why_not(name, run_model)
        if reasons[name] is not None:
            skipped[row.configuration.key] = reasons[name]
    return skipped


def _why_not(name: str, run_model: str) -> str | None:
    if name not in CHECKPOINTS:
        return f"there is no checkpoint called {name!r}"
    if run_model in (BUILTIN, "untrained"):
        return f"checkpoint {name!r} is not fetched in a run with the built-in one"
    try:
        fetch(CHECKPOINTS[name])
    except Unavailable as error:
        return str(error)
    return None


def describe(
    job: Job, wanted: dict[str, Configuration], skipped: dict[str, str]
) -> dict[str, object]:
    """What `run.json` says: all that is needed to repeat the run."""
    model = job.loaded
    return {
        "format": FORMAT,
        "split_checksum": job.split.checksum,
        "split_file": job.split_file.name,
        "seed": job.split.seed,
        "per_class": job.split.per_class,
        "classes": splits.counts(job.split),
        "short": dict(job.split.short),
        "excluded": list(job.split.excluded),
        "samples": {s.id: s.kind for s in job.split.samples},
        "dataset": job.root.resolve().name,
        "model": model.name,
        "checkpoint_sha256": model.sha256,
        "trained": model.trained,
        "zero_shot": model.name in CHECKPOINTS and model.name != BUILTIN,
        "image_size": model.image_size,
        "warnings": list(model.warnings),
        "device": device_name(model.device),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "ray": job.ray,
        "base": job.base.describe(),
        "configurations": [{"key": k, **describe_one(c)} for k, c in wanted.items()],
        "rows": [r.as_json() for r in job.rows],
        "skipped": skipped,
        "temporal_cosine": temporal_cosine(model.predictor.maskmem_tpos_enc),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def describe_one(configuration: Configuration) -> dict[str, object]:
    """Options of a configuration, plain values."""
    c = configuration
    return {
        "method": c.method.value,
        "model": c.model,
        "prompts": c.prompts,
        "annotation": c.annotation,
        "scope": c.scope.value,
        "rounds": c.rounds,
        "correction": c.correction,
        "choice": c.choice.value,
        **c.settings.describe(),
    }


def temporal_cosine(embeddings: torch.Tensor) -> list[list[float]]:
    """Cosine similarity between the temporal embeddings (7, 1, 1, C) (paper figure 3b.ii)."""
    rows = embeddings.detach().float().cpu().flatten(1).numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return [[round(float(v), 6) for v in row] for row in unit @ unit.T]


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

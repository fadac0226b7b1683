"""A logged result once more, from its log, the volume and the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lib.errors import BadInput
from lib.models.build import LoadedModel, load_predictor
from lib.models.registry import BUILTIN, CHECKPOINTS
from lib.pipeline import Case, Outcome, Pipeline
from lib.propagation.inferer import Progress
from lib.recipe import Recipe, carry_out
from lib.serving.results import fingerprint, read_log

Watched = Callable[[Callable[[Progress], Outcome]], Outcome]
"""Runs a function that wants a `Progress`, and shows that."""


def replay(
    log: Path,
    ct: Path | None = None,
    checkpoint: Path | None = None,
    device: str = "auto",
    watched: Watched = lambda run: run(lambda _done, _of: None),
) -> tuple[Case, Outcome]:
    """Reproduce the result of a log.

    Args:
        log: JSON file written by the server.
        ct: the volume, if it is no longer where the log says.
        checkpoint: the file, if the log names one's own.
        device: see `load_predictor`.
        watched: shows progress.

    Returns:
        The volume, and the outcome; its report says under `replay` whether the voxels are those
        of the log.

    Raises:
        BadInput: not a log, another volume, or another checkpoint.
    """
    content = read_log(log)
    recipe = Recipe.read(content["recipe"])
    report = content["report"]
    volume = ct or Path(report["volume"]["path"])
    if not volume.exists():
        raise BadInput(f"the volume is not at {volume} any more: name it on the command line")
    loaded = _same_model(report["checkpoint"], checkpoint, device)
    pipeline = Pipeline(loaded)
    case = pipeline.open(volume, recipe.settings)
    if not case.source_grid.same_as(recipe.prompts.grid):
        raise BadInput(f"{volume} is not the volume of {log}: their grids differ")
    with _threads(int(content["threads"])):
        outcome = watched(lambda progress: carry_out(pipeline, case, recipe, progress))
    same = fingerprint(outcome.labels) == content["labels_sha256"]
    outcome.report["replay"] = {"log": str(log), "identical": same}
    return case, outcome


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """As many as the server had: sums in another order are, in the last digit, other sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _same_model(logged: dict, checkpoint: Path | None, device: str) -> LoadedModel:
    name, _, file = str(logged["name"]).partition(":")
    if file and checkpoint is None:
        raise BadInput(f"the log was made with the checkpoint {file}: give it with --checkpoint")
    loaded = load_predictor(name if name in CHECKPOINTS else BUILTIN, checkpoint, device)
    if loaded.sha256 != logged["sha256"]:
        raise BadInput(
            f"the log was made with another checkpoint ({logged['name']}, SHA-256 "
            f"{logged['sha256'][:12]}…, this one is {loaded.name}, {loaded.sha256[:12]}…): "
            "give that file with --checkpoint"
        )
    return loaded

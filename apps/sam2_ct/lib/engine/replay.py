"""A logged result once more, from its log, the volume and the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lib.engine.clock import Clock
from lib.engine.log import Log, read_log
from lib.engine.pipeline import Case, Logged, Pipeline, Write
from lib.engine.recipe import Recipe
from lib.engine.report import Outcome
from lib.errors import BadInput
from lib.models.build import LoadedModel, load_predictor
from lib.models.registry import BUILTIN, CHECKPOINTS
from lib.propagation.inferer import Progress

Watched = Callable[[Callable[[Progress], Outcome]], Outcome]
"""Runs a function that wants a `Progress`, and shows that."""


def replay(
    log: Path,
    ct: Path | None = None,
    checkpoint: Path | None = None,
    device: str = "auto",
    watched: Watched = lambda run: run(lambda _done, _of: None),
    write: Callable[[Case, Recipe], Write] | None = None,
) -> tuple[Case, Outcome]:
    """Reproduce the result of a log.

    Args:
        log: JSON file written by the server.
        ct: the volume, if it is no longer where the log says.
        checkpoint: the file, if the log names one's own.
        device: see `load_predictor`.
        watched: shows progress.
        write: see `Pipeline.carry_out`; made once the volume is open.

    Returns:
        The volume, and the outcome; its report says under `replay` whether the voxels are those
        of the log.

    Raises:
        BadInput: not a log, another volume, or another checkpoint.
    """
    content = read_log(log)
    recipe = content.recipe
    volume = ct or content.volume
    if not volume.exists():
        raise BadInput(f"the volume is not at {volume} any more: name it on the command line")
    clock = Clock()
    with clock("model"):
        pipeline = Pipeline(_same_model(content, checkpoint, device))
    case = pipeline.open(volume, recipe.settings, clock)
    if not case.source_grid.same_as(recipe.prompts.grid):
        raise BadInput(f"{volume} is not the volume of {log}: their grids differ")
    logged = Logged(log, content.labels_sha256)
    with _threads(content.threads):
        outcome = watched(
            lambda progress: pipeline.carry_out(
                case,
                recipe,
                progress,
                clock=clock,
                write=write and write(case, recipe),
                logged=logged,
            )
        )
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


def _same_model(log: Log, checkpoint: Path | None, device: str) -> LoadedModel:
    name, _, file = log.checkpoint.partition(":")
    if file and checkpoint is None:
        raise BadInput(f"the log was made with the checkpoint {file}: give it with --checkpoint")
    known = name if name in CHECKPOINTS else BUILTIN
    loaded = load_predictor(known, checkpoint, device, log.precision)
    if loaded.sha256 != log.checkpoint_sha256:
        raise BadInput(
            f"the log was made with another checkpoint ({log.checkpoint}, SHA-256 "
            f"{log.checkpoint_sha256[:12]}…, this one is {loaded.name}, {loaded.sha256[:12]}…): "
            "give that file with --checkpoint"
        )
    return loaded

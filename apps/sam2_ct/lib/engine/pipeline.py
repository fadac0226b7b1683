"""From a recipe to an outcome: what command line, server, replay and evaluation run.

`Pipeline.open` reads a volume and turns it upright. `Pipeline.carry_out` cuts out what was marked,
shows that part through the window, propagates, brings the result back to the file's own grid, and
says what there is to say.
"""

from __future__ import annotations

import platform
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lib.activelearning.next_slice import confidence, next_slices
from lib.configs.options import Settings
from lib.engine.clock import Clock
from lib.engine.parts import (
    Part,
    crop_report,
    end_sentences,
    in_file,
    label_map,
    leave_out,
    left_out_sentences,
)
from lib.engine.pieces import Piece, ProgressOfAll, pieces_of
from lib.engine.recipe import Recipe
from lib.engine.rehearsal import rehearse
from lib.engine.report import (
    CheckpointReport,
    ObjectReport,
    Outcome,
    Replay,
    Report,
    VolumeReport,
    fingerprint,
)
from lib.errors import BadInput
from lib.geometry import Grid
from lib.models.build import LoadedModel
from lib.prompts.types import Points, PromptSet
from lib.prompts.wiped import Wiped, as_voxels
from lib.propagation.features import FeatureBank
from lib.propagation.inferer import Progress, PseudoVideoInferer
from lib.propagation.looking import look_closer
from lib.transforms.crop import bounds_for, move_bounds, part_of
from lib.transforms.load import load_volume
from lib.transforms.windowed import Windowed, unlike_ct

_OPEN_VOLUMES = 2
_PACKAGES = ("torch", "sam2", "monai", "monailabel", "numpy")

Write = Callable[[NDArray[Any], Grid], Sequence[Path]]
"""Puts labels on a grid into files, and tells their paths."""


@dataclass(frozen=True, eq=False)
class Case:
    """A volume ready for prompts.

    Attributes:
        path: where it came from.
        shown: the volume, RAS, through the request's window.
        source_grid: the file's grid, on which prompts come and results go.
        warnings: sentences for the user.
    """

    path: Path
    shown: Windowed
    source_grid: Grid
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Logged:
    """An earlier result to compare with: its log, and the fingerprint of its labels."""

    log: Path
    labels_sha256: str


class Pipeline:
    """A loaded model and everything it needs to answer requests, one at a time.

    Args:
        model: from `lib.models.build.load_predictor`.
        bank: encoded slices; may be shared with other pipelines.
        inferer: of that model, if not as it serves.
    """

    def __init__(
        self,
        model: LoadedModel,
        bank: FeatureBank | None = None,
        inferer: PseudoVideoInferer | None = None,
    ) -> None:
        self.model = model
        self.bank = FeatureBank() if bank is None else bank
        self.inferer = inferer or PseudoVideoInferer(model.predictor, model.identity, self.bank)
        self._lock = threading.Lock()
        self._opened: OrderedDict[tuple[object, ...], Case] = OrderedDict()

    def open(self, path: str | Path, settings: Settings, clock: Clock | None = None) -> Case:
        """Read a volume and turn it upright; the last two stay open for corrections.

        Args:
            path: file or folder.
            settings: have the window; its percentiles are found here.
            clock: is told the seconds.

        Raises:
            BadInput: the file cannot be used.
        """
        clock = clock or Clock()
        path = Path(path)
        key = (path, *_state_of(path))
        case = self._opened.get(key)
        if case is None or case.shown.window != settings.window:
            if case is None:
                with clock("load"):
                    volume = load_volume(path)
                source, upright = volume.grid, volume.upright()
            else:
                source, upright = case.source_grid, case.shown.volume
            with clock("window"):
                warnings = (*upright.warnings, *unlike_ct(upright, settings.window))
                case = Case(path, Windowed(upright, settings.window), source, warnings)
            self._opened[key] = case
            while len(self._opened) > _OPEN_VOLUMES:
                self._opened.popitem(last=False)
        return case

    def carry_out(
        self,
        case: Case,
        recipe: Recipe,
        progress: Progress | None = None,
        *,
        clock: Clock | None = None,
        write: Write | None = None,
        logged: Logged | None = None,
    ) -> Outcome:
        """Run a recipe. The same recipe, volume, checkpoint and machine give the same voxels.

        Args:
            case: from `open`, with the recipe's window.
            recipe: what to do.
            progress: told after every slice; may raise to stop.
            clock: has the seconds of what went before, for the report.
            write: called with the labels and their grid before the report is made.
            logged: an earlier result to compare with.

        Raises:
            BadInput: prompts that do not fit the volume or the settings.
        """
        clock = clock or Clock()
        source, ids = case.source_grid, recipe.prompts.object_ids
        _check_taken(recipe.taken, source)
        with clock("crop"):
            wiped = as_voxels(recipe.wiped, source) if recipe.wiped else None
            excluded = [e for e in (recipe.taken, wiped) if e is not None]
            pieces = pieces_of(recipe, case.shown.grid, self.model.image_size)
        whole = None if progress is None else ProgressOfAll(progress, len(pieces))
        parts = [
            self._run(
                case, piece, excluded, recipe.wiped, None if whole is None else whole.next(), clock
            )
            for piece in pieces
        ]
        with clock("restore"):
            labels = label_map(parts, ids, source, recipe.settings.overlap)
            beyond = {i: sum(p.found.beyond.get(i, 0) for p in parts) for i in ids}
            objects = leave_out(labels, ids, recipe.taken, wiped, beyond)
        written: tuple[Path, ...] = ()
        if write is not None:
            with clock("write"):
                written = tuple(write(labels, source))
        replayed = None
        if logged is not None:
            with clock("compare"):
                replayed = Replay(logged.log, fingerprint(labels) == logged.labels_sha256)
        with clock("report"):
            report = self._report(case, recipe, parts, objects, clock, written, replayed)
        return Outcome(labels, source, report)

    def _run(
        self,
        case: Case,
        piece: Piece,
        excluded: Sequence[NDArray[Any]],
        wiped: Sequence[Wiped],
        progress: Progress | None,
        clock: Clock,
    ) -> Part:
        """One run of the network, on the crop that a piece needs."""
        settings = piece.settings.engine()
        source = case.source_grid
        marked = piece.prompts
        if piece.crop is None:  # else nothing but that crop is looked at
            marked = self._looked_at(case, marked, clock)
        with clock("crop"):
            volume = case.shown.grid
            bounds = (
                bounds_for(marked, volume, settings.axes, piece.roi)
                if piece.crop is None
                else move_bounds(piece.crop, marked.grid, volume)
            )
            prompts = marked.on(part_of(volume, bounds))
            axes = settings.axes if case.shown.window.clahe else settings.axes[:1]
            seen = {axis: case.shown.part(bounds, axis) for axis in axes}
            whole = source.map_to(prompts.grid)
            foreign = [whole.array(e, prompts.grid.shape) for e in excluded]
            extent = settings.extent.on(settings.axis, source, prompts.grid)
        with self._alone(clock), clock("merge"):
            found = self.inferer(
                seen[axes[0]],
                prompts,
                replace(settings, extent=extent),
                progress,
                np.logical_or.reduce(foreign) if foreign else None,
                [w.on(source, prompts.grid) for w in wiped],
                seen,
            )
            for stage in ("encode", "track"):
                clock.add(stage, found.seconds[stage])
        return Part(prompts.grid, found)

    def rehearse(self, settings: Settings, objects: Sequence[int] = (1,)) -> None:
        """Compile what is to be compiled, see `lib.engine.rehearsal`."""
        with self._alone(Clock()):
            rehearse(self.model, settings.engine(), objects)

    @contextmanager
    def _alone(self, clock: Clock) -> Iterator[None]:
        """Nobody else uses the network; what is made on "the" GPU is made on its own."""
        device = self.model.device
        with ExitStack() as held:
            with clock("wait"):
                held.enter_context(self._lock)
            if device.type == "cuda":
                held.enter_context(torch.cuda.device(device))
            yield

    def _looked_at(self, case: Case, prompts: PromptSet, clock: Clock) -> PromptSet:
        """The prompts, with masks in place of clicks where these alone say too little."""
        if not any(isinstance(p, Points) for p in prompts.prompts):
            return prompts
        with self._alone(clock), clock("look"):
            seen = look_closer(
                self.model.predictor,
                self.model.sha256,
                case.shown.part,
                prompts.on(case.shown.grid),
            )
        return seen.on(prompts.grid)

    def _report(
        self,
        case: Case,
        recipe: Recipe,
        parts: Sequence[Part],
        objects: tuple[ObjectReport, ...],
        clock: Clock,
        written: tuple[Path, ...],
        replayed: Replay | None,
    ) -> Report:
        source, model = case.source_grid, self.model
        compiling = _compiling(model)
        told = [in_file(part, source) for part in parts]
        slices = tuple(r for t in told for r in t.slices)
        ends = tuple(e for t in told for e in t.ends)
        return Report(
            volume=VolumeReport(case.path, source.shape, _rounded(source.spacing)),
            crops=tuple(crop_report(part, source) for part in parts),
            settings=recipe.settings,
            checkpoint=CheckpointReport(
                name=model.name,
                sha256=model.sha256,
                trained=model.trained,
                image_size=model.image_size,
                device=str(model.device),
                precision=model.numerics.name,
                compiled=model.compiled is not None,
            ),
            objects=objects,
            slices=slices,
            ends=ends,
            absent=tuple(a for t in told for a in t.absent),
            encoded_slices=sum(t.encoded for t in told),
            tracked_slices=sum(t.tracked for t in told),
            confidence=confidence(slices),
            next_slices=next_slices(slices),
            decided=(
                *recipe.decided,
                *dict.fromkeys(d for t in told for d in t.decided),
                *end_sentences(ends, recipe.prompts.object_ids),
                *left_out_sentences(objects),
                *compiling,
            ),
            warnings=(*model.warnings, *case.warnings),
            seconds=clock.seconds,
            threads=torch.get_num_threads(),
            versions=_versions(),
            input_size=told[0].input_size,
            written=written,
            replay=replayed,
        )


@cache  # 3 ms each time
def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }


def _compiling(model: LoadedModel) -> tuple[str, ...]:
    """What ran as it was not meant to."""
    if model.compiled is None:
        return (model.why_not_compiled,) if model.why_not_compiled else ()
    return model.compiled.sentences(*model.compiled.count())


def _check_taken(taken: NDArray[Any] | None, source: Grid) -> None:
    if taken is not None and taken.shape != source.shape:
        raise BadInput(
            f"the voxels to leave alone have shape {taken.shape}, "
            f"the volume {source.shape}: was the volume exchanged?"
        )


def _rounded(spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (round(s, 4) for s in spacing)
    return x, y, z


def _state_of(path: Path) -> tuple[float, int]:
    """What changes when the file does; for a folder, when a file is added or removed."""
    if not path.exists():
        return 0.0, 0
    state = path.stat()
    return state.st_mtime, state.st_size

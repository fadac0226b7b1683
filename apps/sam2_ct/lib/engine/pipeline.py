"""From a recipe to an outcome: what command line, server, replay and evaluation run.

`Pipeline.open` reads, orients and windows a volume. `Pipeline.carry_out` cuts it down to what was
marked, propagates, brings the result back to the file's own grid, and says what there is to say.
"""

from __future__ import annotations

import platform
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
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
from lib.geometry import Axis, Grid
from lib.models.build import LoadedModel
from lib.prompts.types import Points, PromptSet
from lib.prompts.wiped import Wiped, as_voxels
from lib.propagation.features import FeatureBank
from lib.propagation.inferer import Progress, PseudoVideoInferer
from lib.propagation.looking import look_closer
from lib.transforms.chain import pre_transforms
from lib.transforms.crop import CropToPromptsd, move_bounds, part_of
from lib.transforms.load import grid_of
from lib.transforms.window import Window, equalise

_OPEN_VOLUMES = 2
_PACKAGES = ("torch", "sam2", "monai", "monailabel", "numpy")

Write = Callable[[NDArray[Any], Grid], Sequence[Path]]
"""Puts labels on a grid into files, and tells their paths."""


@dataclass(frozen=True, eq=False)
class Case:
    """A volume ready for prompts.

    Attributes:
        path: where it came from.
        image: (1, X, Y, Z) float32 in [0, 1], RAS, not equalised.
        source_grid: the file's grid, on which prompts come and results go.
        window: what made the grey values.
        warnings: sentences for the user.
    """

    path: Path
    image: MetaTensor
    source_grid: Grid
    window: Window
    warnings: tuple[str, ...]
    _equalised: dict[int, MetaTensor] = field(default_factory=dict, init=False, repr=False)

    def along(self, axis: Axis) -> MetaTensor:
        """The volume as slices of `axis` show it: CLAHE works slice by slice."""
        if not self.window.clahe:
            return self.image
        if axis.dim not in self._equalised:
            image = self.image.clone()
            equalise(image[0].numpy(), axis.dim)
            self._equalised[axis.dim] = image
        return self._equalised[axis.dim]


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

    def open(self, path: str | Path, settings: Settings) -> Case:
        """Read, orient and window a volume; the last two stay open for corrections.

        Raises:
            BadInput: the file cannot be used.
        """
        path = Path(path)
        key = (path, settings.window, *_state_of(path))
        case = self._opened.get(key)
        if case is None:
            *opening, _crop = pre_transforms(window=replace(settings.window, clahe=False))
            data: dict[Hashable, Any] = {"image": path}
            for transform in opening:  # not Compose: it would hide a BadInput in a RuntimeError
                data = transform(data)
            case = Case(
                path, data["image"], data["source_grid"], settings.window, tuple(data["warnings"])
            )
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
        wiped = as_voxels(recipe.wiped, source) if recipe.wiped else None
        excluded = [e for e in (recipe.taken, wiped) if e is not None]
        pieces = pieces_of(recipe, grid_of(case.image), self.model.image_size)
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
            replayed = Replay(logged.log, fingerprint(labels) == logged.labels_sha256)
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
        with clock("prepare"):
            axes = settings.axes if case.window.clahe else settings.axes[:1]
            seen = {a: _cut(case.along(a), marked, piece, settings.axes) for a in axes}
            image, prompts = seen[axes[0]]
            whole = source.map_to(prompts.grid)
            foreign = [whole.array(e, prompts.grid.shape) for e in excluded]
            extent = settings.extent.on(settings.axis, source, prompts.grid)
        with self._alone(), clock("propagate"):
            found = self.inferer(
                image,
                prompts,
                replace(settings, extent=extent),
                progress,
                np.logical_or.reduce(foreign) if foreign else None,
                [w.on(source, prompts.grid) for w in wiped],
                {axis: view for axis, (view, _) in seen.items()},
            )
        return Part(prompts.grid, found)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else uses the network; what is made on "the" GPU is made on its own."""
        device = self.model.device
        with self._lock, torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            yield

    def _looked_at(self, case: Case, prompts: PromptSet, clock: Clock) -> PromptSet:
        """The prompts, with masks in place of clicks where these alone say too little."""
        if not any(isinstance(p, Points) for p in prompts.prompts):
            return prompts
        with self._alone(), clock("look"):
            seen = look_closer(
                self.model.predictor,
                self.model.sha256,
                case.along(prompts.prompts[0].axis)[0].numpy(),
                prompts.on(grid_of(case.image)),
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
            ),
            warnings=(*model.warnings, *case.warnings),
            seconds=clock.seconds,
            threads=torch.get_num_threads(),
            versions={
                "python": platform.python_version(),
                **{package: version(package) for package in _PACKAGES},
            },
            precision=told[0].precision,
            input_size=told[0].input_size,
            written=written,
            replay=replayed,
        )


def _cut(
    image: MetaTensor, prompts: PromptSet, piece: Piece, axes: Sequence[Axis]
) -> tuple[NDArray[np.float32], PromptSet]:
    """The crop that a piece needs, and the prompts on it."""
    if piece.crop is None:
        crop = CropToPromptsd("image", axes=axes)
        data: dict[Hashable, Any] = crop({"image": image, "prompts": prompts, "roi": piece.roi})
        return data["image"][0].numpy(), data["prompts"]
    volume = grid_of(image)
    first, stop = move_bounds(piece.crop, prompts.grid, volume)
    cut = tuple(slice(a, b) for a, b in zip(first, stop, strict=True))
    return image[0].numpy()[cut].copy(), prompts.on(part_of(volume, (first, stop)))


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

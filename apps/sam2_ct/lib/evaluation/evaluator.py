"""One sample under many configurations: prompts in, scores out.

Holds the models and one feature bank; a slice is encoded once for all configurations that share
window and checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import trapezoid

from lib.engine.pipeline import Case, Pipeline
from lib.engine.recipe import Recipe as Asked
from lib.errors import BadInput
from lib.evaluation.baselines import interpolate_and_threshold, interpolate_slices, walk_randomly
from lib.evaluation.configurations import Configuration, Method, Scope, clicks
from lib.evaluation.following import following
from lib.evaluation.metrics import as_record, overlap, reach, score, surface_dice
from lib.evaluation.protocol import Scene, SceneMaker
from lib.evaluation.split import Sample
from lib.evaluation.timing import ComponentClock
from lib.geometry import Axis, Grid
from lib.models.build import LoadedModel, load_predictor
from lib.prompts.simulated import click_prompt, next_click
from lib.prompts.types import Mask, Points, Prompt, PromptSet
from lib.prompts.wiped import Wiped
from lib.propagation.features import DEFAULT_CACHE_BYTES, FeatureBank
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.kept import Store
from lib.propagation.records import Source
from lib.transforms.volume import Volume
from lib.transforms.window import Window
from lib.transforms.windowed import Windowed

#: What keeps one sample from being measured and says nothing about the others.
UNMEASURABLE = (BadInput, MemoryError, torch.OutOfMemoryError)

_GPU_BATCH = 8
_AS_IT_IS = Window(level=0.5, width=1.0)  # scenes are windowed already
_VIEWED_SLICES = 4


@dataclass(frozen=True)
class Recipe:
    """What an evaluator is made of; small and picklable, for workers elsewhere.

    Attributes:
        root: the dataset's folder.
        model: the run's checkpoint by name, as `load_predictor` takes it.
        checkpoint: a user's own file, or None.
        device: auto, cpu, cuda or cuda:N.
        viewed: keys of the configurations whose result the contact sheet may show.
        cache_bytes: bound of the encoded slices held.
    """

    root: Path
    model: str
    checkpoint: Path | None
    device: str
    viewed: frozenset[str] = frozenset()
    cache_bytes: int = DEFAULT_CACHE_BYTES


@dataclass(frozen=True)
class Result:
    """A line of the results, and what the contact sheet needs if it is to show it."""

    record: dict[str, object]
    view: dict[str, np.ndarray] | None


class Evaluator:
    """Runs samples under configurations.

    Args:
        recipe: what to make it of.
        run_model: the name by which configurations call the recipe's model.
        loaded: the recipe's model, if it is loaded already.
    """

    def __init__(self, recipe: Recipe, run_model: str, loaded: LoadedModel | None = None) -> None:
        self.recipe = recipe
        self.run_model = run_model
        self.scenes = SceneMaker(recipe.root)
        self.bank = FeatureBank(recipe.cache_bytes)
        self._pipelines: dict[str, Pipeline] = {}
        if loaded is not None:
            self._hold(run_model, loaded)

    def evaluate(self, sample: Sample, configurations: Sequence[Configuration]) -> Iterator[Result]:
        """Results of one sample, one after the other."""
        # neighbours share features, three axes (which need the most) come last
        order = sorted(
            configurations,
            key=lambda c: (
                c.method.value,
                c.scope.value,
                c.model or "",
                c.settings.window.describe(),
                c.settings.propagation.value,
            ),
        )
        try:
            for configuration in order:
                yield self._one(sample, configuration)
        finally:
            self.bank.clear()

    def _one(self, sample: Sample, configuration: Configuration) -> Result:
        scene = self.scenes(sample, configuration)
        clock = ComponentClock()
        begin = time.perf_counter()
        trial = _Trial(self, configuration, scene, clock)
        rounds = []
        predicted = trial.predict(trial.first_prompts())
        for _ in range(configuration.rounds):
            rounds.append(trial.judge(predicted))
            if not trial.correct(predicted):
                break
            predicted = trial.predict(trial.prompts)
        seconds = time.perf_counter() - begin
        if configuration.rounds:
            rounds.append(trial.judge(predicted))
            # a perfect result needs no more corrections and stays perfect
            rounds += [rounds[-1]] * (configuration.rounds + 1 - len(rounds))

        spacing = scene.grid.spacing
        dim = scene.grid.dim_of(Axis.AXIAL)
        axial = sorted({p.index for p in trial.prompts.select(axis=Axis.AXIAL)})
        record: dict[str, object] = {
            "sample": sample.id,
            "case": sample.case,
            "class": sample.kind,
            "configuration": configuration.key,
            "scores": as_record(score(predicted, scene.truth, spacing, painted=axial, dim=dim)),
            "empty": not predicted.any(),
            "marked": {
                axis.value: sorted({p.index for p in trial.prompts.select(axis=axis)})
                for axis in Axis
                if trial.prompts.select(axis=axis)
            },
            "slices": scene.grid.shape[dim],
            "shape": list(scene.grid.shape),
            "spacing": [round(s, 4) for s in spacing],
            "device": trial.device,
            "seconds": round(seconds, 4),
            "components": clock.as_json(),
            "tracked": trial.tracked,
            "encoded": trial.encoded,
            "decided": trial.decided,
        }
        if configuration.scope is Scope.VOLUME:
            along = scene.grid.dim_of(configuration.settings.axis)
            record["reach"] = asdict(reach(predicted, scene.truth, spacing, along))
        if rounds:
            record["wiped"] = sorted(trial.wiped)
            record["rounds"] = rounds
            steps = np.arange(len(rounds))
            record["auc"] = {
                name: round(float(trapezoid([r[name] for r in rounds], steps)), 6)
                for name in ("dice", "nsd_2mm")
            }
        viewed = configuration.key in self.recipe.viewed
        return Result(record, _view(scene, predicted, axial, dim) if viewed else None)

    def pipeline(self, model: str) -> Pipeline:
        """The engine with a model, loaded on first use."""
        if model not in self._pipelines:
            own = model == self.run_model
            loaded = load_predictor(
                self.recipe.model if own else model,
                self.recipe.checkpoint if own else None,
                self.recipe.device,
            )
            self._hold(model, loaded)
        return self._pipelines[model]

    def _hold(self, name: str, loaded: LoadedModel) -> None:
        batch = _GPU_BATCH if loaded.device.type == "cuda" else 1
        # every configuration tracks for itself, slice by slice: its times are compared (figure 4)
        inferer = PseudoVideoInferer(
            loaded.predictor, loaded.identity, self.bank, batch, rows=1, store=Store(max_bytes=0)
        )
        self._pipelines[name] = Pipeline(loaded, self.bank, inferer)


def device_name(device: torch.device) -> str:
    """A GPU's name, or the CPU and how many threads torch has there."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"{device.type} ({count} thread{'' if count == 1 else 's'})"


def reason_of(error: Exception) -> str:
    """One line on an `UNMEASURABLE` error."""
    if isinstance(error, BadInput):
        return str(error)
    return f"not enough memory ({' '.join(str(error).split())[:120] or type(error).__name__})"


@dataclass
class _Trial:
    """One sample under one configuration while it runs."""

    evaluator: Evaluator
    configuration: Configuration
    scene: Scene
    clock: ComponentClock
    prompts: PromptSet | None = None
    tracked: int = 0
    encoded: int = 0
    device: str | None = None

    def __post_init__(self) -> None:
        self.decided: list[str] = []
        self._corrected: set[int] = set()
        self._suggested: list[int] = []
        self.wiped: frozenset[int] = frozenset()

    def first_prompts(self) -> PromptSet:
        """What was painted or boxed, or clicks there."""
        painted = self.scene.prompts
        count = clicks(self.configuration.annotation)
        if count:
            clicked = tuple(
                click_prompt(p, count, lambda points, t=p: self._answer(points, t))
                for p in painted.prompts
            )
            painted = PromptSet(painted.grid, clicked)
        self.prompts = painted
        return painted

    def predict(self, prompts: PromptSet) -> np.ndarray:
        """(X, Y, Z) bool by the configuration's method."""
        self.prompts = prompts
        method = self.configuration.method
        if method is Method.SAM2:
            return self._propagate(self.scene.image, prompts)
        (axis,) = {p.axis for p in prompts.prompts}
        dim = prompts.grid.dim_of(axis)
        marked = [p.index for p in prompts.prompts]
        painted = np.zeros(prompts.grid.shape, dtype=bool)
        np.moveaxis(painted, dim, 0)[marked] = [p.mask for p in prompts.prompts]
        spacing, raw = prompts.grid.spacing, self.scene.raw
        if method is Method.INTERPOLATION:
            filled = interpolate_slices(painted, dim, marked, spacing=spacing)
        elif method is Method.THRESHOLD:
            filled = interpolate_and_threshold(raw, painted, dim, marked, spacing=spacing)
        else:
            filled = walk_randomly(raw, painted, dim, marked, spacing=spacing)
        np.moveaxis(filled, dim, 0)[sorted(self.wiped)] = False
        return filled

    def judge(self, predicted: np.ndarray) -> dict[str, float]:
        """What the challenge reports after every round."""
        truth, spacing = self.scene.truth, self.scene.grid.spacing
        return {
            "dice": round(overlap(predicted, truth)[0], 6),
            "nsd_2mm": round(surface_dice(predicted, truth, spacing), 6),
        }

    def correct(self, predicted: np.ndarray) -> bool:
        """Correct a slice; False if nothing is wrong.

        Who repaints a slice without the object wipes it; one on which nothing was found either
        is looked at, and left as it is.
        """
        grid, truth = self.scene.grid, self.scene.truth
        configuration = self.configuration
        axis = configuration.settings.axis
        dim = grid.dim_of(axis)
        wrong = np.moveaxis(predicted != truth, dim, 0).sum((1, 2))
        if not wrong.any():
            return False
        chosen = following(
            configuration.choice,
            wrong=wrong,
            marked=sorted({p.index for p in self.prompts.select(axis=axis)}),
            corrected=self._corrected,
            suggested=self._suggested,
            seed=self.scene.seed,
        )
        if chosen is None:
            return True
        self._corrected.add(chosen)
        here, found = (np.take(m, chosen, axis=dim) for m in (truth, predicted))
        prompt: Prompt
        if configuration.correction == "mask":
            if not here.any():
                self.wiped |= {chosen} if found.any() else set()
                return True
            prompt = Mask(axis, chosen, 1, here)
            kept = [p for p in self.prompts.prompts if (p.axis, p.index) != (axis, chosen)]
            self.prompts = replace(self.prompts, prompts=(*kept, prompt))
            return True
        if (here == found).all():
            return True
        at, inside = next_click(here, found)
        one, none = np.asarray(at, dtype=float)[None], np.empty((0, 2))
        prompt = Points(axis, chosen, 1, one if inside else none, none if inside else one)
        self.prompts = self.prompts.merged([prompt])
        return True

    def _answer(self, points: Points, painted: Mask) -> np.ndarray:
        """(rows, columns) bool: what the model makes of clicks on one slice, alone."""
        grid = self.scene.grid
        dim = grid.dim_of(painted.axis)
        shape, shift = list(grid.shape), np.eye(4)
        shape[dim], shift[dim, 3] = 1, painted.index
        single = Grid(tuple(shape), grid.affine @ shift)
        image = np.take(self.scene.image, [painted.index], axis=dim)
        predicted = self._propagate(image, PromptSet(single, (replace(points, index=0),)))
        return np.take(predicted, 0, axis=dim)

    def _propagate(self, image: np.ndarray, prompts: PromptSet) -> np.ndarray:
        """(X, Y, Z) bool by the served engine; a scene that is cropped already is seen whole."""
        grid, settings = prompts.grid, self.configuration.settings
        pipeline = self.evaluator.pipeline(self.configuration.model or self.evaluator.run_model)
        shown, crop = replace(_AS_IT_IS, clahe=settings.window.clahe), None
        if self.configuration.scope is Scope.OBJECT:
            shown = _AS_IT_IS  # the scene is equalised already
            crop = grid.bounds
        case = Case(self.scene.path, Windowed(Volume(image, grid), shown), grid)
        with self.clock.watching(pipeline.model.predictor):
            outcome = pipeline.carry_out(
                case, Asked(prompts, settings, crop=crop, wiped=self._wiped())
            )
        report = outcome.report
        self.device = device_name(pipeline.model.device)
        self._suggested = [s.index for s in report.next_slices]
        self.tracked += sum(r.source is not Source.PROMPT for r in report.slices)
        self.encoded += report.encoded_slices
        self.decided += [d for d in report.decided if d not in self.decided]
        return outcome.labels == 1

    def _wiped(self) -> tuple[Wiped, ...]:
        axis = self.configuration.settings.axis
        return (Wiped(1, axis, self.wiped),) if self.wiped else ()


def _view(
    scene: Scene, predicted: np.ndarray, painted: Sequence[int], dim: int
) -> dict[str, np.ndarray]:
    """A few unpainted slices: evenly spaced ones and the one with the most wrong voxels."""
    count = scene.grid.shape[dim]
    free = np.setdiff1d(np.arange(count), painted)
    free = free if len(free) else np.arange(count)
    even = free[np.linspace(0, len(free) - 1, _VIEWED_SLICES + 2).astype(int)[1:-1]]
    wrong = np.moveaxis(predicted != scene.truth, dim, 0).sum((1, 2))
    shown = np.array(sorted({int(free[np.argmax(wrong[free])]), *map(int, even)}))

    def cut(volume: np.ndarray) -> np.ndarray:
        return np.moveaxis(volume, dim, 0)[shown]

    plane = [s for d, s in enumerate(scene.grid.spacing) if d != dim]
    return {
        "slices": shown,
        "image": np.round(255 * cut(scene.image)).astype(np.uint8),
        "truth": cut(scene.truth),
        "predicted": cut(predicted),
        "spacing": np.array(plane),
    }

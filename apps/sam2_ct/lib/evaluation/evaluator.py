"""One sample under many configurations: prompts in, scores out.

Holds the models and one feature bank; a slice is encoded once for all configurations that share
window and checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import trapezoid

from lib.engine.pipeline import Pipeline
from lib.errors import BadInput
from lib.evaluation.configurations import Configuration, Scope
from lib.evaluation.metrics import as_record, reach, score
from lib.evaluation.protocol import Scene, SceneMaker
from lib.evaluation.split import Sample
from lib.evaluation.timing import ComponentClock
from lib.evaluation.trial import Trial
from lib.geometry import Axis
from lib.models.build import LoadedModel, load_predictor
from lib.propagation.features import DEFAULT_CACHE_BYTES, FeatureBank
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.kept import Store

#: What keeps one sample from being measured and says nothing about the others.
UNMEASURABLE = (BadInput, MemoryError, torch.OutOfMemoryError)

_GPU_BATCH = 8
_VIEWED_SLICES = 4


@dataclass(frozen=True)
class Equipment:
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
        equipment: what to make it of.
        run_model: the name by which configurations call the equipment's model.
        loaded: the equipment's model, if it is loaded already.
    """

    def __init__(
        self, equipment: Equipment, run_model: str, loaded: LoadedModel | None = None
    ) -> None:
        self.equipment = equipment
        self.run_model = run_model
        self.scenes = SceneMaker(equipment.root)
        self.bank = FeatureBank(equipment.cache_bytes)
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
        engine = partial(self.pipeline, configuration.model or self.run_model)
        trial = Trial(engine, configuration, scene, clock)
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
        viewed = configuration.key in self.equipment.viewed
        return Result(record, _view(scene, predicted, axial, dim) if viewed else None)

    def pipeline(self, model: str) -> Pipeline:
        """The engine with a model, loaded on first use."""
        if model not in self._pipelines:
            own = model == self.run_model
            loaded = load_predictor(
                self.equipment.model if own else model,
                self.equipment.checkpoint if own else None,
                self.equipment.device,
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


def reason_of(error: Exception) -> str:
    """One line on an `UNMEASURABLE` error."""
    if isinstance(error, BadInput):
        return str(error)
    return f"not enough memory ({' '.join(str(error).split())[:120] or type(error).__name__})"


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

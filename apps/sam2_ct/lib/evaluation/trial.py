"""A simulated annotator at one sample: marks slices, looks at the result, corrects it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from lib.engine.pipeline import Case, Pipeline
from lib.engine.recipe import Recipe
from lib.evaluation.baselines import interpolate_and_threshold, interpolate_slices, walk_randomly
from lib.evaluation.configurations import Configuration, Method, Scope, clicks
from lib.evaluation.following import following
from lib.evaluation.metrics import overlap, surface_dice
from lib.evaluation.protocol import Scene
from lib.evaluation.timing import ComponentClock
from lib.geometry import Grid
from lib.prompts.simulated import click_prompt, next_click
from lib.prompts.types import Mask, Points, Prompt, PromptSet
from lib.prompts.wiped import Wiped
from lib.propagation.records import Source
from lib.transforms.volume import Volume
from lib.transforms.window import Window
from lib.transforms.windowed import Windowed

_AS_IT_IS = Window(level=0.5, width=1.0)  # scenes are windowed already


@dataclass
class Trial:
    """One sample under one configuration while it runs.

    Attributes:
        engine: with the configuration's model, loaded when it is first asked for.
        configuration: which slices are marked, how, and what is made of them.
        scene: the sample.
        clock: is told the seconds of the network's parts.
        prompts: what is marked so far; None: nothing.
        tracked: slices tracked for it.
        encoded: slices that went through the image encoder for it.
        device: where the network ran; None: nowhere.
        decided: what the engine decided, a sentence each.
        wiped: slices that the annotator emptied.
    """

    engine: Callable[[], Pipeline]
    configuration: Configuration
    scene: Scene
    clock: ComponentClock
    prompts: PromptSet | None = None
    tracked: int = 0
    encoded: int = 0
    device: str | None = None
    decided: list[str] = field(default_factory=list)
    wiped: frozenset[int] = frozenset()
    _corrected: set[int] = field(default_factory=set)
    _suggested: list[int] = field(default_factory=list)

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
        pipeline = self.engine()
        shown, crop = replace(_AS_IT_IS, clahe=settings.window.clahe), None
        if self.configuration.scope is Scope.OBJECT:
            shown = _AS_IT_IS  # the scene is equalised already
            crop = grid.bounds
        case = Case(self.scene.path, Windowed(Volume(image, grid), shown), grid)
        with self.clock.watching(pipeline.model.predictor):
            outcome = pipeline.carry_out(
                case, Recipe(prompts, settings, crop=crop, wiped=self._wiped())
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


def device_name(device: torch.device) -> str:
    """A GPU's name, or the CPU and how many threads torch has there."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"{device.type} ({count} thread{'' if count == 1 else 's'})"

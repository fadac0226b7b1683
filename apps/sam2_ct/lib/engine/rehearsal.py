"""What a server does before its first request, so that nothing is compiled in one.

Small volumes of noise go through the engine as requests do, so that every part of the network sees
the shapes that requests will bring, for each size of the input that a crop may lead to. Only memory
attention has more of them than such volumes show, one for each pair of numbers of memories and
pointers: these are read off the policy's plans, for prompts at every distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from lib.geometry import Axis, Bounds, Grid
from lib.models.build import LoadedModel
from lib.prompts.types import Mask, Points, PromptSet
from lib.propagation.extent import Extent, ExtentRule
from lib.propagation.features import FeatureBank
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.input_size import MASK_STRIDE, InputSize
from lib.propagation.kept import Store
from lib.propagation.looking import look_closer
from lib.propagation.memory import Assembled, shape_of
from lib.propagation.policy import MAX_POINTERS, MemoryPolicy
from lib.propagation.predictor import PolicyVideoPredictor
from lib.propagation.settings import Propagation, PropagationSettings
from lib.propagation.sizes import resized
from lib.propagation.stretches import Setting, stretches

_STRETCH = MAX_POINTERS + 4  # slices after which a memory holds as much as it ever will
_PROMPTS = 4  # that one object is marked on, at most
_SLICES = 9
_SIDE = 64  # voxels


def rehearse(
    model: LoadedModel, settings: PropagationSettings, objects: Sequence[int] = (1,)
) -> None:
    """Compile the parts of a model for requests with these settings.

    Args:
        model: nobody else may use it meanwhile; nothing happens if no part of it is compiled.
        settings: those that requests have unless they say otherwise.
        objects: how many are marked at once.
    """
    if model.compiled is None:
        return
    grid, volume = _noise(_SIDE, _SLICES)
    with model.compiled.rehearsal():
        for size in sorted(_sizes(model.image_size, settings)):
            own = size == model.image_size
            network = model.predictor if own else resized(model.predictor, size)
            inferer = PseudoVideoInferer(
                network, model.identity, FeatureBank(), store=Store(max_bytes=0)
            )
            # `whole`: in noise an object ends at once
            here = replace(
                settings, extent=Extent(ExtentRule.WHOLE), axis=Axis.AXIAL, input=InputSize.OWN
            )
            for count in objects:
                for painted in ((_SLICES // 2,), (0, _SLICES // 2, _SLICES - 1)):
                    inferer(volume, _squares(grid, painted, count), here)
                _recall_everything(network, inferer.rows_of(here, count), here)
        wide = model.image_size // MASK_STRIDE + 1  # a click on less is not looked at closer
        grid, volume = _noise(wide, 1)
        click = Points(Axis.AXIAL, 0, 1, np.full((1, 2), wide / 2), np.zeros((0, 2)))
        see = partial(_part, volume)
        look_closer(model.predictor, model.identity, see, PromptSet(grid, (click,)))
    model.compiled.count()


def _noise(side: int, slices: int) -> tuple[Grid, NDArray[np.float32]]:
    shape = side, side, slices
    return Grid(shape, np.eye(4)), np.random.default_rng(0).random(shape, dtype=np.float32)


def _sizes(own: int, settings: PropagationSettings) -> set[int]:
    """Sizes of the input that small and large crops with one or several painted slices lead to."""
    return {
        settings.input.side(own, voxels, painted)
        for voxels in (_SIDE, own // MASK_STRIDE + 1)
        for painted in (1, _PROMPTS)
    }


def plan_shapes(policy: MemoryPolicy, *, both_directions: bool) -> set[tuple[int, int]]:
    """(memories, pointers) of every plan that prompts at equal distances lead to."""
    found: set[tuple[int, int]] = set()
    for gap in range(2, _STRETCH + 2):
        for prompts in range(1, _PROMPTS + 1):
            prompted = tuple(_STRETCH + gap * n for n in range(prompts))
            length = prompted[-1] + _STRETCH + 1
            setting = Setting(prompted, length)
            for reverse in (False, True):
                start = None if both_directions or not reverse else prompted[0]
                limit = 0 if reverse else length - 1
                for stretch in stretches(
                    prompted,
                    limit,
                    reverse=reverse,
                    start=start,
                    independent=policy.independent,
                ):
                    tracked: dict[int, float] = {}
                    for t in stretch.slices:
                        query = setting.query(t, reverse, tracked)
                        found.add(shape_of(policy.plan(query)))
                        tracked[t] = 0.0
    return found


@torch.inference_mode()
def _recall_everything(
    network: PolicyVideoPredictor, rows: int, settings: PropagationSettings
) -> None:
    """Memory attention with as many memories and pointers as there may be, for so many rows."""
    side = network.image_size // network.backbone_stride
    pieces = network.hidden_dim // network.mem_dim
    top, position = (
        torch.zeros(n, network.hidden_dim, side, side, device=network.device) for n in (rows, 1)
    )
    both = settings.propagation is Propagation.FORWARD_BACKWARD
    # the largest first: the others find room in its memory
    shapes = sorted(plan_shapes(settings.policy, both_directions=both), reverse=True)
    for memories, pointers in shapes:
        tokens = memories * side**2 + pieces * pointers
        memory = torch.zeros(tokens, rows, network.mem_dim, device=network.device)
        network.recall(top, position, Assembled(memory, memory, pieces * pointers))


def _part(volume: NDArray[np.float32], bounds: Bounds, _axis: Axis) -> NDArray[np.float32]:
    return volume[tuple(slice(a, b) for a, b in zip(*bounds, strict=True))]


def _squares(grid: Grid, slices: Sequence[int], objects: int) -> PromptSet:
    """As many squares beside each other on each slice."""
    masks = []
    rows, columns, _ = grid.shape
    width = columns // (objects + 1)
    for t in slices:
        for n in range(objects):
            mask = np.zeros((rows, columns), dtype=bool)
            mask[rows // 4 : rows // 2, n * width : n * width + max(2, width // 2)] = True
            masks.append(Mask(Axis.AXIAL, t, n + 1, mask))
    return PromptSet(grid, tuple(masks))

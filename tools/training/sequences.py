"""Cutting training sequences out of labelled volumes, the way the engine cuts its input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from lib.propagation.video import IMAGE_MEAN, IMAGE_STD
from tools.training.curriculum import CURRICULUM, Phase, phase_at
from tools.training.timeline import Timeline, draw_timeline

MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
FEWEST_SLICES = 6
FEWEST_VOXELS = 40
# Share of the sequences past an end that have another object to run into there.
NEIGHBOURED = 0.7


@dataclass(frozen=True)
class Volume:
    """A labelled volume and the boxes of its objects.

    Attributes:
        hu: (X, Y, Z) int16.
        labels: (X, Y, Z) uint8.
        spacing: (3,) mm.
        boxes: label → box, as slices.
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    spacing: NDArray[np.float64]
    boxes: dict[int, tuple[slice, slice, slice]]

    @staticmethod
    def load(path: Path) -> Volume:
        """From an .npz with ``hu``, ``labels`` and ``spacing``."""
        with np.load(path) as data:
            hu, labels, spacing = data["hu"], data["labels"], data["spacing"]
        counts = np.bincount(labels.ravel(), minlength=256)
        boxes = {
            k + 1: box
            for k, box in enumerate(find_objects(labels))
            if box is not None and counts[k + 1] >= FEWEST_VOXELS
        }
        return Volume(hu, labels, spacing, boxes)


@dataclass(frozen=True)
class Batch:
    """What one training step sees; F frames in the order of ``timeline.frames``.

    Attributes:
        images: (F, G, 3, S, S) float32, normalised.
        masks: (F, B, 1, S, S) float32, 0 or 1; B / G objects of the first crop, then of the next.
        timeline: shared by the batch.
        prompt: "mask", "points" or "box".
    """

    images: torch.Tensor
    masks: torch.Tensor
    timeline: Timeline
    prompt: str


def intensity(rng: np.random.Generator, hu: torch.Tensor) -> torch.Tensor:
    """HU → [0, 1]: mostly the bone window, else a random one or the range of the data."""
    draw = rng.random()
    low, high = -500.0, 1300.0
    if draw < 0.15:
        level, width = rng.uniform(0, 500), np.exp(rng.uniform(np.log(300), np.log(3000)))
        low, high = level - width / 2, level + width / 2
    elif draw < 0.25:
        low, high = float(hu.min()), float(hu.max()) + 1
    out = ((hu - low) / (high - low)).clamp(0, 1)
    if rng.random() < 0.4:
        out = out ** float(np.exp(rng.normal(0, 0.25)))
        out = (out * rng.uniform(0.8, 1.2) + rng.uniform(-0.1, 0.1)).clamp(0, 1)
    if rng.random() < 0.3:
        seed = int(rng.integers(2**31))
        noise = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed))
        out = (out + noise * rng.uniform(0, 0.06)).clamp(0, 1)
    return out


def crop_box(
    rng: np.random.Generator, mask: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> tuple[int, int, int, int]:
    """Rows and columns (r0, r1, c0, c1) of a jittered crop around a (H, W) ``mask``."""
    wide = rng.uniform(1.3, 3.0) if rng.random() < 0.15 else 1.0
    out: list[int] = []
    for axis in range(2):
        there = np.flatnonzero(mask.any(axis=1 - axis))
        first, last = int(there[0]), int(there[-1]) + 1
        size = last - first
        margin = max(0.25 * size, 16.0 / spacing[axis]) * wide * rng.uniform(0.7, 1.4, 2)
        if wide > 1:
            margin = margin + (wide - 1) * size / 2
        margin = np.maximum(margin, (9 - size) / 2)
        out += [max(0, int(first - margin[0])), min(mask.shape[axis], int(last + margin[1] + 1))]
    return out[0], out[1], out[2], out[3]


def square(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: NDArray[np.float64]
) -> tuple[int, int]:
    """Rows and columns to append so that (rows, columns) are square in mm, as in the engine.

    One time in five the picture is left stretched.
    """
    if rng.random() < 0.2:
        return 0, 0
    side = max(n * s for n, s in zip(shape, spacing, strict=True))
    bottom, right = (max(0, round(side / s) - n) for n, s in zip(shape, spacing, strict=True))
    return bottom, right


def place(
    rng: np.random.Generator, volume: Volume, timeline: Timeline, axis: int
) -> tuple[int, NDArray[np.float64]] | None:
    """Which object a timeline shows, and at which (F,) slices along ``axis``, in fractions.

    Either way round, so that forward sequences teach both passes. Only objects beyond whose end
    the volume goes on as far as the timeline does; None if there is none.
    """
    frames = np.array(timeline.frames, dtype=float)
    found = []
    for label, box in volume.boxes.items():
        first, last = box[axis].start, box[axis].stop - 1
        if last - first + 1 < FEWEST_SLICES:
            continue
        step = (last - first) / max(1, timeline.length - 1)
        for depth in (first + frames * step, last - frames * step):
            if depth.min() > -0.5 and depth.max() < volume.hu.shape[axis] - 0.5:
                found.append((label, depth))
    return found[int(rng.integers(len(found)))] if found else None


def cut(
    rng: np.random.Generator, volume: Volume, timeline: Timeline, size: int, objects: int
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """One crop along a random axis, with masks of several objects in it.

    The crop and the slices are those of one random object; the others are neighbours that lie in
    them. Equal pictures with unequal masks teach to follow the prompt, not the brightest thing.

    Returns:
        (F, S, S) image in [0, 1] and (F, K, S, S) masks of K = ``objects`` objects (repeated if
        there are fewer), or None if the draw does not work out.
    """
    axis = 2 if rng.random() < 0.7 else int(rng.integers(0, 2))
    hu, labels = np.moveaxis(volume.hu, axis, 0), np.moveaxis(volume.labels, axis, 0)
    placed = place(rng, volume, timeline, axis)
    if placed is None:
        return None
    label, depth = placed
    first, last = volume.boxes[label][axis].start, volume.boxes[label][axis].stop - 1
    prompted = len(timeline.prompted)
    if rng.random() < 0.5:  # a whole box as in evaluation, or only what is prompted
        seen = labels[first : last + 1] == label
    else:
        seen = labels[np.clip(np.round(depth[:prompted]), first, last).astype(int)] == label
    seen = seen.any(axis=0)
    if not seen.any():
        return None
    r0, r1, c0, c1 = crop_box(rng, seen, np.delete(volume.spacing, axis))
    below = np.clip(np.floor(depth), 0, len(hu) - 1).astype(int)
    above = np.clip(below + 1, 0, len(hu) - 1)
    share = np.clip(depth - below, 0, 1)
    if last - first + 1 > timeline.length and rng.random() < 0.7:
        share = np.round(share)  # a real scan has its slices; it does not mix them
    w = share[:, None, None].astype(np.float32)

    picture = hu[below, r0:r1, c0:c1] * (1 - w) + hu[above, r0:r1, c0:c1] * w
    lower, upper = labels[below, r0:r1, c0:c1], labels[above, r0:r1, c0:c1]

    def mask_of(number: int) -> NDArray[np.float32]:
        return (lower == number) * (1 - w) + (upper == number) * w

    masks = [mask_of(label)]
    if not (masks[0][:prompted] >= 0.5).any(axis=(1, 2)).all():
        return None
    beyond = np.array(timeline.frames) >= timeline.length
    alike = lower[beyond]
    if beyond.any() and rng.random() < NEIGHBOURED and not ((alike > 0) & (alike != label)).any():
        return None
    present = np.bincount(lower[:prompted].ravel(), minlength=256)
    others = [k for k in volume.boxes if k != label and present[k] >= 6]
    rng.shuffle(others)
    for other in others[: objects - 1]:
        mask = mask_of(other)
        if (mask[:prompted] >= 0.5).any():
            masks.append(mask)
    masks += [masks[k % len(masks)] for k in range(objects - len(masks))]

    image = intensity(rng, torch.from_numpy(picture))
    target = torch.from_numpy(np.stack(masks, axis=1).astype(np.float32))
    bottom, right = square(rng, image.shape[1:], np.delete(volume.spacing, axis))
    image, target = F.pad(image, (0, right, 0, bottom)), F.pad(target, (0, right, 0, bottom))
    both = torch.cat([image[:, None], target], dim=1)
    both = F.interpolate(both, (size, size), mode="bilinear", antialias=True)
    both = torch.rot90(both, int(rng.integers(4)), (2, 3))
    if rng.random() < 0.5:
        both = both.flip(3)
    return both[:, 0].clamp(0, 1), (both[:, 1:] >= 0.5).float()


class Sequences:
    """Step number → `Batch`, or one of ``processes`` parts of it that share its timeline.

    What comes depends on the seed, the step, ``rank`` and ``processes`` only.
    """

    def __init__(
        self,
        paths: list[Path],
        seed: int,
        curriculum: tuple[Phase, ...] = CURRICULUM,
        *,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.rank, self.processes = rank, processes
        self.paths = paths
        self.seed = seed
        self.curriculum = curriculum
        self.cache: dict[Path, Volume] = {}

    def __len__(self) -> int:
        return sum(phase.steps for phase in self.curriculum)

    def volume(self, number: int) -> Volume:
        """The volume of that number, kept in memory."""
        path = self.paths[number]
        if path not in self.cache:
            self.cache[path] = Volume.load(path)
        return self.cache[path]

    def __getitem__(self, step: int) -> Batch:
        phase, _ = phase_at(step, self.curriculum)
        rng = np.random.default_rng([self.seed, step])
        timeline = draw_timeline(rng, phase)
        prompt = "mask" if rng.random() < phase.masks else str(rng.choice(["points", "box"]))
        rng = np.random.default_rng([self.seed, step, self.rank])
        pairs = []
        while len(pairs) < max(1, phase.batch // phase.objects // self.processes):
            volume = self.volume(int(rng.integers(len(self.paths))))
            pair = cut(rng, volume, timeline, phase.image_size, phase.objects)
            if pair is not None:
                pairs.append(pair)
        images = torch.stack([p[0] for p in pairs], dim=1)[:, :, None]
        masks = torch.stack([p[1] for p in pairs], dim=1).flatten(1, 2)[:, :, None]
        return Batch((images - MEAN) / STD, masks, timeline, prompt)

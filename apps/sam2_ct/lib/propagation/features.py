"""Slices are encoded once: a bounded store of image features shared by everything that tracks."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from lib.propagation.bounded import Bounded
from lib.propagation.lanes import Ready, lane_of
from lib.propagation.predictor import Sam2Parts
from lib.propagation.video import PseudoVideo

DEFAULT_CACHE_BYTES = 4 << 30
_POSITION = "position"


class Shelf(Protocol):
    """Where tensors outlive the process, by name."""

    def get(self, name: str) -> dict[str, torch.Tensor] | None:
        """The tensors of that name, or None if they are not there."""

    def put(self, name: str, tensors: dict[str, torch.Tensor]) -> None:
        """Keep tensors."""


@dataclass(frozen=True)
class SliceFeatures:
    """What SAM 2's tracker takes of an encoded slice.

    Attributes:
        levels: three of (1, C, h, w), finest first.
        position: (1, C, h, w) positional encoding of the coarsest level.
        ready: when a GPU has computed them; None: it has.
    """

    levels: tuple[torch.Tensor, ...]
    position: torch.Tensor
    ready: Ready | None = None

    @property
    def fine(self) -> tuple[torch.Tensor, ...]:
        """The levels that only the decoder reads."""
        return self.levels[:-1]

    @property
    def top(self) -> torch.Tensor:
        """The coarsest level, which memory works on."""
        return self.levels[-1]

    @property
    def num_bytes(self) -> int:
        """Bytes held; the positional encoding is one copy for all slices."""
        return sum(t.numel() * t.element_size() for t in self.levels)

    def on(self, device: torch.device) -> SliceFeatures:
        """The same on a device, the coarsest level in float32: sums are gathered on it."""
        if self.ready is not None:
            self.ready.join((*self.levels, self.position))
        fine = (level.to(device) for level in self.fine)
        top = self.top.to(device, torch.float32)
        return SliceFeatures((*fine, top), self.position.to(device))


class FeatureBank:
    """Features by (video, slice), least recently used first out, never above `max_bytes`.

    The slice last put is held even if it alone is larger: all objects on it still share it.
    One bank serves all requests of a process; it is safe to use from several threads.

    Args:
        max_bytes: bound in memory.
        disk: where features outlive the process; None: nowhere.
    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES, disk: Shelf | None = None) -> None:
        self.disk = disk
        self._held = Bounded[tuple[str, int], SliceFeatures](max_bytes, keep_newest=True)

    @property
    def max_bytes(self) -> int:
        """Bound in memory."""
        return self._held.max_bytes

    @property
    def num_bytes(self) -> int:
        """Bytes of features held now."""
        return self._held.num_bytes

    def get(self, video: str, t: int) -> SliceFeatures | None:
        """The features of slice `t`, or None if they are not held."""
        features = self._held.get((video, t))
        if features is None and self.disk is not None:
            features = self._from_disk(self.disk, video, t)
            if features is not None:
                self._held.put((video, t), features)
        return features

    def put(self, video: str, t: int, features: SliceFeatures) -> None:
        """Hold the features of a slice; the oldest make room."""
        self._held.put((video, t), features)
        if self.disk is not None:
            levels = {str(n): level for n, level in enumerate(features.levels)}
            self.disk.put(f"{video}-{t}", levels | {_POSITION: features.position})

    def _from_disk(self, disk: Shelf, video: str, t: int) -> SliceFeatures | None:
        found = disk.get(f"{video}-{t}")
        if found is None:
            return None
        position = found.pop(_POSITION)
        return SliceFeatures(tuple(found[str(n)] for n in range(len(found))), position)

    def clear(self) -> None:
        """Forget everything in memory."""
        self._held.clear()


class SliceEncoder:
    """Encodes the slices of one video lazily, in batches, through a bank.

    Args:
        predictor: a SAM 2 model in evaluation mode.
        video: where slices come from.
        bank: where features go.
        checkpoint: identity of the weights; part of the key, like the volume's content.
        batch: slices per call of the encoder. Batches lie on a fixed raster, so that features do
            not depend on which slice was asked for first.

    Attributes:
        lane: to the network's device.
        encoded: slices that went through the encoder.
        seconds: spent on them; on a GPU, on giving them to it.
        key: identity of what is encoded.
    """

    def __init__(
        self,
        predictor: Sam2Parts,
        video: PseudoVideo,
        bank: FeatureBank,
        checkpoint: str,
        batch: int = 1,
    ) -> None:
        self.predictor = predictor
        self.video = video
        self.bank = bank
        self.batch = batch
        self.lane = lane_of(predictor.device)
        self.lane.begin()
        self.encoded = 0
        self.seconds = 0.0
        self.key = _signature(video, checkpoint, batch)
        self._position: torch.Tensor | None = None
        self._ahead: set[int] = set()

    @torch.inference_mode()
    def __call__(self, t: int) -> SliceFeatures:
        """Features of slice `t`."""
        held = self.bank.get(self.key, t) or self._encode(t)
        return held.on(self.predictor.device)

    @torch.inference_mode()
    def ahead(self, t: int) -> None:
        """Slice `t` will be asked for: a GPU encodes it beside its other work."""
        first = t - t % self.batch
        if self.lane.streams and first not in self._ahead:
            self._ahead.add(first)
            if self.bank.get(self.key, t) is None:
                self._encode(t)

    def _encode(self, t: int) -> SliceFeatures:
        start = time.perf_counter()
        with self.lane.ahead():
            wanted = self._encode_batch(t)
        self.seconds += time.perf_counter() - start
        return wanted

    def _encode_batch(self, t: int) -> SliceFeatures:
        first = t - t % self.batch
        slices = range(first, min(first + self.batch, len(self.video)))
        self._ahead.add(first)
        out = self.predictor.forward_image(self._images(slices))
        self.encoded += len(slices)
        if self._position is None:
            self._position = out["vision_pos_enc"][-1][:1].clone()
        wanted: SliceFeatures | None = None
        for n, s in enumerate(slices):
            levels = tuple(level[n : n + 1].clone() for level in out["backbone_fpn"])
            features = SliceFeatures(levels, self._position, self.lane.ready())
            self.bank.put(self.key, s, features)
            wanted = features if s == t else wanted
        assert wanted is not None  # the batch is the one around `t`
        return wanted

    def _images(self, slices: range) -> torch.Tensor:
        """(n, 3, S, S) on the device; resized there if it is a GPU, always a full batch."""
        if not self.lane.streams:
            return self.lane.upload([self.video.image(s) for s in slices])
        frames = [self.video.frame(s) for s in slices]
        frames += frames[-1:] * (self.batch - len(frames))
        return self.video.images(self.lane.upload(frames))


def _signature(video: PseudoVideo, checkpoint: str, batch: int) -> str:
    """Identity of the features: voxels (window and crop included), geometry, axis, weights."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.ascontiguousarray(video.volume).data)
    spacing = [round(s, 6) for s in video.grid.spacing]
    identity = (video.grid.shape, spacing, video.axis, video.image_size, checkpoint, batch)
    digest.update(repr(identity).encode())
    return digest.hexdigest()

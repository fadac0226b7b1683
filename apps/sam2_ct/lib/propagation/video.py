"""A volume seen as a film: slice = frame.

A frame is shown upright (rows run downwards against the second in-plane dimension, columns along
the first) and padded to a square in millimetres, so that anisotropic voxels keep their shape.
Floating point throughout: no JPEG, no 8 bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lib.geometry import Axis, Grid
from lib.prompts.types import Box, Mask, Points, in_plane_dims

# what SAM 2 was trained with (sam2.utils.misc.load_video_frames)
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
_MEAN, _STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))


@dataclass(frozen=True, eq=False)
class PseudoVideo:
    """Frames of a windowed volume along one axis.

    Shapes are worked out once: finding an axis in an affine costs as much as resizing a frame.

    Attributes:
        volume: (X, Y, Z) float32 in [0, 1].
        grid: its voxel grid, RAS.
        axis: the direction that plays time.
        image_size: side S of the network's square input, in pixels.
    """

    volume: NDArray[Any]
    grid: Grid
    axis: Axis
    image_size: int

    def __len__(self) -> int:
        return self.grid.shape[self.dim]

    @cached_property
    def dim(self) -> int:
        """Array dimension that plays time."""
        return self.grid.dim_of(self.axis)

    @cached_property
    def frame_shape(self) -> tuple[int, int]:
        """(rows, columns) of a frame in voxels."""
        columns, rows = (self.grid.shape[d] for d in in_plane_dims(self.grid, self.axis))
        return rows, columns

    @cached_property
    def canvas_shape(self) -> tuple[int, int]:
        """(rows, columns) in voxels of the padded frame, square in millimetres."""
        spacing = [self.grid.spacing[d] for d in reversed(in_plane_dims(self.grid, self.axis))]
        side = max(n * s for n, s in zip(self.frame_shape, spacing, strict=True))
        rows, columns = (
            max(n, round(side / s)) for n, s in zip(self.frame_shape, spacing, strict=True)
        )
        return rows, columns

    def image(self, t: int) -> torch.Tensor:
        """Frame `t` as the network takes it: (3, S, S) float32, normalised."""
        pixels = self._resize(self.frame(t)[None])[0].clamp(0, 1).expand(3, -1, -1)
        return (pixels - _MEAN) / _STD

    def frame(self, t: int) -> torch.Tensor:
        """Frame `t` in voxels, upright and square in millimetres: (1, rows, columns) float32."""
        return self._pad(np.moveaxis(self.volume, self.dim, 0)[t].T[::-1])

    def images(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (n, 1, rows, columns) → (n, 3, S, S), as `image`, on the device they are on."""
        pixels = self._resize(frames).clamp(0, 1)
        # numbers, not tensors, which would have to be brought to the device
        colours = zip(IMAGE_MEAN, IMAGE_STD, strict=True)
        return torch.cat([(pixels - mean) / std for mean, std in colours], dim=1)

    def mask_input(self, prompt: Mask) -> torch.Tensor:
        """The painted slice as a (1, 1, S, S) float32 mask of zeros and ones."""
        covered = self._resize(self._pad(prompt.mask.T[::-1])[None])[0]
        mask = covered >= 0.5
        if not mask.any():
            # thinner than half a pixel everywhere: keep what it touches rather than lose it
            mask = covered > 0
        return mask.float()[None]

    def point_inputs(self, prompts: list[Points | Box]) -> dict[str, torch.Tensor]:
        """Points and boxes of one slice: coordinates (1, P, 2) as (x, y) pixels, labels (1, P).

        Labels are SAM's: 2 and 3 the corners of a box, 1 foreground, 0 background; boxes first.
        """
        coordinates, labels = [], []
        for prompt in sorted(prompts, key=lambda p: isinstance(p, Points)):
            if isinstance(prompt, Box):
                corners = self._pixels(np.stack([prompt.low - 0.5, prompt.high + 0.5]))
                coordinates += [corners.min(0), corners.max(0)]
                labels += [2, 3]
            else:
                coordinates += [*self._pixels(prompt.foreground), *self._pixels(prompt.background)]
                labels += [1] * len(prompt.foreground) + [0] * len(prompt.background)
        return {
            "point_coords": torch.tensor(np.array(coordinates), dtype=torch.float32)[None],
            "point_labels": torch.tensor(labels, dtype=torch.int32)[None],
        }

    def slice_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask logits (n, 1, h, w) of the network → (n, first, second in-plane dimension)."""
        rows, columns = self.frame_shape
        canvas = F.interpolate(
            logits.float(), size=self.canvas_shape, mode="bilinear", align_corners=False
        )
        return canvas[:, 0, :rows, :columns].flip(1).transpose(1, 2)

    def _pad(self, frame: NDArray[Any]) -> torch.Tensor:
        rows, columns = frame.shape
        padded = np.zeros(self.canvas_shape, dtype=np.float32)
        padded[:rows, :columns] = frame
        return torch.from_numpy(padded)[None]

    def _resize(self, frames: torch.Tensor) -> torch.Tensor:
        """(n, 1, rows, columns) → (n, 1, S, S)."""
        side = self.image_size
        if frames.shape[-2:] == (side, side):
            return frames
        return F.interpolate(
            frames, size=(side, side), mode="bilinear", align_corners=False, antialias=True
        )

    def _pixels(self, coordinates: NDArray[Any]) -> NDArray[Any]:
        """(n, 2) in-plane voxels → (x, y) pixels, centre on centre (SAM adds the half pixel)."""
        coordinates = np.asarray(coordinates, dtype=np.float64).reshape(-1, 2)
        high, wide = self.canvas_shape
        x = (coordinates[:, 0] + 0.5) / wide * self.image_size - 0.5
        y = (self.frame_shape[0] - 1 - coordinates[:, 1] + 0.5) / high * self.image_size - 0.5
        return np.stack([x, y], axis=1)

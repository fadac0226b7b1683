"""Windows for MONAI's dictionaries."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from lib.transforms.window import Window


class ScaleWindowd(MapTransform):
    """`Window.apply` for (1, X, Y, Z) images in dictionaries.

    Adds to `warnings` when a window in HU meets a volume that has no negative value.

    Args:
        keys: of the images.
        window: grey values to [0, 1].
        axis_dim: the dimension slices are stacked in, for CLAHE.
    """

    def __init__(self, keys: KeysCollection, window: Window, axis_dim: int = 2) -> None:
        super().__init__(keys)
        self.window = window
        self.axis_dim = axis_dim

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        """Map the grey values of the images, and add to `warnings`."""
        out = dict(data)
        out["warnings"] = list(out.get("warnings", ()))
        for key in self.key_iterator(out):
            image: MetaTensor = out[key]
            volume = image[0].numpy()
            if self.window.is_ct and volume.min() >= 0:
                out["warnings"].append(
                    "the volume has no negative values, so it is probably not CT in Hounsfield "
                    f"units and the window {self.window.describe()} may not fit it: try mr or none"
                )
            scaled = torch.from_numpy(self.window.apply(volume, self.axis_dim)[None])
            out[key] = MetaTensor(
                scaled, meta=image.meta, applied_operations=image.applied_operations
            )
        return out

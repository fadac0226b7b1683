"""How many pixels the network sees of a slice. Imports no torch, so options parse fast."""

from __future__ import annotations

from lib.choice import Choice

# Masks come out at a quarter of the input's side. SAM 2 was trained at 1024; how much Meta's
# weights lose below 512 is not known, so nobody is given less without asking.
_MASK_STRIDE = 4
_LEAST = 512


class InputSize(Choice):
    """Side of the network's square input, pixels.

    `own` is what the checkpoint was made for. `auto` is that, or a smaller one whose masks still
    have a pixel for every voxel of the crop.
    """

    AUTO = "auto"
    OWN = "own"
    S1024 = "1024"
    S512 = "512"
    S256 = "256"

    def side(self, own: int, voxels: int) -> int:
        """The side for a network and a crop.

        Args:
            own: the side the network was made for.
            voxels: of the longer side of a slice of the crop, padded to a square.
        """
        if self is InputSize.OWN:
            return own
        if self is not InputSize.AUTO:
            return int(self.value)
        side = own
        while side // 2 >= max(_LEAST, _MASK_STRIDE * voxels):
            side //= 2
        return side

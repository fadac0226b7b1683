"""How many pixels the network sees of a slice. Imports no torch, so options parse fast."""

from __future__ import annotations

from lib.choice import Choice

#: Pixels of the input for one of the mask logits, along a side.
MASK_STRIDE = 4
# SAM 2 was trained at 1024; how much Meta's weights lose below 512 is not known, so nobody is given
# less without asking.
_LEAST = 512
# A network made for less than this sees more where outlines are given. On 16 real bones and 30
# objects of phantoms the built-in one (192) gains up to 0.016 Dice from two painted slices on, and
# loses 0.02 to 0.07 with one, with boxes and with clicks; 320 and 384 gain less.
_FINER = 256
_OUTLINES = 2


class InputSize(Choice):
    """Side of the network's square input, pixels.

    `own` is what the checkpoint was made for. `auto` is that, or a smaller one whose masks still
    have a pixel for every voxel of the crop; and more than a small network was made for, where
    every object has two painted slices.
    """

    AUTO = "auto"
    OWN = "own"
    S1024 = "1024"
    S512 = "512"
    S256 = "256"

    def side(self, own: int, voxels: int, painted: int) -> int:
        """The side for a network and a crop.

        Args:
            own: the side the network was made for.
            voxels: of the longer side of a slice of the crop, padded to a square.
            painted: fewest painted slices that an object has.
        """
        if self is InputSize.OWN:
            return own
        if self is not InputSize.AUTO:
            return int(self.value)
        if own < _FINER and painted >= _OUTLINES:
            return _FINER
        side = own
        while side // 2 >= max(_LEAST, MASK_STRIDE * voxels):
            side //= 2
        return side

"""How much the network is given at once: one stated rule for each kind of device and network.

Neither rule may depend on how many slices are prompted, because bits depend on the size of a batch
and what a correction finds among earlier work must be what it would have got itself.
"""

from __future__ import annotations

# A network that sees no more than this many pixels a side is small enough that calls, not sums,
# take much of its time on a CPU; one that sees 512² gains nothing from company.
_SMALL_SIDE = 256

# The built-in network at 192² on a CPU, per slice: encoder 7.3 ms alone, 5.5 as one of 4, 5.1 of 8;
# tracking 8.6 ms alone, 6.8 as one of 2, 5.8 of 4, 5.6 of 8 or 16. So 4, the smallest number that
# has nearly all of the gain. Those of a GPU are not measured.
_CPU_SLICES = 4
_CPU_ROWS = 4
_GPU_SLICES = 8
_GPU_ROWS = 8


def slices_at_once(device: str, image_size: int) -> int:
    """Slices per call of the image encoder.

    Args:
        device: type of the network's device.
        image_size: side of its input, pixels.
    """
    if device != "cpu":
        return _GPU_SLICES
    return _CPU_SLICES if image_size <= _SMALL_SIDE else 1


def rows_for(device: str, image_size: int, tracks: int) -> int:
    """Rows of a batch in lock-step.

    Args:
        device: type of the network's device.
        image_size: side of its input, pixels.
        tracks: how many tracks are usually under way; more rows would be padding.
    """
    if device != "cpu":
        return min(_GPU_ROWS, tracks)
    return min(_CPU_ROWS, tracks) if image_size <= _SMALL_SIDE else 1

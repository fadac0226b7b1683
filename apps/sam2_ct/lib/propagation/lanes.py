"""How work gets to a device and comes back: at once on a CPU; on a GPU without waiting for it.

A GPU works through what it was given while the loop in Python goes on. Whatever reads a number
back, or copies from memory that is not pinned, makes that loop wait until the GPU has caught up,
and the GPU idle until it is given more. So frames are uploaded from two pinned buffers in turn and
encoded in a stream of their own, ahead of tracking, and what the loop must know is read some slices
late. Only a policy that ranks slices by confidence (`gate`) reads each one as it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

_LAG = 8


@dataclass(frozen=True)
class Ready:
    """The moment on a GPU from which tensors hold what they are meant to."""

    event: torch.cuda.Event

    def join(self, tensors: Sequence[Tensor]) -> None:
        """The current stream goes on when they do; their memory is not given away before it."""
        here = torch.cuda.current_stream()
        here.wait_event(self.event)
        for tensor in tensors:
            tensor.record_stream(here)


class Lane:
    """A device that does what it is told at once.

    Attributes:
        lag: slices that may be tracked beyond the one whose numbers are read.
        streams: work is worth giving ahead.
    """

    lag = 0
    streams = False

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def begin(self) -> None:
        """What was given until now, such as weights, is done before what is given ahead."""

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Within it, work does not wait for what was given outside since `begin`."""
        yield

    def ready(self) -> Ready | None:
        """When everything given so far is done; None: it is."""
        return None

    def upload(self, frames: Sequence[Tensor]) -> Tensor:
        """Tensors of one shape as one on the device."""
        return torch.stack(list(frames)).to(self.device)

    def fetch(self, tensor: Tensor) -> Callable[[], list[list[float]]]:
        """The numbers of a (rows, columns) tensor, to be had later."""
        return tensor.tolist


class GpuLane(Lane):
    """A GPU."""

    lag = _LAG
    streams = True

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._stream = torch.cuda.Stream(device)
        self._buffers: list[tuple[Tensor, torch.cuda.Event] | None] = [None, None]

    def begin(self) -> None:
        """See `Lane`."""
        self._stream.wait_stream(torch.cuda.current_stream())

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """See `Lane`."""
        with torch.cuda.stream(self._stream):
            yield

    def ready(self) -> Ready:
        """See `Lane`; of the current stream."""
        event = torch.cuda.Event()
        event.record()
        return Ready(event)

    def upload(self, frames: Sequence[Tensor]) -> Tensor:
        """See `Lane`; the buffer before this one may still be on its way."""
        shape = (len(frames), *frames[0].shape)
        held = self._buffers.pop(0)
        if held is None or held[0].shape != shape:
            held = pinned(torch.empty(shape)), torch.cuda.Event()
        buffer, copied = held
        copied.synchronize()  # its last copy is two uploads old
        for row, frame in zip(buffer, frames, strict=True):
            row.copy_(frame)
        there = buffer.to(self.device, non_blocking=True)
        copied.record()
        self._buffers.append(held)
        return there

    def fetch(self, tensor: Tensor) -> Callable[[], list[list[float]]]:
        """See `Lane`."""
        here = tensor.to("cpu", non_blocking=True)  # into pinned memory
        event = self.ready().event

        def numbers() -> list[list[float]]:
            event.synchronize()
            return here.tolist()

        return numbers


@cache
def lane_of(device: torch.device) -> Lane:
    """The one lane of a device: what is compiled has one set of buffers, and one stream uses it."""
    return GpuLane(device) if device.type == "cuda" else Lane(device)


def put(tensor: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the CPU on a device, without waiting for the device."""
    if device.type != "cuda":
        return tensor.to(device)
    return pinned(tensor).to(device, non_blocking=True)


def pinned(tensor: Tensor) -> Tensor:
    """In memory that a GPU copies from by itself."""
    return tensor.pin_memory()

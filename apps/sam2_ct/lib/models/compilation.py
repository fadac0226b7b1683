"""Whether the network is compiled. Imports no torch, so options parse fast."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.choice import Choice

if TYPE_CHECKING:
    import torch

    from lib.models.precision import Numerics

# Triton, which torch's compiler writes kernels in, needs it
_LEAST_CAPABILITY = 7


class Compile(Choice):
    """What a user may ask for; `auto` compiles where there is something to gain, on a GPU."""

    AUTO = "auto"
    OFF = "off"


@dataclass(frozen=True)
class Compilation:
    """What was chosen.

    Attributes:
        is_on: parts of the network are compiled when a server starts.
        why_not: a sentence for the report, where a GPU would have been worth it; else empty.
    """

    is_on: bool = False
    why_not: str = ""


def choose_compilation(asked: Compile, device: torch.device, numerics: Numerics) -> Compilation:
    """What `asked` means on a device, for a network that computes as chosen.

    On a CPU nothing is compiled and nothing is said: compiled, SAM 2's encoder gains a fifth over
    ours there, for half a minute of compiling each shape.
    """
    if asked is Compile.OFF or device.type != "cuda":
        return Compilation()
    if numerics.is_exact:
        return Compilation(why_not="not compiled: precision fp32 keeps stock SAM 2's bits")
    import torch

    major, minor = torch.cuda.get_device_capability(device)
    if major < _LEAST_CAPABILITY:
        capability = f"this GPU's capability is {major}.{minor}, {_LEAST_CAPABILITY}.0 is needed"
        return Compilation(why_not=f"not compiled: {capability}")
    if importlib.util.find_spec("triton") is None:
        return Compilation(why_not="not compiled: Triton is not installed beside PyTorch")
    return Compilation(is_on=True)

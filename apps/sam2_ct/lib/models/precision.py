"""Which numbers the network computes with, and putting a predictor to work with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.choice import Choice
from lib.errors import BadInput

if TYPE_CHECKING:
    import torch

    from lib.propagation.predictor import PolicyVideoPredictor


class Precision(Choice):
    """What a user may ask for.

    `fp32` is stock SAM 2, bit for bit; `fp32-fast` the same numbers but for the order of sums, and
    on a GPU for TF32 (products of numbers with 10 bits); `fp16` is for GPUs that lack bfloat16.
    """

    AUTO = "auto"
    FP32 = "fp32"
    FP32_FAST = "fp32-fast"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True)
class Abilities:
    """What a device multiplies fast.

    Attributes:
        name: for the sentence to the user.
        bf16: bfloat16 matrix products have instructions of their own.
        fp16: float16 ones have.
    """

    name: str
    bf16: bool
    fp16: bool = False


@dataclass(frozen=True)
class Numerics:
    """What was chosen.

    Attributes:
        name: of the `Precision`.
        why: a clause for the report.
    """

    name: str
    why: str

    @property
    def is_exact(self) -> bool:
        """Computed as stock SAM 2 does, bit for bit."""
        return self.name == "fp32"

    @property
    def dtype(self) -> torch.dtype:
        """Of products and what lies between them."""
        import torch

        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.name, torch.float32)


# Width of SAM 2's networks. In half precision the built-in one, half as wide and trained on 128²,
# moves a voxel here and there: 0.005 of the Dice of a rib of a few hundred voxels
# (benchmarks/precision.py).
_WIDE = 256


def choose(asked: Precision, device: Abilities, width: int = _WIDE) -> Numerics:
    """What `asked` means on a device, for a network of some width.

    Raises:
        BadInput: a precision that would only be slow there.
    """
    fast = {Precision.BF16: device.bf16, Precision.FP16: device.fp16}
    if asked is Precision.AUTO:
        if width < _WIDE:
            return Numerics(Precision.FP32_FAST.value, "half precision moves voxels here")
        best = next((p for p, is_fast in fast.items() if is_fast), Precision.FP32_FAST)
        return Numerics(best.value, device.name)
    if not fast.get(asked, True):
        raise BadInput(
            f"precision {asked.value}: {device.name} has no instructions for it, use auto or fp32"
        )
    return Numerics(asked.value, "asked for")


def abilities(device: torch.device) -> Abilities:
    """What a device multiplies fast, as it says itself."""
    import torch

    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        # tensor cores: float16 since 7.0, bfloat16 since 8.0
        return Abilities(torch.cuda.get_device_name(device), bf16=major >= 8, fp16=major >= 7)
    if torch.cpu._is_amx_tile_supported():
        return Abilities("a processor with AMX", bf16=True)
    if torch.cpu._is_avx512_bf16_supported():
        return Abilities("a processor with AVX-512 bf16", bf16=True)
    return Abilities("this processor", bf16=False)


def put_to_work(predictor: PolicyVideoPredictor, numerics: Numerics) -> None:
    """Let a predictor, on its device and with its weights, compute as chosen.

    With fp32 it is left as it is.
    """
    import torch

    from lib.models.numerics.encoder import FastImageEncoder
    from lib.models.numerics.mask_decoder import FastMaskPrediction
    from lib.models.numerics.memory_attention import FastMemoryAttention
    from lib.models.numerics.memory_encoder import FastMemoryEncoder

    if numerics.is_exact:
        return
    if predictor.device.type == "cuda":
        # factors of float32 products are rounded to 10 bits: all of fp32-fast, and in half
        # precision what little stays in float32. A switch of the process, not of the network, so
        # it does not differ between precisions that one server mixes
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    decoder, dtype = predictor.sam_mask_decoder, numerics.dtype
    predictor.image_encoder = FastImageEncoder(
        predictor.image_encoder, (decoder.conv_s0, decoder.conv_s1), dtype
    )
    decoder.conv_s0, decoder.conv_s1 = torch.nn.Identity(), torch.nn.Identity()
    predictor.memory_attention = FastMemoryAttention(predictor.memory_attention, dtype)
    predictor.memory_encoder = FastMemoryEncoder(predictor.memory_encoder, dtype)
    decoder.predict_masks = FastMaskPrediction(decoder, dtype)
    predictor.exact = False

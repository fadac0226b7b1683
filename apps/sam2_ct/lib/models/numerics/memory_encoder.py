"""SAM 2's memory encoder, channels last."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.numerics.layers import Convolution, Dense, Norm, add_mlp


class _First:
    """A convolution to a few channels, the norm over them and GELU, channels first.

    With so few channels the norm is fast over whole maps, not over one pixel's channels.
    """

    def __init__(self, layer: nn.Conv2d, norm: nn.Module, dtype: torch.dtype) -> None:
        # the mean over channels, which the norm takes out, is taken out of the weights
        self._weight, self._bias = (
            (p.detach() - p.detach().mean(0)).to(dtype) for p in (layer.weight, layer.bias)
        )
        self._how = (layer.stride, layer.padding)
        self._scale, self._shift = (p.detach()[:, None, None] for p in (norm.weight, norm.bias))
        self._eps, self._dtype = norm.eps, dtype

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, 1) → (B, H', W', out)."""
        x = F.conv2d(x.permute(0, 3, 1, 2).contiguous(), self._weight, self._bias, *self._how)
        x = x.float()
        x = x * x.square().mean(1, keepdim=True).add_(self._eps).rsqrt_()
        x = F.gelu(torch.addcmul(self._shift, x, self._scale).to(self._dtype))
        return x.permute(0, 2, 3, 1)


class _Fuse:
    """`sam2.modeling.memory_encoder.CXBlock`; its scale is put into the last weights."""

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        self.local = Convolution(block.dwconv, dtype)
        self.norm, self.up = Norm(block.norm, dtype), Dense.of(block.pwconv1, dtype)
        scale = 1.0 if block.gamma is None else block.gamma.detach().double()
        weight, bias = block.pwconv2.weight.detach(), block.pwconv2.bias.detach()
        scaled = (weight.double().T * scale).T, bias.double() * scale
        self.down = Dense(*scaled, dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return add_mlp(x, self.norm, self.up, self.down, "gelu", of=self.local(x))


class FastMemoryEncoder(nn.Module):
    """Takes the place of a SAM 2 predictor's `memory_encoder`.

    Args:
        encoder: `sam2.modeling.memory_encoder.MemoryEncoder` with its weights.
        dtype: what it computes in.
    """

    def __init__(self, encoder: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.position_encoding = encoder.position_encoding
        self.dtype = dtype
        *steps, last = encoder.mask_downsampler.encoder
        self._first = _First(*steps[:2], dtype)
        self._steps = [
            (Convolution(conv, dtype), Norm(norm, dtype))
            for conv, norm in zip(steps[3::3], steps[4::3], strict=True)
        ]
        self._last = Dense.of(last, dtype)
        self._image = Dense.of(encoder.pix_feat_proj, dtype)
        self._fuse = [_Fuse(block, dtype) for block in encoder.fuser.layers]
        self._out = Dense.of(encoder.out_proj, dtype)

    def forward(
        self, pix_feat: torch.Tensor, masks: torch.Tensor, skip_mask_sigmoid: bool = False
    ) -> dict[str, object]:
        """(B, C, h, w) features and (B, 1, S, S) masks → memory (B, M, h, w).

        The positional encoding, which depends on the size alone, is left to `position_encoding`.
        """
        if not skip_mask_sigmoid:
            masks = torch.sigmoid(masks)
        x = self._first(masks.to(self.dtype).permute(0, 2, 3, 1))
        for convolve, norm in self._steps:
            x = F.gelu(norm(convolve(x)))
        x = self._image(pix_feat.permute(0, 2, 3, 1).to(self.dtype), plus=self._last(x))
        for fuse in self._fuse:
            x = fuse(x)
        return {
            "vision_features": self._out(x).permute(0, 3, 1, 2).float(),
            "vision_pos_enc": [],
        }

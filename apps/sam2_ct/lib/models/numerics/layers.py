"""Layers that the parts share, their weights laid out once as the device multiplies them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# What one step works on stays in a core's own cache (2 MB), and the allocator hands out the same
# pages again: fresh ones cost more than the arithmetic on them.
_CACHED_BYTES = 3 << 20


class Dense:
    """A linear layer's (or 1 × 1 convolution's) weights in the working precision.

    On a processor with oneDNN the weights are laid out once as its products want them, which
    `torch.nn.functional.linear` would do at every call; the operator is the one that torch's own
    compiler puts in place of a linear layer.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.detach().flatten(1).to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype)
        self._packed = None
        if (
            dtype in (torch.bfloat16, torch.float32)
            and weight.device.type == "cpu"
            and torch.backends.mkldnn.is_available()
        ):  # in float32, too: bias, activation and sum are then no passes of their own
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    @classmethod
    def of(cls, layer: torch.nn.Linear | torch.nn.Conv2d, dtype: torch.dtype) -> Dense:
        """From a layer of the network."""
        return cls(layer.weight, layer.bias, dtype)

    def __call__(
        self, x: torch.Tensor, activation: str = "none", plus: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(…, in) → (…, out); `activation` is none, relu or gelu; or what is added."""
        if plus is not None and (self._packed is None or plus.dtype is not x.dtype):
            return plus + self(x)  # a sum gathered in float32 is kept there
        if self._packed is None:
            out = F.linear(x, self.weight, self.bias)
            return out if activation == "none" else getattr(F, activation)(out)
        x, product = x.contiguous(), torch.ops.mkldnn._linear_pointwise
        if plus is not None:
            return product.binary(x, plus, self._packed, self.bias, "add")
        return product(x, self._packed, self.bias, activation, [], "none")


class Convolution:
    """A convolution on (B, C, H, W) that lies in memory as (B, H, W, C)."""

    def __init__(self, layer: torch.nn.Conv2d, dtype: torch.dtype) -> None:
        weight = layer.weight.detach().to(dtype)
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias = layer.bias.detach().to(dtype)
        self.how = (layer.stride, layer.padding, layer.dilation, layer.groups)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, in) → (B, H', W', out)."""
        return F.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, *self.how).permute(
            0, 2, 3, 1
        )


class Norm:
    """Layer normalisation over the last dimension.

    Args:
        layer: the network's.
        dtype: what comes out.
        of: what goes in; float32 where many small sums are gathered in it.
    """

    def __init__(
        self, layer: torch.nn.Module, dtype: torch.dtype, of: torch.dtype | None = None
    ) -> None:
        self.weight, self.bias = (p.detach().to(of or dtype) for p in (layer.weight, layer.bias))
        self.eps = layer.eps
        self.dtype = dtype

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(…, C) → (…, C)."""
        normed = F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        return normed.to(self.dtype)


def add_mlp(
    x: torch.Tensor,
    norm: Norm,
    up: Dense,
    down: Dense,
    activation: str,
    of: torch.Tensor | None = None,
) -> torch.Tensor:
    """`x + down(activation(up(norm(of))))`, a few rows at a time on a processor; (…, C) → (…, C).

    `of` is `x` itself unless given.
    """
    of = x if of is None else of
    width, inner = x.shape[-1], len(up.weight)
    rows = x.numel() // width
    step = max(256, _CACHED_BYTES // (x.element_size() * inner))
    if x.device.type != "cpu" or rows <= step:
        return down(up(norm(of), activation), plus=x)
    flat, of = x.reshape(rows, width), of.reshape(rows, width)
    out = torch.empty_like(flat)
    for i in range(0, rows, step):
        here = slice(i, i + step)
        out[here] = down(up(norm(of[here]), activation), plus=flat[here])
    return out.view(x.shape)


def attend_narrow(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Softmax attention of one head, (B, N, C), (B, M, C), (B, M, D) → (B, N, D).

    Torch's fused attention wants keys and values of one width; here scores are written out, few
    enough at a time that they stay in the cache.
    """
    step = max(1, _CACHED_BYTES // (q.element_size() * k.shape[0] * k.shape[1]))
    scaled, keys = q * q.shape[-1] ** -0.5, k.transpose(1, 2)
    parts = [torch.softmax(part @ keys, dim=-1) @ v for part in scaled.split(step, dim=1)]
    return torch.cat(parts, dim=1)

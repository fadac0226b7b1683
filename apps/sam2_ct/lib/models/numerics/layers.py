"""What the half-precision parts share."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Up to this many keys, scores written out are faster than the fused attention, which works on
# blocks of keys and leaves most of one empty.
_FEW_KEYS = 64
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
            dtype is torch.bfloat16
            and weight.device.type == "cpu"
            and torch.backends.mkldnn.is_available()
        ):
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    @classmethod
    def of(cls, layer: torch.nn.Linear | torch.nn.Conv2d, dtype: torch.dtype) -> Dense:
        """From a layer of the network."""
        return cls(layer.weight, layer.bias, dtype)

    def __call__(self, x: torch.Tensor, activation: str = "none") -> torch.Tensor:
        """(…, in) → (…, out); `activation` is none, relu or gelu."""
        if self._packed is not None:
            return torch.ops.mkldnn._linear_pointwise(
                x.contiguous(), self._packed, self.bias, activation, [], "none"
            )
        out = F.linear(x, self.weight, self.bias)
        return out if activation == "none" else getattr(F, activation)(out)


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
    step = max(256, _CACHED_BYTES // (2 * inner))
    if x.device.type != "cpu" or rows <= step:
        return x + down(up(norm(of), activation))
    flat, of = x.reshape(rows, width), of.reshape(rows, width)
    out = torch.empty_like(flat)
    for i in range(0, rows, step):
        here = slice(i, i + step)
        torch.add(flat[here], down(up(norm(of[here]), activation)), out=out[here])
    return out.view(x.shape)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Softmax attention of (B, heads, N, C) over (B, heads, M, C) → (B, heads, N, C)."""
    if k.shape[-2] <= _FEW_KEYS and q.device.type == "cpu":
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        return torch.softmax(scores, dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)

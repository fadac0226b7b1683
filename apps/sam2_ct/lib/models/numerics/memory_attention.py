"""SAM 2's memory attention.

Rotary encoding is written with real numbers. Stock pairs neighbouring channels; here the
projections put the first of all pairs before the second of all, so that halves are turned as they
lie. Scores are sums over channels, which do not mind the order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.numerics.layers import Dense, Norm, add_mlp, attend_narrow


def _placed(maps: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """(B, n · HW, C) by `_halved` weights, turned to its place by (HW, C) and (HW, C / 2)."""
    x = maps.unflatten(1, (-1, len(cos)))
    turned = x * cos
    (first, second), (left, right) = x.chunk(2, dim=-1), turned.chunk(2, dim=-1)
    left.addcmul_(second, sin, value=-1)
    right.addcmul_(first, sin)
    return turned.flatten(1, 2)


_Weights = tuple[torch.Tensor, torch.Tensor]
"""(out, in) and (out,): a layer's weights and biases."""


def _values(layer: nn.Module) -> _Weights:
    """Values and output of attention as one product.

    With one head the output is linear in the values, and the weights of attention sum to 1.
    """
    if layer.num_heads != 1:
        raise ValueError("rotary attention with several heads")
    inner, outer = layer.v_proj, layer.out_proj
    weight = outer.weight.detach().double()
    bias = weight @ inner.bias.detach().double() + outer.bias.detach().double()
    return weight @ inner.weight.detach().double(), bias


def _one(parts: Sequence[_Weights], dtype: torch.dtype) -> Dense:
    """Several layers on the same input as one."""
    weights, biases = zip(*parts, strict=True)
    return Dense(torch.cat(weights), torch.cat(biases), dtype)


class _Self:
    """Tokens attend each other."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        parts = _halved(layer.q_proj), _halved(layer.k_proj), _values(layer)
        self._product = _one(parts, dtype)
        self._width = layer.internal_dim

    def __call__(self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """(B, N, C) → (B, N, C)."""
        width = self._width
        q, k, v = self._product(x).split((width, width, x.shape[-1]), dim=-1)
        q, k = _placed(q, *turn), _placed(k, *turn)
        return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]


class _Cross:
    """Tokens attend memories."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        self._query, self._key, self._value = (
            Dense(*part, dtype)
            for part in (_halved(layer.q_proj), _halved(layer.k_proj), _values(layer))
        )

    def __call__(self, x, keys, values, turn, unplaced: int) -> torch.Tensor:
        """(B, N, C) attends (B, M, in); the last `unplaced` keys have no place on the map."""
        k, placed = self._key(keys), keys.shape[1] - unplaced
        k = torch.cat([_placed(k[:, :placed], *turn), k[:, placed:]], dim=1)
        q = _placed(self._query(x), *turn)
        if q.dtype is torch.float32 and q.device.type == "cpu":
            # sums, not calls, take the time: four times fewer of them before the product than after
            return self._value(attend_narrow(q, k, values))
        return F.scaled_dot_product_attention(q[:, None], k[:, None], self._value(values)[:, None])[
            :, 0
        ]


class _Layer:
    """`sam2.modeling.memory_attention.MemoryAttentionLayer`."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        usual = (layer.pos_enc_at_attn, layer.pos_enc_at_cross_attn_queries)
        if any(usual) or not layer.pos_enc_at_cross_attn_keys or layer.activation_str != "relu":
            raise ValueError("positions in other places than in SAM 2's configurations")
        self.norms = [
            Norm(n, dtype, of=torch.float32) for n in (layer.norm1, layer.norm2, layer.norm3)
        ]
        self.own = _Self(layer.self_attn, dtype)
        self.cross = _Cross(layer.cross_attn_image, dtype)
        self.up, self.down = Dense.of(layer.linear1, dtype), Dense.of(layer.linear2, dtype)

    def __call__(self, x, keys, values, turn, unplaced: int) -> torch.Tensor:
        first, second, third = self.norms
        x = x + self.own(first(x), turn)
        x = x + self.cross(second(x), keys, values, turn, unplaced)
        return add_mlp(x, third, self.up, self.down, "relu")


class FastMemoryAttention(nn.Module):
    """Takes the place of a SAM 2 predictor's `memory_attention`.

    Args:
        attention: `sam2.modeling.memory_attention.MemoryAttention` with its weights.
        dtype: what it computes in.

    Raises:
        ValueError: flags that none of SAM 2's configurations sets.
    """

    def __init__(self, attention: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        if not attention.pos_enc_at_input or not attention.batch_first:
            raise ValueError("positions in other places than in SAM 2's configurations")
        self.d_model = attention.d_model
        self.dtype = dtype
        self._layers = [_Layer(layer, dtype) for layer in attention.layers]
        self._norm = Norm(attention.norm, torch.float32)
        self._frequencies = attention.layers[0].self_attn.compute_cis
        self._turns: dict[tuple[int, torch.device], tuple[torch.Tensor, torch.Tensor]] = {}

    def forward(
        self,
        curr: torch.Tensor | list[torch.Tensor],
        memory: torch.Tensor,
        curr_pos: torch.Tensor | list[torch.Tensor],
        memory_pos: torch.Tensor,
        num_obj_ptr_tokens: int = 0,
    ) -> torch.Tensor:
        """(HW, B, C) image and (M, B, mem) memory features with positions → (HW, B, C) float32."""
        if isinstance(curr, list):
            curr, curr_pos = curr[0], curr_pos[0]
        x = (curr + 0.1 * curr_pos).transpose(0, 1).float().contiguous()
        keys = (memory + memory_pos).transpose(0, 1).to(self.dtype)
        values = memory.transpose(0, 1).to(self.dtype)
        turn = self._turn(x.shape[1], x.device)
        for layer in self._layers:
            x = layer(x, keys, values, turn, num_obj_ptr_tokens)
        return self._norm(x).transpose(0, 1)

    def _turn(self, tokens: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines (HW, C), each half the same, and sines (HW, C / 2) of a square map."""
        if (tokens, device) not in self._turns:
            side = round(tokens**0.5)
            angles = self._frequencies(end_x=side, end_y=side).to(device)
            cos, sin = angles.real.repeat(1, 2), angles.imag.contiguous()
            self._turns[tokens, device] = cos.to(self.dtype), sin.to(self.dtype)
        return self._turns[tokens, device]


def _halved(layer: nn.Linear) -> _Weights:
    """Weights and biases of a projection, the first of all pairs of channels before the second."""
    weight, bias = layer.weight.detach(), layer.bias.detach()
    order = torch.arange(len(bias), device=bias.device).view(-1, 2).T.flatten()
    return weight[order], bias[order]

"""SAM 2's image encoder (Hiera and its feature pyramid).

The same mathematics as `sam2.modeling.backbones`, with the work that stock repeats taken out:

* positional encodings depend on the input's size alone and are computed once;
* in the first stages a token meets only the tokens of its window: the image goes through them
  strip by strip, and what is worked on stays in the processor's cache;
* tokens are sorted into windows once per window size, not around every block;
* windows are filled up with zeros for the attention only;
* the two finer levels of the pyramid are linear in the trunk's output, and so is the decoder's
  first layer on them (`conv_s0`, `conv_s1`): one product of both weights serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.numerics.layers import Convolution, Dense, Norm, add_mlp

_STRIP_BYTES = 400 << 10  # of a strip's tokens; ten times that is alive at once


@dataclass(frozen=True)
class _Windows:
    """How tokens of a (rows, columns) map lie: sorted into windows of `side`, row by row.

    Windows at the border may hold tokens beyond the map; side 0: not sorted.
    """

    rows: int
    columns: int
    side: int

    @property
    def whole(self) -> bool:
        """The windows tile the map exactly."""
        return not self.side or not (self.rows % self.side or self.columns % self.side)

    def sort(self, x: torch.Tensor) -> torch.Tensor:
        """(B, rows, columns, C) → (B · windows, side, side, C); what is added is zero."""
        side = self.side
        if not side:
            return x
        if not self.whole:
            x = F.pad(x, (0, 0, 0, -self.columns % side, 0, -self.rows % side))
        batch, rows, columns, width = x.shape
        tiles = x.view(batch, rows // side, side, columns // side, side, width)
        return tiles.transpose(2, 3).reshape(-1, side, side, width)

    def unsort(self, x: torch.Tensor) -> torch.Tensor:
        """Inverse of `sort`; what was added is dropped."""
        side = self.side
        if not side:
            return x
        high, wide = -(-self.rows // side), -(-self.columns // side)
        tiles = x.view(-1, high, wide, side, side, x.shape[-1]).transpose(2, 3)
        whole = tiles.reshape(-1, high * side, wide * side, x.shape[-1])
        return whole[:, : self.rows, : self.columns].contiguous()

    def pooled(self) -> _Windows:
        """After 2 × 2 pooling."""
        return _Windows(self.rows // 2, self.columns // 2, self.side // 2)


class _Block:
    """One block of Hiera; see `sam2.modeling.backbones.hieradet.MultiScaleBlock`."""

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        self.window = block.window_size
        self.pools = block.pool is not None
        self.heads = block.attn.num_heads
        self.norm1, self.norm2 = Norm(block.norm1, dtype), Norm(block.norm2, dtype)
        self.qkv, self.proj = Dense.of(block.attn.qkv, dtype), Dense.of(block.attn.proj, dtype)
        self.skip = Dense.of(block.proj, dtype) if block.dim != block.dim_out else None
        self.up, self.down = (Dense.of(layer, dtype) for layer in block.mlp.layers)

    def __call__(self, x: torch.Tensor, here: _Windows) -> tuple[torch.Tensor, _Windows]:
        """Tokens as `here` sorts them → tokens, and how they are sorted then."""
        mine = _Windows(here.rows, here.columns, self.window)
        if here.side != mine.side:
            x = here.unsort(x)
            # windows that are not full are filled up for the attention only
            here = mine if mine.whole else _Windows(here.rows, here.columns, 0)
            x = here.sort(x)
        fill = here.side != mine.side
        normed = self.norm1(x)
        shortcut = x if self.skip is None else self.skip(normed)
        after, seen = here, mine
        if self.pools:
            shortcut, after, seen = _pool(shortcut), here.pooled(), mine.pooled()
        if fill:  # with zeros, before they are projected to what is several times as wide
            normed = mine.sort(normed)
        qkv = self.qkv(normed)
        attended = self._attend(qkv)
        if fill:
            attended = seen.unsort(attended)
        x = self.proj(attended, plus=shortcut)
        return add_mlp(x, self.norm2, self.up, self.down, "gelu"), after

    def _attend(self, qkv: torch.Tensor) -> torch.Tensor:
        windows, rows, columns, width = qkv.shape
        q, k, v = qkv.chunk(3, dim=-1)
        if self.pools:
            q, rows, columns = _pool(q), rows // 2, columns // 2
        q, k, v = (
            part.reshape(windows, -1, self.heads, width // 3 // self.heads).transpose(1, 2)
            for part in (q, k, v)
        )
        return (
            F.scaled_dot_product_attention(q, k, v)
            .transpose(1, 2)
            .reshape(windows, rows, columns, width // 3)
        )


def _pool(x: torch.Tensor) -> torch.Tensor:
    """Maximum of 2 × 2 tokens: (B, H, W, C) → (B, H/2, W/2, C)."""
    above, below = (torch.maximum(x[:, n::2, 0::2], x[:, n::2, 1::2]) for n in (0, 1))
    return torch.maximum(above, below)


class FastImageEncoder(nn.Module):
    """Takes the place of a SAM 2 predictor's `image_encoder`, `conv_s0` and `conv_s1`.

    Args:
        encoder: `sam2.modeling.backbones.image_encoder.ImageEncoder` with its weights.
        fine: the decoder's `conv_s0` and `conv_s1`.
        dtype: what it computes in.

    Raises:
        ValueError: a pyramid of another shape than all of SAM 2's configurations have.
    """

    def __init__(
        self, encoder: nn.Module, fine: tuple[nn.Conv2d, nn.Conv2d], dtype: torch.dtype
    ) -> None:
        super().__init__()
        trunk, neck = encoder.trunk, encoder.neck
        if encoder.scalp != 1 or set(neck.fpn_top_down_levels) != {2, 3}:
            raise ValueError("the two finest levels must take nothing from the coarser ones")
        self.dtype = dtype
        self._trunk, self._neck = trunk, neck  # for their positional encodings
        self._patch = Convolution(trunk.patch_embed.proj, dtype)
        self._blocks = [_Block(block, dtype) for block in trunk.blocks]
        laterals = [c.conv for c in neck.convs][::-1]  # finest first
        levels = [
            *(
                _product(last, lateral, dtype)
                for lateral, last in zip(laterals[:2], fine, strict=True)
            ),
            *(Dense.of(lateral, dtype) for lateral in laterals[2:]),
        ]
        self._levels = dict(zip(trunk.stage_ends, levels, strict=True))  # by block
        self._start: dict[tuple[int, int], torch.Tensor] = {}
        self._positions: dict[tuple[int, int], list[torch.Tensor]] = {}

    def forward(self, images: torch.Tensor) -> dict[str, object]:
        """(B, 3, S, S) → the dictionary of `ImageEncoder`, levels 0 and 1 as the decoder wants."""
        x, levels, first, here = self._local_stages(
            self._patch(images.to(self.dtype).permute(0, 2, 3, 1))
        )
        for n in range(first, len(self._blocks)):
            x, here = self._blocks[n](x, here)
            if n in self._levels:
                levels.append(self._levels[n](here.unsort(x)))
        coarse = levels.pop()
        levels[-1] += coarse.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        maps = [level.permute(0, 3, 1, 2) for level in levels]
        positions = [p.expand(len(images), -1, -1, -1) for p in self._level_positions(maps)]
        return {"vision_features": maps[-1], "vision_pos_enc": positions, "backbone_fpn": maps}

    def _local_stages(self, patches: torch.Tensor):
        """As many blocks as stay within the first one's windows, in strips of the image.

        Args:
            patches: (B, rows, columns, C) tokens.

        Returns:
            (B, rows, columns, C) tokens, the levels that lie before them, how many blocks were
            run, and how the tokens lie.
        """
        batch, rows, columns, width = patches.shape
        embedding = self._embedding((rows, columns))
        side = self._blocks[0].window
        local = list(self._nested()) if side and not (rows % side or columns % side) else []
        step = rows
        if local and patches.device.type == "cpu":
            line = self.dtype.itemsize * batch * columns * width
            step = max(1, _STRIP_BYTES // (line * side)) * side
        strips: list[list[torch.Tensor]] = []
        for r in range(0, rows, step):
            x = patches[:, r : r + step] + embedding[:, r : r + step]
            here, found = _Windows(x.shape[1], columns, 0), []
            for n in local:
                x, here = self._blocks[n](x, here)
                if n in self._levels:
                    found.append(self._levels[n](here.unsort(x)))
            strips.append([here.unsort(x), *found])
        x, *levels = (torch.cat(parts, dim=1) for parts in zip(*strips, strict=True))
        return x, levels, len(local), _Windows(x.shape[1], x.shape[2], 0)

    def _nested(self) -> Iterator[int]:
        """The first blocks, up to the one whose windows are not those of the block before."""
        side = self._blocks[0].window
        for n, block in enumerate(self._blocks):
            if block.window != side or side == 0:
                return
            yield n
            side = side // 2 if block.pools else side

    def _embedding(self, shape: tuple[int, int]) -> torch.Tensor:
        if shape not in self._start:
            # one embedding stretched over the image, and one repeated in every window
            trunk = self._trunk
            wide = F.interpolate(trunk.pos_embed, size=shape, mode="bicubic")
            side = trunk.pos_embed_window.shape[-1]
            tiled = trunk.pos_embed_window.tile((1, 1, shape[0] // side, shape[1] // side))
            start = (wide + tiled).permute(0, 2, 3, 1)
            self._start[shape] = start.detach().to(self.dtype).contiguous()
        return self._start[shape]

    def _level_positions(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        shape = tuple(maps[-1].shape[-2:])
        if shape not in self._positions:
            width = self._neck.d_model
            self._positions[shape] = [
                self._neck.position_encoding(x.new_empty((1, width, *x.shape[-2:]))).float()
                for x in maps
            ]
        return self._positions[shape]


def _product(second: nn.Conv2d, first: nn.Conv2d, dtype: torch.dtype) -> Dense:
    """`second(first(x))` of two 1 × 1 convolutions as one."""
    outer, inner = (c.weight.detach().double().flatten(1) for c in (second, first))
    bias = outer @ first.bias.detach().double() + second.bias.detach().double()
    return Dense(outer @ inner, bias, dtype)

"""SAM 2's mask decoder; what speaks of few tokens stays in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.numerics.layers import Dense, Norm


def _of_heads(layer: nn.Linear, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A projection's weights (heads, width of one, in) and biases (heads, 1, width of one)."""
    weight, bias = layer.weight.detach(), layer.bias.detach()
    return weight.unflatten(0, (heads, -1)), bias.view(heads, 1, -1)


class _ToImage:
    """`sam2.modeling.sam.transformer.Attention`: a few tokens attend many pixels.

    Projections of the pixels are done on the tokens' side of the products: the pixels meet heads ×
    tokens columns, once for the scores and once for what is seen.
    """

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        heads, self.dtype = layer.num_heads, dtype
        weight, bias = _of_heads(layer.q_proj, heads)
        scale = weight.shape[1] ** -0.5
        self._asks = (weight * scale).transpose(1, 2), bias * scale
        # the keys' bias adds the same to all scores of a token, which softmax takes out again
        self._key, _ = _of_heads(layer.k_proj, heads)
        weight, bias = _of_heads(layer.v_proj, heads)
        self._value = weight.transpose(1, 2), bias
        self._out = Dense.of(layer.out_proj, torch.float32)

    def __call__(
        self, tokens: torch.Tensor, placed: torch.Tensor, pixels: torch.Tensor
    ) -> torch.Tensor:
        """(B, T, C) ask (B, N, C) pixels, with and without their places → (B, T, C)."""
        weight, bias = self._asks
        asked = (tokens[:, None] @ weight + bias) @ self._key  # (B, heads, T, C)
        scores = placed @ asked.to(self.dtype).flatten(1, 2).transpose(1, 2)
        seen = torch.softmax(scores, dim=1).transpose(1, 2) @ pixels
        weight, bias = self._value
        values = seen.float().view(asked.shape) @ weight + bias
        return self._out(values.transpose(1, 2).flatten(2))


class _ToTokens:
    """The same the other way round: many pixels attend a few tokens."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        heads, self.dtype = layer.num_heads, dtype
        weight, bias = _of_heads(layer.q_proj, heads)
        scale = weight.shape[1] ** -0.5
        self._asks = weight * scale, bias.transpose(1, 2) * scale
        (key, key_bias), (value, value_bias) = (
            _of_heads(part, heads) for part in (layer.k_proj, layer.v_proj)
        )
        self._key = key.transpose(1, 2), key_bias
        self._value = value.transpose(1, 2), value_bias
        out = layer.out_proj
        # each head's weights sum to 1, so each brings its share of the bias
        self._out = out.weight.detach().T.unflatten(0, (heads, -1)), out.bias.detach() / heads

    def __call__(
        self,
        pixels: torch.Tensor,
        placed: torch.Tensor,
        token_keys: torch.Tensor,
        tokens: torch.Tensor,
    ) -> torch.Tensor:
        """(B, N, C) plus what they, with their places, see in (B, T, C) tokens."""
        weight, bias = self._key
        keys = token_keys[:, None] @ weight + bias  # (B, heads, T, width of a head)
        weight, bias = self._asks
        scores = torch.baddbmm(
            _columns(keys @ bias, self.dtype).transpose(1, 2),
            placed,
            _columns(keys @ weight, self.dtype).transpose(1, 2),
        )
        # softmax is fast over any but the last dimension where that has few entries
        shares = torch.softmax(scores.unflatten(-1, (tokens.shape[1], -1)), dim=2).flatten(2)
        weight, bias = self._value
        values = tokens[:, None] @ weight + bias
        weight, bias = self._out
        return torch.baddbmm(pixels, shares, _columns(values @ weight + bias, self.dtype))


def _columns(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(B, heads, T, C) → (B, T · heads, C)."""
    return x.to(dtype).transpose(1, 2).flatten(1, 2)


class _Layer:
    """`sam2.modeling.sam.transformer.TwoWayAttentionBlock`."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        self.stock = layer  # its token side, which is small, is used as it is
        self.to_image = _ToImage(layer.cross_attn_token_to_image, dtype)
        self.to_tokens = _ToTokens(layer.cross_attn_image_to_token, dtype)
        self.norm = Norm(layer.norm4, dtype)
        self.up, self.down = (Dense.of(part, torch.float32) for part in layer.mlp.layers)

    def __call__(self, queries, keys, query_places, key_places):
        stock = self.stock
        if stock.skip_first_layer_pe:
            queries = stock.self_attn(q=queries, k=queries, v=queries)
        else:
            placed = queries + query_places
            queries = queries + stock.self_attn(q=placed, k=placed, v=queries)
        queries = stock.norm1(queries)
        placed = keys + key_places
        queries = stock.norm2(queries + self.to_image(queries + query_places, placed, keys))
        queries = stock.norm3(self.down(self.up(queries, "relu"), plus=queries))
        keys = self.norm(self.to_tokens(keys, placed, queries + query_places, queries))
        return queries, keys


class _Enlarge:
    """A transposed convolution of 2 × 2 steps: each pixel becomes four, by one product."""

    def __init__(self, layer: nn.ConvTranspose2d, dtype: torch.dtype) -> None:
        weight = layer.weight.detach().permute(2, 3, 1, 0).flatten(0, 2)  # (2·2·out, in)
        self.dense = Dense(weight, layer.bias.detach().repeat(4), dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(B, h, w, in) → (B, 2h, 2w, out)."""
        batch, rows, columns, _ = x.shape
        four = self.dense(x).view(batch, rows, columns, 2, 2, -1)
        return four.transpose(2, 3).reshape(batch, 2 * rows, 2 * columns, -1)


class FastMaskPrediction:
    """Takes the place of `sam2.modeling.sam.mask_decoder.MaskDecoder.predict_masks`.

    Args:
        decoder: the decoder with its weights; must use the finer levels.
        dtype: what is computed in where there are many pixels.
    """

    def __init__(self, decoder: nn.Module, dtype: torch.dtype) -> None:
        self.stock, self.dtype = decoder, dtype
        transformer = decoder.transformer
        self._layers = [_Layer(layer, dtype) for layer in transformer.layers]
        self._final = _ToImage(transformer.final_attn_token_to_image, dtype)
        first, norm, _, second, _ = decoder.output_upscaling
        self._first, self._second = _Enlarge(first, dtype), _Enlarge(second, dtype)
        self._norm = Norm(norm, dtype)
        # one perceptron per mask, all of them in one product
        self._perceptrons = [
            (
                torch.stack([p.weight.detach().T for p in alike]),
                torch.stack([p.bias.detach()[None] for p in alike]),
            )
            for alike in zip(*(m.layers for m in decoder.output_hypernetworks_mlps), strict=True)
        ]

    def __call__(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse_prompt_embeddings: torch.Tensor,
        dense_prompt_embeddings: torch.Tensor,
        repeat_image: bool,
        high_res_features: list[torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `MaskDecoder.predict_masks`; images are one per prompt (`repeat_image` false)."""
        if repeat_image:
            raise ValueError("one image for several prompts")
        stock, batch = self.stock, len(sparse_prompt_embeddings)
        heads = stock.obj_score_token.weight, stock.iou_token.weight, stock.mask_tokens.weight
        own = torch.cat(heads).expand(batch, -1, -1)
        tokens = torch.cat([own, sparse_prompt_embeddings], dim=1)
        rows, columns = image_embeddings.shape[-2:]
        pixels = (image_embeddings + dense_prompt_embeddings).flatten(2).transpose(1, 2)
        keys, places = pixels.to(self.dtype), image_pe.flatten(2).transpose(1, 2).to(self.dtype)
        queries = tokens
        for layer in self._layers:
            queries, keys = layer(queries, keys, tokens, places)
        seen = self._final(queries + tokens, keys + places, keys)
        queries = stock.transformer.norm_final_attn(queries + seen)

        fine, middle = (f.to(self.dtype).permute(0, 2, 3, 1) for f in high_res_features)
        x = self._first(keys.unflatten(1, (rows, columns))) + middle
        x = F.gelu(self._second(F.gelu(self._norm(x))) + fine)
        said = queries[:, 2 : 2 + stock.num_mask_tokens]
        weights = said.transpose(0, 1)
        for n, (weight, bias) in enumerate(self._perceptrons):
            weights = torch.baddbmm(bias, weights.relu() if n else weights, weight)
        # pixels first: they are not copied to be turned round
        masks = (x.flatten(1, 2) @ weights.to(self.dtype).permute(1, 2, 0)).transpose(1, 2)
        ious = stock.iou_prediction_head(queries[:, 1])
        score = stock.pred_obj_score_head(queries[:, 0])
        return masks.float().unflatten(-1, x.shape[1:3]), ious, said, score

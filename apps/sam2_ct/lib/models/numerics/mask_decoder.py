"""SAM 2's mask decoder; what speaks of few tokens stays in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.numerics.layers import Dense, Norm


class _Attention:
    """`sam2.modeling.sam.transformer.Attention`."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        self.heads, self.dtype = layer.num_heads, dtype
        self.q, self.k, self.v, self.out = (
            Dense.of(part, dtype)
            for part in (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj)
        )

    def __call__(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            part(x.to(self.dtype)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part, x in ((self.q, q), (self.k, k), (self.v, v))
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Layer:
    """`sam2.modeling.sam.transformer.TwoWayAttentionBlock`."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        self.stock = layer  # its token side, which is small, is used as it is
        self.to_image = _Attention(layer.cross_attn_token_to_image, dtype)
        self.to_tokens = _Attention(layer.cross_attn_image_to_token, dtype)
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
        keys = self.norm(keys + self.to_tokens(placed, queries + query_places, queries))
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
        self._final = _Attention(transformer.final_attn_token_to_image, dtype)
        first, norm, _, second, _ = decoder.output_upscaling
        self._first, self._second = _Enlarge(first, dtype), _Enlarge(second, dtype)
        self._norm = Norm(norm, dtype)

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
        weights = torch.stack(
            [mlp(said[:, n]) for n, mlp in enumerate(stock.output_hypernetworks_mlps)], dim=1
        )
        masks = weights.to(self.dtype) @ x.flatten(1, 2).transpose(1, 2)
        ious = stock.iou_prediction_head(queries[:, 1])
        score = stock.pred_obj_score_head(queries[:, 0])
        return masks.float().unflatten(-1, x.shape[1:3]), ious, said, score

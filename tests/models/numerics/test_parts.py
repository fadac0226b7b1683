"""Half-precision parts against SAM 2's own: the same numbers in float32, near ones in bfloat16.

In float32 nothing but the order of sums differs, so a mistake in layout, windows, rotation or
folded weights cannot hide behind rounding.
"""

import pytest
import torch

from lib.models.build import build_network, read_config
from lib.models.numerics.encoder import FastImageEncoder
from lib.models.numerics.mask_decoder import FastMaskPrediction
from lib.models.numerics.memory_attention import FastMemoryAttention
from lib.models.numerics.memory_encoder import FastMemoryEncoder
from lib.models.registry import BUILTIN, resolve

SUMS = 2e-5  # another order of float32 sums
# bfloat16 carries 8 bits: some twenty roundings of numbers up to 4 stay well below this
BF16 = 0.08
CASES = [
    pytest.param((BUILTIN, 192), id="builtin"),
    pytest.param((BUILTIN, 160), id="builtin, windows that are not full"),
    pytest.param(("tiny", 256), id="tiny"),
]


@pytest.fixture(scope="module", params=CASES)
def network(request):
    name, side = request.param
    config = read_config(resolve(name))
    config.image_size = side
    network = build_network(config, seed=1)
    with torch.no_grad():  # scales and shifts that start as ones and zeros would hide mistakes
        chance = torch.Generator().manual_seed(2)
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=chance))
    return network


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_near(ours, stock, limit):
    assert ours.shape == stock.shape
    assert (ours.float() - stock).abs().max() < limit
    assert stock.unique().numel() > 1, "the comparison is of constants"


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, SUMS), (torch.bfloat16, BF16)])
@pytest.mark.parametrize("batch", [1, 3])
@torch.inference_mode()
def test_encoder(network, batch, dtype, limit):
    decoder = network.sam_mask_decoder
    images = random(batch, 3, network.image_size, network.image_size)
    stock = network.forward_image(images)
    fine = decoder.conv_s0, decoder.conv_s1
    ours = FastImageEncoder(network.image_encoder, fine, dtype)(images)
    for got, expected in zip(ours["backbone_fpn"], stock["backbone_fpn"], strict=True):
        assert_near(got, expected, limit)
    for got, expected in zip(ours["vision_pos_enc"], stock["vision_pos_enc"], strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, SUMS), (torch.bfloat16, BF16)])
@pytest.mark.parametrize("pointers", [0, 16])
@torch.inference_mode()
def test_memory_attention(network, pointers, dtype, limit):
    tokens, width = (network.image_size // 16) ** 2, network.hidden_dim
    count, batch = 3 * tokens + pointers, 2
    inputs = {
        "curr": random(tokens, batch, width),
        "curr_pos": random(tokens, batch, width, seed=1),
        "memory": random(count, batch, network.mem_dim, seed=2),
        "memory_pos": random(count, batch, network.mem_dim, seed=3),
        "num_obj_ptr_tokens": pointers,
    }
    stock = network.memory_attention(**inputs)
    ours = FastMemoryAttention(network.memory_attention, dtype)(**inputs)
    assert_near(ours, stock, limit)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, SUMS), (torch.bfloat16, BF16)])
@torch.inference_mode()
def test_memory_encoder(network, dtype, limit):
    side, batch = network.image_size, 2
    pixels = random(batch, network.hidden_dim, side // 16, side // 16)
    masks = 10 * random(batch, 1, side, side, seed=1).sign()
    stock = network.memory_encoder(pixels, masks, skip_mask_sigmoid=True)
    ours = FastMemoryEncoder(network.memory_encoder, dtype)(pixels, masks, skip_mask_sigmoid=True)
    assert_near(ours["vision_features"], stock["vision_features"], limit)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, SUMS), (torch.bfloat16, BF16)])
@pytest.mark.parametrize("several", [True, False])
@torch.inference_mode()
def test_mask_decoder(network, several, dtype, limit):
    decoder, width, side = network.sam_mask_decoder, network.hidden_dim, network.image_size
    batch, high = 2, side // 16
    inputs = {
        "image_embeddings": random(batch, width, high, high),
        "image_pe": network.sam_prompt_encoder.get_dense_pe(),
        "sparse_prompt_embeddings": random(batch, 3, width, seed=1),
        "dense_prompt_embeddings": random(batch, width, high, high, seed=2),
        "multimask_output": several,
        "repeat_image": False,
        "high_res_features": [
            random(batch, width // 8, 4 * high, 4 * high, seed=3),
            random(batch, width // 4, 2 * high, 2 * high, seed=4),
        ],
    }
    stock = decoder(**inputs)
    decoder.predict_masks = FastMaskPrediction(decoder, dtype)
    try:
        ours = decoder(**inputs)
    finally:
        del decoder.predict_masks  # the module's own method again
    for got, expected in zip(ours, stock, strict=True):
        assert_near(got, expected, limit)

"""No part holds or makes a tensor beside its device: torch's "meta" device stands for a GPU.

It has shapes and refuses to meet tensors of another device, as a GPU does; it has no values.
"""

import pytest
import torch

from lib.models.build import build_network, read_config
from lib.models.precision import Numerics, put_to_work
from lib.models.registry import BUILTIN, resolve

META = torch.device("meta")


@pytest.mark.parametrize("name", ["bf16", "fp16", "fp32-fast"])
@torch.inference_mode()
def test_a_slice_is_tracked_on_another_device(name):
    with torch.device("cpu"):
        network = build_network(read_config(resolve(BUILTIN))).to(META)
    put_to_work(network, Numerics(name, "asked for"))
    side = network.image_size
    out = network.forward_image(torch.zeros(2, 3, side, side, device=META))
    *fine, top = out["backbone_fpn"]
    assert all(level.dtype == Numerics(name, "").dtype for level in out["backbone_fpn"])
    tokens = top.flatten(2).permute(2, 0, 1).float()
    memory = torch.zeros(2 * len(tokens) + 4, 2, network.mem_dim, device=META)
    fused = network.memory_attention(
        curr=tokens,
        curr_pos=torch.zeros_like(tokens),
        memory=memory,
        memory_pos=memory,
        num_obj_ptr_tokens=4,
    )
    pixels = fused.permute(1, 2, 0).view(top.shape)
    said = network.decode(pixels, [f.float() for f in fine], network.dense_positions())
    remembered = network.memorise(top.float(), said, drawn=False)
    assert said.logits.shape == (2, 1, side // 4, side // 4)
    assert remembered.shape == (2, network.mem_dim, side // 16, side // 16)
    assert {said.logits.device, said.pointer.device, remembered.device} == {META}

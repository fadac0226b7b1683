"""An outside opinion on the numerics: transformers' own SAM 2 on the same random weights.

It shares no code with the `sam2` package, so what agrees with it is SAM 2 and not our reading of
`sam2`. IS and SPS are written here a second time, in its terms.
"""

import re
from copy import deepcopy
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.geometry import Axis
from lib.models.build import read_config
from lib.models.registry import BUILTIN, resolve
from lib.prompts.types import Box, Points
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.policy import PRESETS
from lib.propagation.video import PseudoVideo
from tests.propagation.conftest import SLICES, disc, run_pass

# of logits that vary by 0.05 over the volume; the two are 1e-6 apart
TOLERANCE = 1e-5
GAIN = 100


@pytest.fixture(scope="module")
def predictor(predictor):
    """With temporal embeddings as large as trained ones: a wrong row must be seen in the logits."""
    loud = deepcopy(predictor)
    with torch.no_grad():
        loud.maskmem_tpos_enc.mul_(GAIN)
    return loud


@pytest.fixture(scope="module")
def sam2_video():
    """The module of transformers, imported as if torchvision were absent.

    The model does not use it, and the wheel installed beside a CPU build of torch may not load.
    """
    packages = pytest.importorskip("transformers.utils.import_utils", reason="transformers missing")
    available = packages._is_package_available

    def without_torchvision(name, *args, **kwargs):
        return (False, "N/A") if name == "torchvision" else available(name, *args, **kwargs)

    with mock.patch.object(packages, "_is_package_available", without_torchvision):
        packages.is_torchvision_available.cache_clear()
        try:
            from transformers.models.sam2_video import modeling_sam2_video
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"transformers' Sam2VideoModel cannot be imported: {error}")
    return modeling_sam2_video


@pytest.fixture(scope="module")
def oracle(sam2_video, predictor):
    """transformers' network with our weights, patched where it departs from Meta's."""

    class Oracle(sam2_video.Sam2VideoModel):
        """With Meta's treatment of mask prompts, and the paper's policies.

        Attributes:
            intelligent: IS, t−1 with the first recent row and t−2 with the last.
            tau: SPS, as a fraction of all frames.
        """

        intelligent = False
        tau = 1.0

        def _single_frame_forward(self, **given):
            # the call that makes the pointer of a mask prompt: Meta takes the single-mask token
            given.setdefault("multimask_output", False)
            return super()._single_frame_forward(**given)

        def _run_single_frame_inference(self, **given):
            out = super()._run_single_frame_inference(**given)
            # Meta encodes every prompted frame into memory from its low-resolution mask
            out["high_res_masks"] = F.interpolate(
                out["pred_masks"], (self.image_size, self.image_size), mode="bilinear"
            )
            return out

        def _prepare_memory_conditioned_features(self, inference_session, frame_idx, **given):
            stored = inference_session.output_dict_per_obj[given["obj_idx"]]
            every = stored["cond_frame_outputs"]
            if every:
                limit = self.tau * inference_session.num_frames
                near = {c: out for c, out in every.items() if abs(frame_idx - c) <= limit}
                closest = min(every, key=lambda c: abs(frame_idx - c))
                stored["cond_frame_outputs"] = near or {closest: every[closest]}
            try:
                return super()._prepare_memory_conditioned_features(
                    inference_session=inference_session, frame_idx=frame_idx, **given
                )
            finally:
                stored["cond_frame_outputs"] = every

        def _gather_memory_frame_outputs(self, *args, **kwargs):
            found = super()._gather_memory_frame_outputs(*args, **kwargs)
            if not self.intelligent:
                return found
            recent = {offset: out for offset, out in found if offset}
            # offset 1 is the first recent row, 6 the last
            return [(0, out) for offset, out in found if not offset] + [
                (6, recent[2]),
                (1, recent[1]),
            ]

    network = Oracle(configuration(predictor)).eval()
    for layer in network.memory_attention.layers:
        # its width is written into transformers as Meta's 64
        layer.cross_attn_image.k_proj = nn.Linear(predictor.mem_dim, predictor.hidden_dim)
        layer.cross_attn_image.v_proj = nn.Linear(predictor.mem_dim, predictor.hidden_dim)
    theirs = network.state_dict()
    ours = predictor.state_dict()
    network.load_state_dict({key: ours_of(key, ours) for key in theirs})
    used = {name for key in theirs for name in names_of(key)}
    assert used == set(ours), "weights left over"
    return network


def configuration(predictor):
    """The built-in architecture in transformers' terms."""
    from transformers import Sam2VideoConfig

    trunk = read_config(resolve(BUILTIN)).image_encoder.trunk
    side, hidden = predictor.image_size, predictor.hidden_dim
    dims = [trunk.embed_dim * 2**n for n in range(4)]
    attention = predictor.memory_attention
    return Sam2VideoConfig(
        image_size=side,
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": trunk.embed_dim,
                "image_size": [side, side],
                "window_positional_embedding_background_size": list(
                    trunk.window_pos_embed_bkg_spatial_size
                ),
                "blocks_per_stage": list(trunk.stages),
                "embed_dim_per_stage": dims,
                "num_attention_heads_per_stage": [trunk.num_heads * 2**n for n in range(4)],
                "window_size_per_stage": list(trunk.window_spec),
                "global_attention_blocks": list(trunk.global_att_blocks),
            },
            "backbone_channel_list": dims[::-1],
            "backbone_feature_sizes": [[side // n, side // n] for n in (4, 8, 16)],
            "fpn_hidden_size": hidden,
        },
        prompt_encoder_config={"hidden_size": hidden, "image_size": side},
        mask_decoder_config={"hidden_size": hidden},
        memory_attention_hidden_size=hidden,
        memory_attention_num_layers=attention.num_layers,
        memory_attention_feed_forward_hidden_size=attention.layers[0].linear1.out_features,
        memory_attention_rope_feat_sizes=[side // 16, side // 16],
        memory_encoder_hidden_size=hidden,
        memory_encoder_output_channels=predictor.mem_dim,
        mask_downsampler_embed_dim=hidden,
        memory_fuser_embed_dim=hidden,
        memory_fuser_intermediate_dim=4 * hidden,
    )


# transformers' name → Meta's, applied in order
RENAMED = (
    (r"^no_memory_embedding", "no_mem_embed"),
    (r"^no_memory_positional_encoding", "no_mem_pos_enc"),
    (r"^memory_temporal_positional_encoding", "maskmem_tpos_enc"),
    (r"^no_object_pointer", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter", "no_obj_embed_spatial"),
    (r"^object_pointer_proj", "obj_ptr_proj"),
    (r"^temporal_positional_encoding_projection_layer", "obj_ptr_tpos_proj"),
    (
        r"^(prompt_encoder\.shared_embedding|shared_image_embedding)\.positional_embedding",
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"^vision_encoder\.backbone", "image_encoder.trunk"),
    (r"^vision_encoder\.neck\.convs\.(\d)", r"image_encoder.neck.convs.\1.conv"),
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"^mask_decoder\.upscale_conv1", "sam_mask_decoder.output_upscaling.0"),
    (r"^mask_decoder\.upscale_layer_norm", "sam_mask_decoder.output_upscaling.1"),
    (r"^mask_decoder\.upscale_conv2", "sam_mask_decoder.output_upscaling.3"),
    (r"^mask_decoder", "sam_mask_decoder"),
    (r"^prompt_encoder\.mask_embed\.conv1", "sam_prompt_encoder.mask_downscaling.0"),
    (r"^prompt_encoder\.mask_embed\.layer_norm1", "sam_prompt_encoder.mask_downscaling.1"),
    (r"^prompt_encoder\.mask_embed\.conv2", "sam_prompt_encoder.mask_downscaling.3"),
    (r"^prompt_encoder\.mask_embed\.layer_norm2", "sam_prompt_encoder.mask_downscaling.4"),
    (r"^prompt_encoder\.mask_embed\.conv3", "sam_prompt_encoder.mask_downscaling.6"),
    (r"^prompt_encoder", "sam_prompt_encoder"),
    (r"^memory_encoder\.feature_projection", "memory_encoder.pix_feat_proj"),
    (r"^memory_encoder\.projection", "memory_encoder.out_proj"),
    (r"^memory_encoder\.memory_fuser", "memory_encoder.fuser"),
    (r"(fuser\.layers\.\d)\.scale", r"\1.gamma"),
    (r"(fuser\.layers\.\d)\.depthwise_conv", r"\1.dwconv"),
    (r"(fuser\.layers\.\d)\.pointwise_conv", r"\1.pwconv"),
    (r"(fuser\.layers\.\d)\.layer_norm", r"\1.norm"),
    (r"mask_downsampler\.final_conv", "mask_downsampler.encoder.12"),
    (r"o_proj", "out_proj"),
    (r"layer_norm_final_attn", "norm_final_attn"),
    (r"layer_norm", "norm"),
)


def names_of(key):
    """Meta's names of the weights that are transformers' `key` (several are stacked)."""
    name = key
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    # Meta counts convolution, norm, activation; transformers groups them
    stage = re.search(r"mask_downsampler\.layers\.(\d)\.(conv|norm)", name)
    if stage:
        place = 3 * int(stage[1]) + (stage[2] == "norm")
        name = name.replace(stage[0], f"mask_downsampler.encoder.{place}")
    if "proj_in" in name or "proj_out" in name or re.search(r"(mlps\.\d|head|ptr_proj)\.la", name):
        two_layers = ".mlp." in name
        name = re.sub(r"\.layers\.0\.(weight|bias)$", r".layers.1.\1", name)
        name = name.replace("proj_in", "layers.0")
        name = name.replace("proj_out", "layers.1" if two_layers else "layers.2")
    if name.endswith("point_embed.weight") and "not_a" not in name:
        return [f"sam_prompt_encoder.point_embeddings.{n}.weight" for n in range(4)]
    return [name]


def ours_of(key, state):
    """Our weights for transformers' `key`."""
    return torch.cat([state[name] for name in names_of(key)])


@pytest.fixture
def video(volume, grid, predictor):
    return PseudoVideo(volume, grid, Axis.AXIAL, predictor.image_size)


def ask(oracle, sam2_video, video, prompts, *, reverse):
    """Logits by slice from transformers."""
    frames = torch.stack([video.image(t) for t in range(len(video))])
    session = sam2_video.Sam2VideoInferenceSession(frames, dtype=torch.float32)
    index = session.obj_id_to_idx(1)
    for prompt in prompts:
        if isinstance(prompt, (Points, Box)):
            inputs = {k: v[None] for k, v in video.point_inputs([prompt]).items()}
            session.add_point_inputs(index, prompt.index, inputs)
        else:
            session.add_mask_inputs(index, prompt.index, video.mask_input(prompt))
        session.obj_with_new_inputs = [1]
        oracle(session, frame_idx=prompt.index)
    start = (max if reverse else min)(p.index for p in prompts)
    return {
        out.frame_idx: out.pred_masks.clone()
        for out in oracle.propagate_in_video_iterator(session, start, reverse=reverse)
    }


def track(predictor, video, prompts, policy, *, reverse):
    """The same from our passes."""
    encoder = SliceEncoder(predictor, video, FeatureBank(), "test")
    one = run_pass(encoder, prompts, policy, reverse=reverse)
    return {t: said.logits for t, said in one.said.items()}


def apart(one, other):
    """Largest difference of two sets of logits."""
    assert one.keys() == other.keys()
    return max(float((one[t] - other[t]).abs().max()) for t in one)


MASKS = [disc(1, t, (16 + t // 4, 20)) for t in (0, 12, 23)]
CLICKS = [
    Points(Axis.AXIAL, 0, 1, np.array([[18.0, 20.0]]), np.array([[30.0, 8.0]])),
    Box(Axis.AXIAL, 12, 1, np.array([10.0, 12.0]), np.array([25.0, 28.0])),
    Points(Axis.AXIAL, 23, 1, np.array([[20.0, 20.0], [22.0, 18.0]]), np.zeros((0, 2))),
]


def test_encoders_agree(oracle, predictor, video):
    with torch.inference_mode():
        theirs = oracle.get_image_features(video.image(4)[None], return_dict=True)
        features = SliceEncoder(predictor, video, FeatureBank(), "test")(4)
    for a, b in zip(theirs.fpn_hidden_states, features.levels, strict=True):
        flat = b.flatten(2).permute(2, 0, 1)
        assert torch.allclose(a, flat, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("prompts", [MASKS, CLICKS], ids=["masks", "clicks"])
@pytest.mark.parametrize("policy", ["baseline", "is", "sps", "is+sps"])
def test_tracking_agrees(oracle, sam2_video, predictor, video, policy, prompts, reverse):
    oracle.intelligent, oracle.tau = "is" in policy.split("+"), 0.3 if "sps" in policy else 1.0
    expected = ask(oracle, sam2_video, video, prompts, reverse=reverse)
    got = track(predictor, video, prompts, PRESETS[policy], reverse=reverse)
    assert len(got) == SLICES
    unprompted = torch.cat([v for t, v in expected.items() if t not in (0, 12, 23)])
    assert unprompted.std(0).mean() > 1000 * TOLERANCE, "all slices alike: nothing is compared"
    assert apart(expected, got) < TOLERANCE
    if policy != "baseline":
        baseline = track(predictor, video, prompts, PRESETS["baseline"], reverse=reverse)
        assert apart(baseline, got) > 100 * TOLERANCE, "the policy makes no difference to see"

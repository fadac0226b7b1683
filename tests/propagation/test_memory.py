"""Memory assembly: rows with plans of their own, gradients, one code for serving and training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.geometry import Axis, Grid
from lib.prompts.types import PromptSet
from lib.propagation.conditioning import condition
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.memory import Bank, Remembered, assemble
from lib.propagation.policy import MemoryPolicy, Query, describe, parse_policy
from lib.propagation.settings import Propagation, PropagationSettings
from lib.propagation.video import PseudoVideo
from tests.propagation.conftest import SLICES, disc
from tests.propagation.strategies import policies
from tests.propagation.test_policy import EVERY_POLICY
from tools.training.network import build
from tools.training.timeline import Timeline

SHORT = 7


@pytest.fixture
def codes(predictor):
    return predictor.codes(torch.zeros(1, 128, 8, 8))


def bank_of(predictor, slices, prompted, seed, batch=1):
    """Random memories of every slice."""
    generator = torch.Generator().manual_seed(seed)

    def memory():
        features = torch.randn(batch, predictor.mem_dim, 8, 8, generator=generator)
        pointer = torch.randn(batch, predictor.hidden_dim, generator=generator)
        return Remembered(features.bfloat16(), pointer)

    return Bank({t: memory() for t in prompted}, {t: memory() for t in slices if t not in prompted})


def planned(policy, t, prompted=(0, 12, 23), reverse=False):
    start = prompted[-1] if reverse else prompted[0]
    done = range(start, t, -1) if reverse else range(start, t)
    return policy.plan(
        Query(t, SLICES, reverse, prompted, {s: 0.0 for s in done if s not in prompted})
    )


@pytest.mark.parametrize("policy", [MemoryPolicy(), MemoryPolicy(tau=0, sliced=2)])
def test_rows_with_plans_of_their_own_are_as_if_alone(predictor, codes, policy):
    """Directions, slices and distances differ from row to row; shapes do not."""
    rows = [
        (planned(policy, 9), bank_of(predictor, range(SLICES), (0, 12, 23), 1)),
        (planned(policy, 14, (5, 6, 20)), bank_of(predictor, range(SLICES), (5, 6, 20), 2)),
        (planned(policy, 14, reverse=True), bank_of(predictor, range(SLICES), (0, 12, 23), 3)),
    ]
    rows = [r for r in rows if len(r[0].pointers) == len(rows[0][0].pointers)]
    assert len(rows) > 1
    with torch.inference_mode():
        together = assemble(rows, codes, SLICES)
        for n, row in enumerate(rows):
            alone = assemble([row], codes, SLICES)
            assert torch.equal(together.memory[:, n : n + 1], alone.memory)
            assert torch.allclose(together.position[:, n : n + 1], alone.position, atol=1e-6)
            assert together.pointer_tokens == alone.pointer_tokens


def test_plans_of_different_shapes_are_no_batch(predictor, codes):
    bank = bank_of(predictor, range(SLICES), (0, 12, 23), 1)
    rows = [(planned(MemoryPolicy(), t), bank) for t in (2, 3)]
    with pytest.raises(ValueError, match="different shapes"):
        assemble(rows, codes, SLICES)


def test_a_plan_without_pointers_is_as_precise_as_one_with(predictor, codes):
    """Memories are bfloat16, what reads them is not: this used to crash."""
    plan = planned(MemoryPolicy(tau=0, sliced=0, pointers="follow"), 20)
    assert not plan.pointers
    with torch.inference_mode():
        made = assemble([(plan, bank_of(predictor, range(24), (0, 12, 23), 1))], codes, SLICES)
    assert made.memory.dtype == made.position.dtype == torch.float32
    assert made.pointer_tokens == 0


def test_gradients_reach_memories_pointers_and_rows(predictor):
    bank = bank_of(predictor, range(SLICES), (0, 12, 23), 1, batch=2)
    plan = planned(MemoryPolicy(intelligent=True), 20)
    leaves = {}
    for m in plan.memories:
        held = bank(m.slice, m.conditioning)
        leaf = replace(held, features=held.features.float().requires_grad_())
        (bank.prompted if m.conditioning else bank.tracked)[m.slice] = leaf
        leaves[m.slice] = leaf.features
    made = assemble([(plan, bank)], predictor.codes(torch.zeros(1, 128, 8, 8)), SLICES)
    (made.memory.square().sum() + made.position.square().sum()).backward()
    assert made.memory.shape[1] == made.position.shape[1] == 2
    assert all(leaf.grad is not None and leaf.grad.any() for leaf in leaves.values())
    rows = predictor.maskmem_tpos_enc.grad.flatten(1).any(dim=1).tolist()
    assert rows == [True, False, False, False, False, True, True]
    predictor.zero_grad(set_to_none=True)


@pytest.mark.parametrize("policy", ["baseline", "is+sps", "stretches", "stride2+sliced3"])
def test_what_is_trained_is_what_is_served(predictor, volume, grid, policy):
    """A batch of two through the training network's `track_step`, and slice by slice served."""
    policy = parse_policy(policy)
    trained = build(predictor.image_size)
    trained.load_state_dict(predictor.state_dict())
    trained.timeline = Timeline(SLICES, (0, 12, 23), tuple(range(13, 20)), (20,), policy)
    video = PseudoVideo(volume, grid, Axis.AXIAL, predictor.image_size)
    encoder = SliceEncoder(predictor, video, FeatureBank(), "test")
    banks = []
    for object_id, radius in ((1, 7), (2, 4)):
        made = condition(encoder, [disc(object_id, t, radius=radius) for t in (0, 12, 23)])
        tracked = condition(encoder, [disc(object_id, t, radius=radius) for t in range(13, 20)])
        banks.append(
            Bank(
                made.memories,
                tracked.memories,
            )
        )
    query = Query(20, SLICES, False, (0, 12, 23), dict.fromkeys(range(13, 20), 0.0), SLICES)
    features = encoder(20)
    with torch.inference_mode():
        stores = [
            {
                t: {
                    "maskmem_features": torch.cat([getattr(b, s)[t].features for b in banks]),
                    "obj_ptr": torch.cat([getattr(b, s)[t].pointer for b in banks]),
                }
                for t in getattr(banks[0], s)
            }
            for s in ("prompted", "tracked")
        ]
        _, levels, places, sizes = trained._prepare_backbone_features(
            trained.forward_image(video.image(20)[None].repeat(2, 1, 1, 1))
        )
        out = trained.track_step(
            frame_idx=20,
            is_init_cond_frame=False,
            current_vision_feats=levels,
            current_vision_pos_embeds=places,
            feat_sizes=sizes,
            point_inputs=None,
            mask_inputs=None,
            output_dict=dict(
                zip(("cond_frame_outputs", "non_cond_frame_outputs"), stores, strict=True)
            ),
            num_frames=SLICES,
            run_mem_encoder=False,
        )
        for n, bank in enumerate(banks):
            made = assemble([(policy.plan(query), bank)], predictor.codes(features.top), SLICES)
            pixels = predictor.recall(features.top, features.position, made)
            served = predictor.decode(pixels, features.fine, predictor.dense_positions())
            assert torch.allclose(out["pred_masks"][n : n + 1], served.logits, atol=2e-4)
            assert torch.allclose(out["obj_ptr"][n : n + 1], served.pointer, atol=2e-4)


ENCODED = FeatureBank()  # of the one volume that every example tracks through


def tracks_through(predictor, policy, prompted, propagation):
    shape = (12, 12, SHORT)
    noise = np.random.default_rng(4).random(shape).astype(np.float32)
    prompts = PromptSet(
        Grid(shape, np.diag([2.0, 2.0, 3.0, 1.0])),
        tuple(disc(1, t, (6, 6), 3, shape=(12, 12)) for t in sorted(prompted)),
    )
    engine = PseudoVideoInferer(predictor, "test", ENCODED)
    asked = PropagationSettings(policy=policy, propagation=propagation)
    result = engine(noise, prompts, asked)
    assert np.isfinite(result.logits[1]).all()
    assert {r.index for r in result.slices} == set(range(SHORT))


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_every_documented_policy_tracks_through_a_short_volume(predictor, policy):
    tracks_through(predictor, parse_policy(policy), {0, 3}, Propagation.FORWARD_BACKWARD)


@given(
    policies(),
    st.sets(st.integers(0, SHORT - 1), min_size=1, max_size=3),
    st.sampled_from([Propagation.SINGLE, Propagation.FORWARD_BACKWARD]),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_policy_tracks_through_a_short_volume(predictor, policy, prompted, propagation):
    tracks_through(predictor, policy, prompted, propagation)
    assert describe(policy)

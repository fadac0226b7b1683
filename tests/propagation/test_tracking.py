"""How prompts condition, corrections act, tracks end, and what they say in company."""

import numpy as np
import pytest
import torch

from lib.errors import BadInput
from lib.geometry import Axis
from lib.models.build import build_network
from lib.models.precision import Numerics, Precision, abilities, put_to_work
from lib.prompts.types import Box, Points
from lib.propagation.conditioning import condition
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.policy import PRESETS
from lib.propagation.stretches import stretches
from lib.propagation.tracking import LockStep, Track
from lib.propagation.video import PseudoVideo
from tests.propagation.conftest import (
    SLICES,
    disc,
    heard,
    run_pass,
    see_objects,
    small_config,
)


@pytest.fixture(scope="module")
def bank():
    return FeatureBank()


@pytest.fixture
def encoder(predictor, volume, grid, bank):
    video = PseudoVideo(volume, grid, Axis.AXIAL, predictor.image_size)
    return SliceEncoder(predictor, video, bank, "test")


def clicks(index, foreground=(), background=()):
    points = [np.array(p, float).reshape(-1, 2) for p in (foreground, background)]
    return Points(Axis.AXIAL, index, 1, *points)


def run(encoder, prompts, *, policy="baseline", **options):
    """What was said of each slice of a pass."""
    return run_pass(encoder, prompts, PRESETS[policy], **options).said


def logits_of(conditioned):
    """What was decoded of a prompted slice, at the resolution of its voxels."""
    return torch.from_numpy(conditioned.voxels)


def test_a_pass_tracks_every_unprompted_slice_from_its_start(encoder):
    for reverse, order in ((False, range(5, SLICES)), (True, range(9, -1, -1))):
        one = run_pass(encoder, [disc(1, 5), disc(1, 9)], PRESETS["baseline"], reverse=reverse)
        assert list(one.said) == list(order)
        found = one.track.tracked()
        assert found.slices == tuple(t for t in order if t not in (5, 9))
        assert found.voxels.shape == (len(found.slices), 40, 40)
        assert found.voxels.dtype == np.float16
        for n, t in enumerate(found.slices):
            seen = encoder.video.slice_logits(one.said[t].logits)[0].half().numpy()
            assert np.array_equal(found.voxels[n], seen)
            assert found.predicted_iou[n] == float(one.said[t].predicted_iou)
            assert found.object_score[n] == float(one.said[t].object_score)
        # the network's own estimate, not a constant
        assert len(set(found.predicted_iou.tolist())) > 5
        assert ((found.predicted_iou >= 0) & (found.predicted_iou <= 1)).all()
        assert np.isfinite(found.object_score).all()


@pytest.mark.parametrize("stop", [9, 14, SLICES - 1])
def test_a_track_ends_where_it_is_told_to(encoder, stop):
    conditioning = condition(encoder, [disc(1, 5), disc(1, 8)])
    (stretch,) = stretches(conditioning.prompted, SLICES - 1, reverse=False)
    track = Track(stretch, conditioning, PRESETS["is"], SLICES)
    asked = []

    def goes_on(signals):
        asked.append(signals)
        return signals.t < stop

    track.goes_on = goes_on
    steps = LockStep(encoder)
    steps.run([track], outward=False)
    assert track.tracked().slices == (6, 7)
    assert [s.t for s in track.signals()] == [6, 7]
    steps.run([track], outward=True)
    assert track.tracked().slices == (6, 7, *range(9, stop + 1))
    assert [s.t for s in asked] == list(range(9, stop + 1)), "asked beyond the prompts only"
    scores = track.tracked().object_score[2:]
    assert [s.object_score for s in asked] == pytest.approx(scores.tolist())
    assert track.ended


def test_a_painted_slice_is_certain_and_keeps_its_mask(encoder):
    prompt = disc(1, 5)
    painted = condition(encoder, [prompt]).slices[5]
    assert painted.predicted_iou == 1.0
    assert painted.object_score == 10.0
    seen = painted.voxels > 0
    assert 2 * (seen & prompt.mask).sum() / (seen.sum() + prompt.mask.sum()) > 0.9


def test_negative_points_alone_correct_what_tracking_says(encoder):
    plain = run(encoder, [disc(1, 5)])
    corrected = run(encoder, [disc(1, 5), clicks(9, background=[[18, 20]])])
    assert 9 not in condition(encoder, [disc(1, 5), clicks(9, background=[[18, 20]])]).slices
    assert all(torch.equal(plain[t].logits, corrected[t].logits) for t in range(5, 9))
    assert not torch.equal(plain[9].logits, corrected[9].logits)
    # what was said on the slice is remembered
    assert not torch.equal(plain[10].logits, corrected[10].logits)


def test_negative_points_are_read_against_the_mask_tracked_there(encoder, monkeypatch):
    """The click goes in with the earlier logits, as a click on a tracked frame in stock SAM 2."""
    calls = []
    decode = encoder.predictor.decode

    def watch(*args, **given):
        out = decode(*args, **given)
        calls.append((given, out.logits))
        return out

    monkeypatch.setattr(encoder.predictor, "decode", watch)
    run(encoder, [disc(1, 5), clicks(7, background=[[18, 20]])])
    said = [n for n, (given, _) in enumerate(calls) if given["points"] is not None]
    assert len(said) == 1
    clicked, before = calls[said[0]][0], calls[said[0] - 1]
    assert before[0]["previous"] is None
    assert clicked["points"]["point_labels"].tolist() == [[0]]
    assert torch.equal(clicked["previous"], before[1])


@pytest.mark.parametrize("count", [1, 2])
def test_only_negative_points_is_bad_input(encoder, count):
    prompts = [clicks(t, background=[[3, 3]]) for t in (4, 9)[:count]]
    with pytest.raises(BadInput, match="only negative points"):
        condition(encoder, prompts)


def test_positive_points_and_boxes_make_conditioning_slices(encoder):
    box = Box(Axis.AXIAL, 9, 1, np.array([10.0, 12.0]), np.array([25.0, 28.0]))
    made = condition(encoder, [box, clicks(4, foreground=[[18, 20]], background=[[2, 2]])])
    assert made.prompted == (4, 9)
    assert not made.corrections


def test_clicks_refine_a_mask_on_the_same_slice(encoder):
    """Neither the mask alone nor the clicks alone: the clicks, given the mask."""
    mask, click = disc(1, 5), clicks(5, background=[[18, 26]])
    both = logits_of(condition(encoder, [mask, click]).slices[5])
    alone = logits_of(condition(encoder, [mask]).slices[5])
    positive = clicks(5, foreground=[[18, 20]])
    pointed = logits_of(condition(encoder, [positive]).slices[5])
    refined = logits_of(condition(encoder, [mask, positive]).slices[5])
    assert not torch.equal(both, alone)
    assert not torch.equal(refined, pointed)
    assert not torch.equal(refined, alone)


def test_two_masks_on_a_slice_are_their_union(encoder):
    left, right = disc(1, 5, (12, 20), 4), disc(1, 5, (26, 20), 4)
    both = type(left)(Axis.AXIAL, 5, 1, left.mask | right.mask)
    apart = condition(encoder, [left, right]).slices[5]
    together = condition(encoder, [both]).slices[5]
    assert torch.equal(logits_of(apart), logits_of(together))
    assert torch.equal(apart.memory.features, together.memory.features)


def test_prompts_in_any_order_are_the_same(encoder):
    prompts = [disc(1, t, (16 + t // 4, 20)) for t in (0, 12, 23)]
    one, other = run(encoder, prompts), run(encoder, prompts[::-1])
    assert all(torch.equal(one[t].logits, other[t].logits) for t in one)


@pytest.mark.parametrize("policy", ["baseline", "is+sps", "stride4", "gate3", "sliced2"])
def test_forgetting_what_is_not_retained_changes_nothing(encoder, policy, monkeypatch):
    """A pass that keeps everything says the same, and the pruned one holds a bounded number."""
    kept = run(encoder, [disc(1, 0)], policy=policy)
    reach = PRESETS[policy].reach
    monkeypatch.setattr(type(PRESETS[policy]), "retained", lambda _, query: set(query.tracked))
    everything = run(encoder, [disc(1, 0)], policy=policy)
    assert all(torch.equal(kept[t].logits, everything[t].logits) for t in everything)
    monkeypatch.undo()
    most = 0
    for t in (8, 16, SLICES - 1):
        conditioning = condition(encoder, [disc(1, 0)])
        (stretch,) = stretches((0,), t, reverse=False)
        track = Track(stretch, conditioning, PRESETS[policy], SLICES)
        LockStep(encoder).run([track], outward=True)
        most = max(most, len(track._held))
    assert most <= reach + PRESETS[policy].gate + 1


def test_backward_alone_knows_nothing_of_forward(encoder):
    policy = PRESETS["baseline"]
    ahead = run_pass(encoder, [disc(1, 11)], policy, start=11)
    carried = ahead.track.recollection()
    fresh = run(encoder, [disc(1, 11)], reverse=True, start=11)
    seeing = run(encoder, [disc(1, 11)], reverse=True, start=11, carried=carried)
    assert not torch.equal(fresh[9].logits, seeing[9].logits)
    assert len(carried.memories) <= policy.reach


MANY = [
    ([disc(1, 0), disc(1, 12), disc(1, 23)], False),
    ([disc(1, 3, (20, 14), 5), disc(1, 14, (20, 14), 5), disc(1, 20, (22, 14), 5)], False),
    ([disc(1, 0), disc(1, 12), disc(1, 23)], True),
    ([disc(1, 2, (28, 12), 4), disc(1, 9, (28, 12), 4)], True),
    ([disc(1, 6, (8, 30), 4)], False),
]


def tracks_of(encoder, prompts, reverse, policy):
    conditioning = condition(encoder, prompts)
    limit = 0 if reverse else SLICES - 1
    return [
        Track(stretch, conditioning, policy, SLICES)
        for stretch in stretches(
            conditioning.prompted, limit, reverse=reverse, independent=policy.independent
        )
    ]


@pytest.mark.parametrize("name", ["baseline", "is+sps", "is+stretches", "gate3", "stretches"])
def test_in_lock_step_tracks_say_the_same_as_one_by_one(encoder, name):
    policy = PRESETS[name]
    together = [t for prompts, way in MANY for t in tracks_of(encoder, prompts, way, policy)]
    apart = [t for prompts, way in MANY for t in tracks_of(encoder, prompts, way, policy)]
    with heard(encoder.predictor) as batches:
        LockStep(encoder, 4).run(together, outward=True)
    assert {len(said.logits) for said in batches} == {4}
    if policy.independent:
        assert len(batches) < sum(len(t.stretch.slices) for t in together) / 1.5
    LockStep(encoder, 1).run(apart, outward=True)
    for one, other in zip(together, apart, strict=True):
        a, b = one.tracked(), other.tracked()
        assert a.slices == b.slices
        assert np.abs(a.voxels.astype(float) - b.voxels).max() < 5e-3
        assert np.abs(a.predicted_iou - b.predicted_iou).max() < 1e-3


@pytest.fixture(scope="module")
def in_half():
    """The same network, computing as it is served where the processor has bfloat16."""
    if not abilities(torch.device("cpu")).bf16:
        pytest.skip("this processor has no instructions for bfloat16")
    network = see_objects(build_network(small_config(), seed=1))
    put_to_work(network, Numerics(Precision.BF16.value, "a test"))
    return network


@pytest.mark.parametrize("rows", [2, 4, 8])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_a_track_says_does_not_depend_on_its_company(encoder, precision, rows, request):
    """Bit for bit, or a correction would not equal a fresh request."""
    if precision == "bf16":
        network = request.getfixturevalue("in_half")
        encoder = SliceEncoder(network, encoder.video, FeatureBank(), "in half")
    policy = PRESETS["is+stretches"]
    company = [t for prompts, way in MANY for t in tracks_of(encoder, prompts, way, policy)]
    LockStep(encoder, rows).run(company, outward=True)
    expected = {(t.stretch, t.conditioning.prompted): t.tracked() for t in company}
    for prompts, way in reversed(MANY):
        for alone in reversed(tracks_of(encoder, prompts, way, policy)):
            LockStep(encoder, rows).run([alone], outward=True)
            known, said = expected[alone.stretch, alone.conditioning.prompted], alone.tracked()
            assert np.array_equal(said.voxels, known.voxels)
            assert np.array_equal(said.object_score, known.object_score)
            assert np.array_equal(said.predicted_iou, known.predicted_iou)


def test_a_raising_callback_stops_before_the_next_slice(encoder):
    class Enough(Exception):
        pass

    advanced = []

    def stop(track):
        advanced.append(track.left)
        if len(advanced) == 3:
            raise Enough

    (track,) = tracks_of(encoder, [disc(1, 5)], False, PRESETS["baseline"])
    with pytest.raises(Enough):
        LockStep(encoder, advanced=stop).run([track], outward=True)
    assert track.tracked().slices == (6, 7, 8)

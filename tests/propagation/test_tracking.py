"""One object, one direction: how prompts condition, corrections act, and a pass ends."""

import numpy as np
import pytest
import torch

from lib.errors import BadInput
from lib.geometry import Axis
from lib.prompts.types import Box, Points
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.policy import PRESETS
from lib.propagation.tracking import ObjectPass, Source, TrackedSlice, condition
from lib.propagation.video import PseudoVideo
from tests.propagation.conftest import SLICES, disc


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


def run(encoder, prompts, *, policy="baseline", reverse=False, **options):
    conditioning = condition(encoder, prompts)
    start = conditioning.last if reverse else conditioning.first
    object_pass = ObjectPass(
        encoder,
        conditioning,
        PRESETS[policy],
        reverse=reverse,
        start=start,
        **options,
    )
    return {t: object_pass.step(t) for t in object_pass.order}


@pytest.mark.parametrize(("logit", "empty"), [(1, False), (-1, True)])
def test_a_mask_without_a_pixel_is_empty(logit, empty):
    logits = torch.full((1, 1, 4, 4), float(logit))
    assert TrackedSlice(3, Source.FORWARD, logits, 0.5, 1.0).is_empty is empty


def test_source_and_confidence(encoder):
    ahead = run(encoder, [disc(1, 5), disc(1, 9)])
    back = run(encoder, [disc(1, 5), disc(1, 9)], reverse=True)
    assert list(ahead) == list(range(5, SLICES))
    assert list(back) == list(range(9, -1, -1))
    assert {t for t, s in ahead.items() if s.source is Source.PROMPT} == {5, 9}
    assert {s.source for t, s in ahead.items() if t not in (5, 9)} == {Source.FORWARD}
    assert {s.source for t, s in back.items() if t not in (5, 9)} == {Source.BACKWARD}
    for tracked in (*ahead.values(), *back.values()):
        assert 0 <= tracked.predicted_iou <= 1
        assert np.isfinite(tracked.object_score)
    # the network's own estimate, not a constant
    assert len({s.predicted_iou for s in ahead.values()}) > 5


def test_a_painted_slice_is_certain_and_keeps_its_mask(encoder):
    prompt = disc(1, 5)
    tracked = run(encoder, [prompt])[5]
    assert tracked.predicted_iou == 1.0
    seen = encoder.video.slice_logits(tracked.logits).numpy() > 0
    assert 2 * (seen & prompt.mask).sum() / (seen.sum() + prompt.mask.sum()) > 0.9


def test_negative_points_alone_correct_what_tracking_says(encoder):
    plain = run(encoder, [disc(1, 5)])
    corrected = run(encoder, [disc(1, 5), clicks(9, background=[[18, 20]])])
    assert corrected[9].source is Source.FORWARD
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
    assert list(made.outputs) == [4, 9]
    assert (made.first, made.last) == (4, 9)
    assert not made.corrections


def test_clicks_refine_a_mask_on_the_same_slice(encoder):
    """Neither the mask alone nor the clicks alone: the clicks, given the mask."""
    mask, click = disc(1, 5), clicks(5, background=[[18, 26]])
    both = condition(encoder, [mask, click]).outputs[5].said.logits
    alone = condition(encoder, [mask]).outputs[5].said.logits
    positive = clicks(5, foreground=[[18, 20]])
    pointed = condition(encoder, [positive]).outputs[5].said.logits
    refined = condition(encoder, [mask, positive]).outputs[5].said.logits
    assert not torch.equal(both, alone)
    assert not torch.equal(refined, pointed)
    assert not torch.equal(refined, alone)


def test_two_masks_on_a_slice_are_their_union(encoder):
    left, right = disc(1, 5, (12, 20), 4), disc(1, 5, (26, 20), 4)
    both = type(left)(Axis.AXIAL, 5, 1, left.mask | right.mask)
    apart = condition(encoder, [left, right]).outputs[5]
    together = condition(encoder, [both]).outputs[5]
    assert torch.equal(apart.said.logits, together.said.logits)


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
    conditioning = condition(encoder, [disc(1, 0)])
    held = ObjectPass(encoder, conditioning, PRESETS[policy], reverse=False, start=0)
    for t in held.order:
        held.step(t)
        assert len(held._held) <= reach + PRESETS[policy].gate


def test_backward_alone_knows_nothing_of_forward(encoder):
    conditioning = condition(encoder, [disc(1, 11)])
    options = {"policy": PRESETS["baseline"], "start": 11}
    ahead = ObjectPass(encoder, conditioning, reverse=False, **options)
    for t in ahead.order:
        ahead.step(t)
    fresh = ObjectPass(encoder, conditioning, reverse=True, **options)
    carried = ObjectPass(encoder, conditioning, reverse=True, carried=ahead.carry(), **options)
    for t in range(11, 8, -1):
        a, b = fresh.step(t), carried.step(t)
    assert not torch.equal(a.logits, b.logits)
    assert len(ahead.carry()) <= PRESETS["baseline"].reach

"""Baseline is stock SAM 2, bit for bit: the stock predictor runs beside our loop, same weights."""

import numpy as np
import pytest
import torch

from benchmarks.stock import see_objects, stock_state
from lib.geometry import Axis
from lib.models.build import STOCK_PREDICTOR, build_network
from lib.prompts.types import Box, Points
from lib.propagation.batches import rows_for, slices_at_once
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.policy import PRESETS
from lib.propagation.settings import Propagation, PropagationSettings
from lib.propagation.video import PseudoVideo
from tests.propagation.conftest import disc, run_pass, small_config

torch.use_deterministic_algorithms(True, warn_only=True)


@pytest.fixture(scope="module")
def stock(predictor):
    network = see_objects(build_network(small_config(), STOCK_PREDICTOR, seed=1))
    for ours, theirs in zip(predictor.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    return network


@pytest.fixture
def video(volume, grid, predictor):
    return PseudoVideo(volume, grid, Axis.AXIAL, predictor.image_size)


def run_stock(stock, video, prompts, *, reverse_too, stride=1):
    """Logits by slice and object index from the stock predictor."""
    stock.memory_temporal_stride_for_eval = stride
    state = stock_state(stock, video)
    for p in prompts:
        if isinstance(p, (Points, Box)):
            inputs = video.point_inputs([p])
            stock.add_new_points_or_box(
                state,
                p.index,
                p.object_id,
                points=inputs["point_coords"] / stock.image_size,
                labels=inputs["point_labels"],
                normalize_coords=False,
            )
        else:
            rows, columns = video.canvas_shape
            assert video.frame_shape == (rows, columns)
            stock.add_new_mask(state, p.index, p.object_id, p.mask.T[::-1].copy())
    logits = {}
    for reverse in (False, True) if reverse_too else (False,):
        for t, ids, masks in stock.propagate_in_video(state, reverse=reverse):
            for n, object_id in enumerate(ids):
                logits[object_id, t] = masks[n]
    return logits


def run_ours(predictor, video, prompts, *, reverse_too, policy):
    """The same from our passes; the backward one sees the forward one's memory, as stock does."""
    encoder = SliceEncoder(predictor, video, FeatureBank(), "test")
    logits = {}
    first = min(p.index for p in prompts)
    for object_id in {p.object_id for p in prompts}:
        own = [p for p in prompts if p.object_id == object_id]
        passes = [run_pass(encoder, own, policy, start=first)]
        if reverse_too:
            carried = passes[0].track.recollection()
            passes.append(
                run_pass(encoder, own, policy, reverse=True, start=first, carried=carried)
            )
        for one in passes:
            logits |= {(object_id, t): said.logits for t, said in one.said.items()}
    assert encoder.encoded == len({t for _, t in logits})
    return {key: video.slice_logits(value)[0] for key, value in logits.items()}


CASES = {
    "first-middle-last": ([disc(1, t) for t in (0, 12, 23)], "baseline", 1),
    "middle, both ways": ([disc(1, 11)], "baseline", 1),
    "two objects": (
        [disc(1, 8), disc(1, 20), disc(2, 8, (28, 12), 5)],
        "baseline",
        1,
    ),
    "uniform five": ([disc(1, t) for t in (0, 6, 12, 17, 23)], "baseline", 1),
    "stride 2, both ways": ([disc(1, 9)], "stride2", 2),
    "stride 4, both ways": ([disc(1, 14)], "stride4", 4),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_stock(name, predictor, stock, video):
    prompts, preset, stride = CASES[name]
    backward = min(p.index for p in prompts) > 0
    expected = run_stock(stock, video, prompts, reverse_too=backward, stride=stride)
    got = run_ours(predictor, video, prompts, reverse_too=backward, policy=PRESETS[preset])
    assert expected.keys() == got.keys()
    assert (torch.stack(list(expected.values())) > -1000).any(), "the comparison is of blanks"
    for key, theirs in expected.items():
        ours = got[key].T.flip(0)[None]
        assert torch.equal(ours, theirs), f"object, slice {key}"


def test_points_and_boxes_equal_stock(predictor, stock, video):
    clicks = Points(Axis.AXIAL, 5, 1, np.array([[18.0, 20.0]]), np.array([[30.0, 8.0]]))
    box = Box(Axis.AXIAL, 15, 1, np.array([10.0, 12.0]), np.array([25.0, 28.0]))
    expected = run_stock(stock, video, [clicks, box], reverse_too=True)
    got = run_ours(predictor, video, [clicks, box], reverse_too=True, policy=PRESETS["baseline"])
    for key, theirs in expected.items():
        assert torch.equal(got[key].T.flip(0)[None], theirs), f"object, slice {key}"


def test_another_policy_is_another_result(predictor, video):
    """Guards the tests above: were plans ignored, every policy would equal stock."""
    prompts, _, _ = CASES["first-middle-last"]
    baseline = run_ours(predictor, video, prompts, reverse_too=False, policy=PRESETS["baseline"])
    for name in ("sps", "is", "is+sps", "sliced2", "sliced0", "stride2", "gate3"):
        other = run_ours(predictor, video, prompts, reverse_too=False, policy=PRESETS[name])
        assert not all(torch.equal(baseline[k], other[k]) for k in baseline), name


def test_exact_requests_go_one_by_one(predictor, monkeypatch):
    """Else a batch would round otherwise; where it may, the small network is batched."""
    engine = PseudoVideoInferer(predictor, "test")
    single, both = (
        PropagationSettings(policy=PRESETS[policy], propagation=propagation)
        for policy, propagation in (
            ("is+sps", Propagation.SINGLE),
            ("stretches", Propagation.FORWARD_BACKWARD),
        )
    )
    assert engine.rows_of(both, 3) == engine.batch == 1
    monkeypatch.setattr(predictor, "exact", False)
    assert [engine.rows_of(single, objects) for objects in (1, 2, 6)] == [1, 2, 4]
    assert [engine.rows_of(both, objects) for objects in (1, 2, 6)] == [4, 4, 4]
    assert PseudoVideoInferer(predictor, "test").batch == 4
    assert rows_for("cpu", 1024, 6) == slices_at_once("cpu", 1024) == 1
    assert [rows_for("cuda", 1024, tracks) for tracks in (1, 4, 12)] == [1, 4, 8]

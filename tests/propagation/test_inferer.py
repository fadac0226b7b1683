"""The engine's front door: directions, axes, objects, corrections, progress."""

from dataclasses import replace

import numpy as np
import pytest

from lib.errors import BadInput, Cancelled
from lib.geometry import Axis, Grid
from lib.prompts.types import Mask, Points, PromptSet
from lib.prompts.wiped import Wiped
from lib.propagation.conditioning import PromptedSlice
from lib.propagation.extent import Extent, SliceSignals
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.fusion import ABSENT, forward_share
from lib.propagation.inferer import PAINTED, PseudoVideoInferer
from lib.propagation.policy import PRESETS
from lib.propagation.records import Rule, Source
from lib.propagation.seeding import cross_axis_masks
from lib.propagation.settings import Prior, Propagation, PropagationSettings
from lib.propagation.tracking import Track
from lib.propagation.uncertainty import disagreement, uncertainty
from lib.propagation.video import PseudoVideo
from tests.propagation.conftest import SLICES, disc, run_pass

SINGLE = PropagationSettings()
BOTH = replace(SINGLE, propagation=Propagation.FORWARD_BACKWARD)
THREE = replace(SINGLE, propagation=Propagation.THREE_AXIS)


@pytest.fixture
def infer(predictor, volume):
    """Calls the engine with a bank of its own."""
    engine = PseudoVideoInferer(predictor, "test", FeatureBank(), batch=4)

    def call(prompts, settings=SINGLE, progress=None, of=volume):
        return engine(of, prompts, settings, progress)

    return call


@pytest.fixture
def fresh(predictor, volume):
    """Calls the engine with a new bank each time."""

    def call(prompts, settings=SINGLE, progress=None):
        return PseudoVideoInferer(predictor, "test", FeatureBank(), batch=4)(
            volume, prompts, settings, progress
        )

    return call


@pytest.fixture
def two_objects(grid):
    return PromptSet(
        grid, (disc(1, 6), disc(1, 17), disc(2, 9, (28, 12), 5), disc(7, 20, (8, 30), 4))
    )


@pytest.fixture
def small():
    """A volume and a prompt for each axis; few slices, as three axes are three runs."""
    shape = (14, 12, 10)
    noise = np.random.default_rng(3).random(shape).astype(np.float32)
    cube = np.zeros(shape, bool)
    cube[4:10, 3:9, 3:8] = True
    prompts = tuple(
        Mask(axis, shape[axis.dim] // 2, 1, np.take(cube, shape[axis.dim] // 2, axis=axis.dim))
        for axis in Axis
    )
    return noise, PromptSet(Grid(shape, np.diag([2.0, 2.0, 3.0, 1.0])), prompts)


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[i], b[i]) for i in a)


def slices_of(result, object_id, axis=Axis.AXIAL):
    return {
        (r.index, r.source) for r in result.slices if (r.object_id, r.axis) == (object_id, axis)
    }


def test_single_reaches_every_slice_from_the_first_prompt(infer, grid):
    result = infer(PromptSet(grid, (disc(1, 6), disc(1, 17))))
    assert result.logits[1].shape == grid.shape
    assert result.logits[1].dtype == np.float16
    assert slices_of(result, 1) == {
        *((t, "backward") for t in range(6)),
        (6, "prompt"),
        *((t, "forward") for t in range(7, SLICES) if t != 17),
        (17, "prompt"),
    }
    assert len(result.slices) == SLICES
    assert result.encoded == SLICES
    assert result.decided == []


def test_records_tell_the_confidence_of_their_slice(infer, grid):
    result = infer(PromptSet(grid, (disc(1, 6),)))
    by_slice = {r.index: r for r in result.slices}
    assert by_slice[6].predicted_iou == 1.0
    assert all(0 <= r.predicted_iou <= 1 for r in result.slices)
    assert len({r.predicted_iou for r in result.slices}) > 5
    assert len({r.object_score for r in result.slices}) > 5
    assert all(isinstance(r.object_score, float) for r in result.slices)


def test_painted_slices_come_back_exactly(infer, two_objects):
    result = infer(two_objects)
    for prompt in two_objects.prompts:
        got = result.logits[prompt.object_id][:, :, prompt.index]
        assert np.array_equal(got > 0, prompt.mask)
        assert set(np.unique(np.abs(got))) == {PAINTED}


def test_two_masks_on_a_slice_both_come_back(infer, grid):
    left, right = disc(1, 5, (12, 20), 4), disc(1, 5, (26, 20), 4)
    result = infer(PromptSet(grid, (left, right)))
    assert np.array_equal(result.logits[1][:, :, 5] > 0, left.mask | right.mask)


def test_a_painted_slice_with_clicks_is_refined_not_pasted(infer, grid):
    click = Points(Axis.AXIAL, 6, 1, np.zeros((0, 2)), np.array([[18.0, 25.0]]))
    result = infer(PromptSet(grid, (disc(1, 6), click)))
    assert np.abs(result.logits[1][:, :, 6]).max() < PAINTED


def test_forward_backward_is_the_mean_of_two_single_passes(fresh, predictor, volume, grid):
    prompts = PromptSet(grid, (disc(1, 6), disc(1, 17)))
    merged = fresh(prompts, BOTH)
    # forward from 6 and backward from 17 each alone: the same conditioning, reached singly
    ahead, back = passes_alone(predictor, volume, prompts, 6, 17)
    inner = list(range(7, 17))
    mean = (np.clip(ahead, -10, 10) + np.clip(back, -10, 10)) / 2
    assert np.allclose(merged.logits[1][..., inner], mean[..., inner], atol=0.02)
    assert not np.allclose(ahead[..., inner], back[..., inner], atol=0.1)
    assert np.allclose(merged.logits[1][..., 18:], ahead[..., 18:], atol=0.02)
    assert np.allclose(merged.logits[1][..., :6], back[..., :6], atol=0.02)
    assert slices_of(merged, 1) == {
        *((t, "forward") for t in range(7, SLICES) if t != 17),
        *((t, "backward") for t in range(17) if t != 6),
        (6, "prompt"),
        (17, "prompt"),
    }
    assert len(merged.slices) == len(slices_of(merged, 1))
    assert merged.encoded == SLICES


def test_distance_gives_the_nearer_prompt_the_say(fresh, predictor, volume, grid):
    prompts = PromptSet(grid, (disc(1, 6), disc(1, 17)))
    merged = fresh(prompts, replace(BOTH, merge="distance"))
    ahead, back = passes_alone(predictor, volume, prompts, 6, 17)
    for t in range(7, 17):
        share = forward_share(t, (6, 17))
        expected = share * np.clip(ahead[..., t], -10, 10)
        expected += (1 - share) * np.clip(back[..., t], -10, 10)
        assert np.allclose(merged.logits[1][..., t], expected, atol=0.02), t


def passes_alone(predictor, volume, prompts, first, last):
    """(forward, backward) logits of the two passes, got from the tracking loop itself."""
    video = PseudoVideo(volume, prompts.grid, Axis.AXIAL, predictor.image_size)
    encoder = SliceEncoder(predictor, video, FeatureBank(), "test", 4)
    said = []
    for reverse, start in ((False, first), (True, last)):
        one = run_pass(encoder, prompts.prompts, PRESETS["baseline"], reverse=reverse, start=start)
        logits = np.zeros(prompts.grid.shape, np.float32)
        for t, decoded in one.said.items():
            logits[..., t] = video.slice_logits(decoded.logits)[0].numpy()
        said.append(logits)
    return said


def test_carry_lets_the_backward_pass_see_the_forward_one(infer, grid):
    prompts = PromptSet(grid, (disc(1, 11),))
    apart, carried = infer(prompts), infer(prompts, replace(SINGLE, carry=True))
    assert np.array_equal(apart.logits[1][..., 11:], carried.logits[1][..., 11:])
    assert not np.array_equal(apart.logits[1][..., :11], carried.logits[1][..., :11])


def test_three_axes_with_prompts_on_each_are_averaged(predictor, small):
    volume, prompts = small
    engine = PseudoVideoInferer(predictor, "test", FeatureBank())
    fused = engine(volume, prompts, THREE)
    assert fused.decided == []
    assert fused.encoded == sum(volume.shape)
    for axis in Axis:
        assert {i for i, _ in slices_of(fused, 1, axis)} == set(range(volume.shape[axis.dim]))
    alone = []
    painted = np.zeros(volume.shape, bool)
    for axis in Axis:
        own = PromptSet(prompts.grid, prompts.select(axis=axis))
        result = engine(volume, own, replace(SINGLE, axis=axis))
        assert result.encoded == 0, "axes are encoded once"
        alone.append(np.clip(result.logits[1].astype(np.float32), -10, 10))
        np.moveaxis(painted, axis.dim, 0)[own.prompts[0].index] = True
    mean = np.mean(alone, axis=0)
    assert np.allclose(fused.logits[1][~painted], mean[~painted], atol=0.02)
    for prompt in prompts.prompts:
        shown = np.take(fused.logits[1], prompt.index, axis=prompt.axis.dim) > 0
        assert np.array_equal(shown, prompt.mask)
    apart = []
    for record in (r for r in fused.slices if r.source is not Source.PROMPT):
        own, all_three = (
            np.take(m, record.index, axis=record.axis.dim) > 0
            for m in (alone[list(Axis).index(record.axis)], mean)
        )
        apart.append(disagreement(own, all_three))
        expected = uncertainty(record.predicted_iou, None, apart[-1])
        assert record.uncertainty == pytest.approx(expected, abs=2e-3)
    assert max(apart) > 0.1, "axes that agree everywhere test nothing"


def test_three_axes_from_one_are_seeded_and_say_so(predictor, small):
    volume, prompts = small
    engine = PseudoVideoInferer(predictor, "test", FeatureBank())
    axial = PromptSet(prompts.grid, prompts.select(axis=Axis.AXIAL))
    fused = engine(volume, axial, THREE)
    assert [d.split()[0] for d in fused.decided] == ["sagittal", "coronal"]
    assert all("seeded from the painted axes at slices" in d for d in fused.decided)
    for axis, sentence in zip((Axis.SAGITTAL, Axis.CORONAL), fused.decided, strict=True):
        seeds = sorted(t for t, source in slices_of(fused, 1, axis) if source == "prompt")
        assert str(seeds) in sentence
        assert seeds
        assert {t for t, _ in slices_of(fused, 1, axis)} == set(range(volume.shape[axis.dim]))
    shown = fused.logits[1][:, :, axial.prompts[0].index] > 0
    assert np.array_equal(shown, axial.prompts[0].mask)


def silent(monkeypatch, *axes):
    """Makes tracking along some axes find nothing; prompted slices stay what they are."""
    tracked = Track.tracked

    def nothing(self):
        found = tracked(self)
        blank = found.voxels.shape[1:] in {shapes[axis] for axis in axes}
        return replace(found, voxels=np.full_like(found.voxels, -5)) if blank else found

    shapes = {Axis.AXIAL: (14, 12), Axis.CORONAL: (14, 10), Axis.SAGITTAL: (12, 10)}
    monkeypatch.setattr(Track, "tracked", nothing)


def test_what_was_painted_seeds_even_if_nothing_was_tracked(predictor, small, monkeypatch):
    volume, prompts = small
    axial = PromptSet(prompts.grid, prompts.select(axis=Axis.AXIAL))
    silent(monkeypatch, Axis.AXIAL)
    fused = PseudoVideoInferer(predictor, "test", FeatureBank())(volume, axial, THREE)
    assert [d.split()[0] for d in fused.decided] == ["sagittal", "coronal"]
    painted = axial.prompts[0]
    for axis in (Axis.SAGITTAL, Axis.CORONAL):
        seeds = {t for t, source in slices_of(fused, 1, axis) if source == "prompt"}
        assert seeds <= set(np.flatnonzero(painted.mask.any(1 - axis.dim)).tolist())
        assert seeds
    shown = np.take(fused.logits[1], painted.index, axis=2) > 0
    assert np.array_equal(shown, painted.mask)


def test_an_object_that_is_not_found_spoils_nothing_for_the_others(predictor, small, monkeypatch):
    """A clicked object of which nothing is left to cut is told of; the painted one is fused."""
    volume, prompts = small
    click = Points(Axis.AXIAL, 2, 2, np.array([[1.0, 1.0]]), np.zeros((0, 2)))
    asked = PromptSet(prompts.grid, (prompts.select(axis=Axis.AXIAL)[0], click))
    conditioned = PromptedSlice.__init__

    def blind(self, *args, **given):
        if given["predicted_iou"] != 1.0:  # clicked, not painted
            given["voxels"] = np.full_like(given["voxels"], -5)
        conditioned(self, *args, **given)

    monkeypatch.setattr(PromptedSlice, "__init__", blind)
    silent(monkeypatch, Axis.AXIAL)
    told = []
    fused = PseudoVideoInferer(predictor, "test", FeatureBank())(
        volume, asked, THREE, lambda done, expected: told.append(done / expected)
    )
    lacking = [d for d in fused.decided if "object 2 was not found" in d]
    assert [d.split(" axis ")[-2].split()[-1] for d in lacking] == ["sagittal", "coronal"]
    assert not (fused.logits[2] > 0).any()
    assert slices_of(fused, 1, Axis.SAGITTAL)
    assert slices_of(fused, 1, Axis.CORONAL)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_seeds_are_cut_from_what_was_painted_not_from_other_seeds(predictor, small, monkeypatch):
    """Both missing axes are seeded from the axial result alone, whichever comes first."""
    volume, prompts = small
    axial = PromptSet(prompts.grid, prompts.select(axis=Axis.AXIAL))
    given = []

    def watch(logits, grid, axis, object_id):
        given.append(logits)
        return cross_axis_masks(logits, grid, axis, object_id)

    monkeypatch.setattr("lib.propagation.inferer.cross_axis_masks", watch)
    PseudoVideoInferer(predictor, "test", FeatureBank())(volume, axial, THREE)
    assert len(given) == 2
    assert np.array_equal(*given)


@pytest.mark.parametrize("rows", [1, 4])
def test_an_object_is_as_if_it_were_alone(predictor, volume, two_objects, rows):
    def call(prompts):
        engine = PseudoVideoInferer(predictor, "test", bank, batch=4, rows=rows)
        return engine(volume, prompts, SINGLE)

    bank = FeatureBank()
    together = call(two_objects)
    assert sorted(together.logits) == [1, 2, 7]
    assert together.encoded == SLICES, "objects share encoded slices"
    for object_id in (1, 2, 7):
        alone = call(PromptSet(two_objects.grid, two_objects.select(object_id)))
        assert alone.encoded == 0
        assert np.array_equal(alone.logits[object_id], together.logits[object_id])
        own = [r for r in together.slices if r.object_id == object_id]
        assert sorted(own, key=lambda r: r.index) == sorted(alone.slices, key=lambda r: r.index)


@pytest.mark.parametrize("settings", [SINGLE, BOTH], ids=["single", "forward-backward"])
def test_a_correction_encodes_nothing_and_equals_a_fresh_request(infer, fresh, grid, settings):
    """The slice was tracked before: stock SAM 2 would lose the correction silently."""
    first = PromptSet(grid, (disc(1, 4), disc(1, 20), disc(2, 9, (28, 12), 5)))
    before = infer(first, settings)
    assert before.encoded == SLICES
    correction = disc(1, 11, (24, 15), 4)
    corrected = infer(first.merged([correction]), settings)
    assert corrected.encoded == 0
    from_scratch = fresh(first.merged([correction]), settings)
    assert from_scratch.encoded == SLICES
    assert equal(corrected.logits, from_scratch.logits)
    assert corrected.slices == from_scratch.slices
    assert (11, "prompt") in slices_of(corrected, 1)
    assert np.array_equal(corrected.logits[1][:, :, 11] > 0, correction.mask)
    # it steers its neighbours, and only its own object
    assert not np.array_equal(corrected.logits[1][..., 12], before.logits[1][..., 12])
    assert np.array_equal(corrected.logits[2], before.logits[2])


def test_a_click_as_correction_encodes_nothing_and_equals_a_fresh_request(infer, fresh, grid):
    first = PromptSet(grid, (disc(1, 4), disc(1, 20)))
    before = infer(first)
    click = Points(Axis.AXIAL, 11, 1, np.zeros((0, 2)), np.array([[18.0, 20.0]]))
    corrected = infer(first.merged([click]))
    assert corrected.encoded == 0
    assert equal(corrected.logits, fresh(first.merged([click])).logits)
    assert not np.array_equal(corrected.logits[1][..., 11], before.logits[1][..., 11])


def test_a_small_bank_encodes_more_and_says_the_same(predictor, volume, infer, two_objects):
    tight = PseudoVideoInferer(predictor, "test", FeatureBank(max_bytes=1), batch=4)
    result = tight(volume, two_objects, SINGLE)
    assert result.encoded > SLICES
    assert equal(result.logits, infer(two_objects).logits)


def reports(call, *args):
    told = []
    result = call(*args, lambda done, expected: told.append((done, expected)))
    return result, told


@pytest.mark.parametrize("settings", [SINGLE, BOTH], ids=["single", "forward-backward"])
def test_progress_counts_each_slice_of_each_object(infer, two_objects, settings):
    result, told = reports(infer, two_objects, settings)
    done, expected = zip(*told, strict=True)
    assert list(done) == list(range(1, len(told) + 1))
    assert len(set(expected)) == 1
    assert done[-1] == expected[-1]
    assert done[-1] >= len(result.slices)


def test_progress_over_three_axes_never_goes_back(predictor, small):
    volume, prompts = small
    engine = PseudoVideoInferer(predictor, "test", FeatureBank())
    for painted in (prompts.prompts, prompts.select(axis=Axis.AXIAL)):
        told = []
        engine(
            volume,
            PromptSet(prompts.grid, painted),
            THREE,
            lambda done, expected, told=told: told.append(done / expected),
        )
        assert told == sorted(told)
        assert told[-1] == 1.0
        assert told.count(1.0) == 1


@pytest.fixture
def present(monkeypatch):
    """Makes the network find the object on the given slices, of any axis, and nowhere else."""

    def script(slices):
        def scripted(t, _score, _empty):
            return SliceSignals(t, 6.0 if t in slices else -6.0)

        monkeypatch.setattr("lib.propagation.tracking.SliceSignals", scripted)

    return script


@pytest.mark.parametrize("settings", [SINGLE, BOTH, THREE])
def test_progress_ends_whole_where_objects_end(infer, two_objects, settings, present):
    """Passes that stop early are taken off what is expected at once, not afterwards."""
    present(range(5, 21))
    result, told = reports(infer, two_objects, replace(settings, extent=Extent.parse("open")))
    assert told[-1][0] == told[-1][1]
    fractions = [done / expected for done, expected in told]
    assert fractions == sorted(fractions)
    assert all(f < 1 for f in fractions[:-1])
    reached = {t for t, _ in slices_of(result, 1)}
    assert reached == set(range(4, 22)), "one slice without the object is enough to be sure"


@pytest.mark.parametrize("settings", [SINGLE, BOTH])
def test_what_lies_beyond_the_ends_is_told_and_left_out(infer, two_objects, settings, present):
    present(range(5, 21))
    result = infer(two_objects, replace(settings, extent=Extent.parse("open")))
    ends = {e.object_id: (e.first, e.last, e.first_rule, e.last_rule) for e in result.ends}
    assert ends[1] == (5, 20, Rule.OPEN, Rule.OPEN)
    for logits in result.logits.values():
        assert (logits[:, :, :5] == ABSENT).all()
        assert (logits[:, :, 21:] == ABSENT).all()
    beyond = {(r.object_id, r.index) for r in result.slices if r.source is Source.BEYOND}
    assert beyond == {(i, t) for i in (1, 2, 7) for t in (4, 21)}
    whole = infer(two_objects, settings)
    found = sum(int((whole.logits[1][:, :, t] > 0).sum()) for t in (4, 21))
    assert result.beyond[1] == found


@pytest.mark.parametrize("settings", [SINGLE, BOTH])
def test_painted_extent_tracks_nothing_beyond(infer, two_objects, settings):
    result = infer(two_objects, replace(settings, extent=Extent.parse("painted")))
    assert {t for t, _ in slices_of(result, 1)} == set(range(6, 18))
    assert {t for t, _ in slices_of(result, 2)} == {9}
    assert result.ends[0].first_rule is Rule.PAINTED


def test_a_range_names_the_slices(infer, two_objects):
    result = infer(two_objects, replace(BOTH, extent=Extent.parse("4-21")))
    assert {t for t, _ in slices_of(result, 2)} == set(range(4, 22))
    assert {(e.first, e.last) for e in result.ends} == {(4, 21)}


def test_wiped_slices_beyond_the_prompts_end_that_object_only(predictor, volume, two_objects):
    engine = PseudoVideoInferer(predictor, "test", FeatureBank(), batch=4)
    wiped = [Wiped(1, Axis.AXIAL, frozenset({2, 10, 19}))]
    result = engine(volume, two_objects, SINGLE, wiped=wiped)
    ends = {e.object_id: e for e in result.ends}
    assert (ends[1].first, ends[1].last) == (3, 18)
    assert (ends[1].first_rule, ends[1].last_rule) == (Rule.WIPED, Rule.WIPED)
    assert (ends[2].first, ends[2].last) == (0, SLICES - 1)
    assert {t for t, _ in slices_of(result, 1)} == set(range(3, 19))


def test_three_axes_keep_to_the_ends_of_the_painted_one(infer, two_objects):
    result = infer(two_objects, replace(THREE, extent=Extent.parse("painted")))
    assert not (result.logits[1][:, :, :6] > 0).any()
    assert not (result.logits[1][:, :, 18:] > 0).any()
    assert {e.axis for e in result.ends} == {Axis.AXIAL}, "nobody marked the other axes"


@pytest.mark.parametrize("settings", [SINGLE, BOTH])
def test_the_prior_speaks_between_painted_slices_and_keeps_them(infer, three_prompts, settings):
    without = infer(three_prompts, settings)
    with_it = infer(three_prompts, replace(settings, prior=Prior.AUTO))
    assert not np.array_equal(without.logits[1], with_it.logits[1])
    for prompt in three_prompts.prompts:
        assert np.array_equal(with_it.logits[1][:, :, prompt.index] == PAINTED, prompt.mask)


class Stop(Cancelled):
    """What a person who cancels raises."""


@pytest.mark.parametrize(("settings", "at"), [(SINGLE, 13), (BOTH, 40)])
def test_a_raising_callback_stops_there_and_leaves_no_trace(
    infer, fresh, two_objects, settings, at
):
    told = []

    def cancel(done, expected):
        told.append(done)
        if done == at:
            raise Stop

    with pytest.raises(Stop):
        infer(two_objects, settings, cancel)
    assert told == list(range(1, at + 1))
    after = infer(two_objects, settings)
    undisturbed = fresh(two_objects, settings)
    assert equal(after.logits, undisturbed.logits)
    assert after.slices == undisturbed.slices
    assert after.encoded < undisturbed.encoded, "what was encoded before the stop is kept"


def test_policies_reach_the_network(infer, three_prompts):
    baseline = infer(three_prompts)
    for name in ("is", "sps", "is+sps", "gate3"):
        other = infer(three_prompts, replace(SINGLE, policy=PRESETS[name]))
        assert other.encoded == 0, "policies share encoded slices"
        assert not equal(other.logits, baseline.logits), name


def test_other_axes_give_the_shape_of_the_volume(infer, grid):
    coronal = disc(1, 20, (18, 12), 6, Axis.CORONAL, (40, SLICES))
    result = infer(PromptSet(grid, (coronal,)), replace(SINGLE, axis=Axis.CORONAL))
    assert result.logits[1].shape == grid.shape
    assert np.array_equal(result.logits[1][:, 20] > 0, coronal.mask)
    assert {t for t, _ in slices_of(result, 1, Axis.CORONAL)} == set(range(40))


def test_prompts_on_another_axis_are_refused(infer, grid):
    coronal = disc(1, 20, (18, 12), 6, Axis.CORONAL, (40, SLICES))
    with pytest.raises(BadInput, match="coronal axis cannot steer a propagation along the axial"):
        infer(PromptSet(grid, (disc(1, 5), coronal)))


def test_volume_and_prompts_must_fit(infer, three_prompts, volume):
    with pytest.raises(BadInput, match="differ in size"):
        infer(three_prompts, of=volume[:-1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"merge": "median"}, "unknown merge 'median'"),
        ({"carry": True, "propagation": Propagation.THREE_AXIS}, "carry belongs to single"),
        ({"carry": True, "policy": PRESETS["stretches"]}, "carry lets .* choose one"),
    ],
)
def test_bad_settings_are_refused(options, said):
    with pytest.raises(BadInput, match=said):
        PropagationSettings(**options)


def test_propagations_by_name():
    assert [Propagation.parse(f" {p.value.upper()} ") for p in Propagation] == list(Propagation)
    with pytest.raises(BadInput, match="use one of single, forward-backward, three-axis"):
        Propagation.parse("spiral")

"""A correction tracks what it changes, and says bit for bit what a fresh request says."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.geometry import Axis, Grid
from lib.prompts.types import Points, PromptSet
from lib.prompts.wiped import Wiped
from lib.propagation.extent import Extent
from lib.propagation.features import FeatureBank
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.kept import Store, digest_of
from lib.propagation.policy import PRESETS
from lib.propagation.settings import Propagation, PropagationSettings
from tests.propagation.conftest import SLICES, disc
from tests.propagation.strategies import policies

STRETCHES = PropagationSettings(policy=PRESETS["is+stretches"])
BOTH = replace(STRETCHES, propagation=Propagation.FORWARD_BACKWARD)
AUTO = replace(BOTH, extent=Extent.parse("auto"))
FIRST = (disc(1, 2), disc(1, 10), disc(1, 20), disc(2, 8, (28, 12), 5))
MORE = disc(1, 14, (20, 20), 6)


@pytest.fixture(scope="module")
def bank():
    return FeatureBank()


@pytest.fixture
def engine(predictor, bank):
    def make(rows=None, store=None):
        return PseudoVideoInferer(predictor, "test", bank, rows=rows, store=store)

    return make


def same(one, other):
    assert one.logits.keys() == other.logits.keys()
    assert all(np.array_equal(one.logits[i], other.logits[i]) for i in one.logits)
    assert one.slices == other.slices
    assert one.ends == other.ends
    assert one.beyond == other.beyond
    return True


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize(
    ("settings", "tracked"),
    [
        # between 10 and 20, without the new slice; in one direction or both
        (STRETCHES, 8),
        (BOTH, 16),
        (AUTO, 16),
        # every slice of object 1 in the direction that sees all prompts; 10 to 19 see no others
        (replace(STRETCHES, policy=PRESETS["is"]), SLICES - 4),
    ],
)
def test_a_correction_tracks_its_stretch_alone(engine, volume, grid, settings, tracked, rows):
    first = PromptSet(grid, FIRST)
    corrected = first.merged([MORE])
    subject = engine(rows)
    before = subject(volume, first, settings)
    assert before.tracked > tracked
    got = subject(volume, corrected, settings)
    assert got.tracked == tracked
    assert got.encoded == 0
    assert same(got, engine(rows)(volume, corrected, settings))
    assert not np.array_equal(got.logits[1], before.logits[1])


def test_asked_again_nothing_is_tracked(engine, volume, grid):
    subject, prompts = engine(), PromptSet(grid, FIRST)
    fresh, again = (subject(volume, prompts, AUTO) for _ in range(2))
    assert fresh.tracked > 0
    assert again.tracked == 0
    assert same(fresh, again)


def test_undoing_a_correction_is_found_again(engine, volume, grid):
    subject, first = engine(), PromptSet(grid, FIRST)
    before = subject(volume, first, BOTH)
    subject(volume, first.merged([MORE]), BOTH)
    back = subject(volume, first, BOTH)
    assert back.tracked == 0
    assert same(before, back)


@dataclass(frozen=True)
class Change:
    """A second request that must not take anything over that it changes."""

    settings: PropagationSettings = STRETCHES
    taken: tuple[int, int] | None = None
    brighter: bool = False
    prompts: tuple = ()


CHANGES = {
    "policy": (Change(replace(STRETCHES, policy=PRESETS["stretches"])), SLICES * 2 - 4),
    "content": (Change(brighter=True), SLICES * 2 - 4),
    "voxels taken": (Change(taken=(12, 14)), 9 + 15),
    "negative click": (
        Change(prompts=(Points(Axis.AXIAL, 5, 1, np.zeros((0, 2)), np.array([[18.0, 20.0]])),)),
        7,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_decides_bits_is_in_the_key(engine, volume, grid, name):
    change, tracked = CHANGES[name]
    subject, first = engine(), PromptSet(grid, FIRST)
    subject(volume, first, STRETCHES)
    seen = volume + np.float32(1e-3) if change.brighter else volume
    taken = None
    if change.taken:
        taken = np.zeros(volume.shape, bool)
        taken[:, :20, change.taken[0] : change.taken[1]] = True
    asked = first.merged(change.prompts)
    got = subject(seen, asked, change.settings, taken=taken)
    assert got.tracked == tracked
    assert same(got, engine()(seen, asked, change.settings, taken=taken))


def test_a_wiped_slice_ends_the_object_and_costs_one_end(engine, volume, grid):
    subject, prompts = engine(), PromptSet(grid, FIRST)
    subject(volume, prompts, STRETCHES)
    wiped = [Wiped(1, Axis.AXIAL, frozenset({22}))]
    got = subject(volume, prompts, STRETCHES, wiped=wiped)
    assert got.tracked <= 2
    assert same(got, engine()(volume, prompts, STRETCHES, wiped=wiped))


LENGTH = 9
NOISE = np.random.default_rng(4).random((12, 12, LENGTH)).astype(np.float32)
PLACES = st.sets(st.tuples(st.sampled_from([1, 2]), st.integers(0, LENGTH - 1)), min_size=1)


@given(
    policies(),
    st.lists(PLACES, min_size=2, max_size=3),
    st.sampled_from([Propagation.SINGLE, Propagation.FORWARD_BACKWARD]),
    st.sampled_from(["auto", "open", "whole", "painted"]),
    st.sampled_from([1, 2]),
)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_was_asked_before_the_answer_is_a_fresh_one(
    predictor, bank, policy, requests, propagation, extent, rows
):
    grid = Grid(NOISE.shape, np.diag([2.0, 2.0, 3.0, 1.0]))
    asked = PropagationSettings(policy=policy, propagation=propagation, extent=Extent.parse(extent))
    subject = PseudoVideoInferer(predictor, "test", bank, rows=rows)
    for places in requests:
        prompts = PromptSet(
            grid, tuple(disc(i, t, (6, 4 + 2 * i), 3, shape=(12, 12)) for i, t in places)
        )
        got = subject(NOISE, prompts, asked)
        fresh = PseudoVideoInferer(predictor, "test", bank, rows=rows)(NOISE, prompts, asked)
        assert same(got, fresh)


def test_with_carry_nothing_is_found_again(engine, volume, grid):
    """What one pass hands to the other is not kept."""
    carried = PropagationSettings(carry=True)
    subject, prompts = engine(), PromptSet(grid, FIRST)
    fresh, again = (subject(volume, prompts, carried) for _ in range(2))
    assert fresh.tracked == again.tracked > 0
    assert same(fresh, again)


def test_a_full_store_forgets_and_is_still_right(engine, volume, grid):
    tight = engine(store=Store(20_000))
    first = PromptSet(grid, FIRST)
    tight(volume, first, BOTH)
    got = tight(volume, first.merged([MORE]), BOTH)
    assert got.tracked > 16
    assert tight.store.num_bytes <= 20_000
    assert same(got, engine()(volume, first.merged([MORE]), BOTH))


class Block:
    """Something of a size."""

    def __init__(self, num_bytes):
        self.num_bytes = num_bytes


def test_the_least_recently_used_goes_first():
    store = Store(3)
    for key in "abc":
        store.put(key, Block(1))
    assert store.get("a") is not None
    store.put("d", Block(1))
    assert store.get("b") is None
    assert all(store.get(key) for key in "acd")
    store.put("a", Block(2))
    assert store.num_bytes <= 3
    store.put("e", Block(4))
    assert store.get("e") is None, "larger than all"
    store.clear()
    assert store.num_bytes == 0
    assert store.get("a") is None


def test_digests_tell_arrays_by_shape_type_and_content():
    one = np.arange(6)
    others = [one.reshape(2, 3), one.astype(np.float32), one + 1, one.tolist(), "012345"]
    digests = {digest_of(o) for o in (one, *others)}
    assert len(digests) == 1 + len(others)
    assert digest_of(one) == digest_of(one.copy())
    assert digest_of("ab", "c") != digest_of("a", "bc")

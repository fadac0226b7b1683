"""Logits of crops on the file's grid, whatever way that is stored; and fingerprints of results."""

import hashlib

import numpy as np
import pytest

from lib.engine.parts import Part, label_map, leave_out
from lib.engine.report import fingerprint
from lib.geometry import Grid
from lib.propagation.records import Propagated
from lib.transforms.crop import part_of
from tests.geometry.grids import AFFINES

SHAPE = (23, 19, 40)


def run(upright: Grid, first, stop, ids, seed: int) -> Part:
    """Logits of some objects on a crop, at random."""
    grid = part_of(upright, (np.array(first), np.array(stop)))
    rng = np.random.default_rng(seed)
    logits = {i: rng.normal(0, 4, grid.shape).astype(np.float16) for i in ids}
    return Part(grid, Propagated(logits=logits, slices=[], encoded=0, decided=[], ends=[]))


def two_runs(source: Grid) -> list[Part]:
    """Crops that overlap, upright; object 3 is in both."""
    upright = source.upright()
    a, b, c = upright.shape
    return [
        run(upright, (1, 2, 3), (a - 4, b - 3, c - 5), (1, 3), 0),
        run(upright, (4, 0, 6), (a, b - 2, c - 1), (3, 300), 1),
    ]


def whole(source: Grid, parts: list[Part], i: int) -> np.ndarray:
    """The highest logit of an object in every voxel of the file, −10 where nobody looked."""
    best = np.full(source.shape, -10.0, np.float16)
    for part in parts:
        if i in part.found.logits:
            shown = part.grid.map_to(source).array(part.found.logits[i], source.shape, -10)
            best = np.maximum(best, shown)
    return best


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("ids", [(1, 3), (1, 3, 300)])
def test_each_voxel_to_the_strongest(affine, ids):
    source = Grid(SHAPE, affine)
    parts = two_runs(source)
    logits = np.stack([whole(source, parts, i) for i in ids])
    expected = np.where(logits.max(0) > 0, np.array(ids)[logits.argmax(0)], 0)
    labels = label_map(parts, ids, source, overlap=False)
    assert labels.dtype == (np.uint16 if 300 in ids else np.uint8)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(label_map(parts, ids, source, overlap=True), logits > 0)


@pytest.mark.parametrize("overlap", [False, True])
def test_left_out_of_the_objects_alone(overlap):
    source = Grid(SHAPE, np.eye(4))
    ids = (1, 3)
    before = label_map(two_runs(source), ids, source, overlap)
    labels = before.copy()
    taken, wiped = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    taken[:9], wiped[:, :, 20:22] = True, True
    told = leave_out(labels, ids, taken, wiped, {3: 5})
    gone = taken | wiped
    np.testing.assert_array_equal(labels, np.where(gone, 0, before))
    for n, one in enumerate(told):
        its = before[n] if overlap else before == ids[n]
        counts = its[~gone].sum(), (its & taken).sum(), (its & wiped & ~taken).sum()
        assert (one.voxels, one.left_to_others, one.left_empty) == counts
        assert one.beyond == {1: 0, 3: 5}[one.object_id]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
@pytest.mark.parametrize("shape", [(40, 5, 6), (2, 40, 5, 6)])
def test_a_fingerprint_is_of_the_voxels_as_uint16(shape, dtype, order):
    labels = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    labels[..., 16:32, :, :] = 0  # rows that are empty throughout
    known = hashlib.sha256(labels.astype("<u2").tobytes()).hexdigest()
    assert fingerprint(np.asarray(labels, order=order)) == known

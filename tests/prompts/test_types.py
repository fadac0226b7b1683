import numpy as np
import pytest

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.types import Box, Mask, Points, PromptSet, in_plane_dims, lift
from tests.geometry.grids import AFFINES, SHAPE, affine_of, reoriented, world

GRID = Grid(SHAPE, affine_of("RAS"))


def mask_on(grid: Grid, axis: Axis, index: int, object_id: int = 1, seed: int = 3) -> Mask:
    shape = tuple(grid.shape[d] for d in in_plane_dims(grid, axis))
    return Mask(axis, index, object_id, np.random.default_rng(seed).random(shape) < 0.3)


def points(foreground=(), background=(), axis=Axis.AXIAL, index=2, object_id=1) -> Points:
    return Points(
        axis,
        index,
        object_id,
        np.reshape(np.asarray(foreground, float), (-1, 2)),
        np.reshape(np.asarray(background, float), (-1, 2)),
    )


def marked_world(prompts: PromptSet) -> list[np.ndarray]:
    """Where in mm everything marked lies, in an order that no flip can change."""
    places = []
    for p in prompts.prompts:
        if isinstance(p, Mask):
            groups = [np.argwhere(p.mask)]
        elif isinstance(p, Points):
            groups = [p.foreground, p.background]
        else:
            (a, b), (c, d) = p.low, p.high
            groups = [np.array([[a, b], [a, d], [c, b], [c, d]])]
        for group in groups:
            mm = world(prompts.grid, lift(group, prompts.grid, p.axis, p.index))
            places.append(mm[np.lexsort(np.round(mm, 6).T)])
    return places


@pytest.mark.parametrize("axis", list(Axis))
@pytest.mark.parametrize("affine", AFFINES)
def test_every_kind_of_prompt_keeps_its_place(affine, axis):
    source = Grid(SHAPE, affine)
    target, _ = reoriented(source, np.zeros(SHAPE, np.uint8))
    for prompt in (
        mask_on(source, axis, 3),
        points([[1, 2], [4.5, 6]], [[0, 0]], axis, 5),
        Box(axis, 4, 1, np.array([1, 2]), np.array([5, 7])),
    ):
        before = PromptSet(source, (prompt,))
        after = before.on(target)
        assert after.prompts[0].axis is axis
        for a, b in zip(marked_world(before), marked_world(after), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("affine", AFFINES)
def test_there_and_back_is_identical(affine):
    source = Grid(SHAPE, affine)
    target, _ = reoriented(source, np.zeros(SHAPE, np.uint8))
    before = PromptSet(source, (mask_on(source, Axis.AXIAL, 3), mask_on(source, Axis.CORONAL, 1)))
    back = before.on(target).on(source)
    for a, b in zip(before.prompts, back.prompts, strict=True):
        assert (a.index, a.axis) == (b.index, b.axis)
        np.testing.assert_array_equal(a.mask, b.mask)


def test_sorted_by_object_axis_and_slice():
    order = [(2, Axis.AXIAL, 1), (1, Axis.CORONAL, 0), (1, Axis.AXIAL, 5), (1, Axis.AXIAL, 0)]
    prompts = PromptSet(GRID, tuple(mask_on(GRID, a, n, o) for o, a, n in order))
    assert [(p.object_id, p.axis, p.index) for p in prompts.prompts] == [
        (1, Axis.AXIAL, 0),
        (1, Axis.AXIAL, 5),
        (1, Axis.CORONAL, 0),
        (2, Axis.AXIAL, 1),
    ]
    assert prompts.object_ids == (1, 2)
    assert [p.index for p in prompts.select(1, Axis.AXIAL)] == [0, 5]


def test_bounds_cover_background_points_too():
    prompts = PromptSet(GRID, (points([[5, 6]], [[1, 9]]),))
    low, high = prompts.bounds()
    assert low.tolist() == [1, 6, 2]
    assert high.tolist() == [5, 9, 2]


def test_bounds_of_masks_on_two_axes():
    axial = np.zeros((14, 11), bool)
    axial[3:5, 4] = True
    coronal = np.zeros((14, 9), bool)
    coronal[6, 1:8] = True
    low, high = PromptSet(
        GRID, (Mask(Axis.AXIAL, 2, 1, axial), Mask(Axis.CORONAL, 9, 1, coronal))
    ).bounds()
    assert low.tolist() == [3, 4, 1]
    assert high.tolist() == [6, 9, 7]


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        pytest.param((), "no prompt: mark at least one slice", id="none"),
        pytest.param((mask_on(GRID, Axis.AXIAL, 9),), "axial slice 9.*slices 0 to 8", id="slice"),
        pytest.param((mask_on(GRID, Axis.AXIAL, -1),), "outside the volume", id="negative"),
        pytest.param(
            (Mask(Axis.AXIAL, 1, 1, np.zeros((14, 11), bool)),), "slice 1 is empty", id="empty"
        ),
        pytest.param(
            (Mask(Axis.AXIAL, 1, 1, np.ones((11, 14), bool)),), r"shape \(11, 14\)", id="shape"
        ),
        pytest.param((points(),), "no point on axial slice 2", id="no point"),
        pytest.param((points([[14, 2]]),), "outside the volume", id="point"),
        pytest.param((points([[1, 2]], [[1, -1]]),), "outside the volume", id="background"),
        pytest.param((points([[np.nan, 2]]),), "outside the volume", id="nan"),
        pytest.param(
            (Box(Axis.AXIAL, 1, 1, np.array([5, 5]), np.array([4, 9])),), "no extent", id="box"
        ),
        pytest.param(
            (Box(Axis.AXIAL, 1, 1, np.array([5, 5]), np.array([6, 11])),), "outside", id="far box"
        ),
    ],
)
def test_what_is_refused(prompts, sentence):
    with pytest.raises(BadInput, match=sentence):
        PromptSet(GRID, prompts)


def test_a_mask_partly_outside_the_crop_is_refused():
    small = Grid((5, 11, 9), GRID.affine)
    mask = np.zeros((14, 11), bool)
    mask[3:7, 2] = True
    with pytest.raises(BadInput, match="leaves the volume"):
        PromptSet(GRID, (Mask(Axis.AXIAL, 1, 1, mask),)).on(small)


def test_merged_keeps_the_first_set_unchanged():
    one = PromptSet(GRID, (mask_on(GRID, Axis.AXIAL, 5),))
    two = one.merged([mask_on(GRID, Axis.AXIAL, 1)])
    assert [p.index for p in one.prompts] == [5]
    assert [p.index for p in two.prompts] == [1, 5]

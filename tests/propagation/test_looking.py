"""Clicks looked at through windows: where the windows lie, which look wins, what is left alone."""

import numpy as np
import pytest

from lib.geometry import Axis, Grid
from lib.prompts.types import Box, Mask, Points, PromptSet
from lib.propagation import looking
from lib.propagation.looking import look_closer, window

NONE = np.empty((0, 2))


def clicks(*foreground, index=2, axis=Axis.AXIAL, object_id=1, background=NONE):
    points = np.array(foreground, float).reshape(-1, 2)
    return Points(axis, index, object_id, points, np.array(background, float).reshape(-1, 2))


@pytest.fixture
def grid():
    return Grid((60, 40, 5), np.diag([1.0, 2.0, 3.0, 1.0]))


def test_a_window_is_a_square_in_mm_around_the_click(grid):
    start, stop = window(grid, [clicks((30, 20))], 20.0)
    assert start.tolist() == [20, 15]
    assert stop.tolist() == [41, 26]


def test_a_window_ends_at_the_edge_of_the_slice(grid):
    start, stop = window(grid, [clicks((2, 39))], 20.0)
    assert start.tolist() == [0, 34]
    assert stop.tolist() == [13, 40]


def test_all_foreground_clicks_lie_in_the_window(grid):
    start, stop = window(grid, [clicks((10, 20), (50, 20))], 20.0)
    assert start[0] == 5
    assert stop[0] == 56


@pytest.mark.parametrize("axis", list(Axis))
def test_the_look_that_is_trusted_most_wins(axis, predictor, monkeypatch):
    trust = dict(zip(looking.WINDOWS_MM, (0.3, 0.4, 0.9, 0.5, 0.2), strict=True))
    grid = Grid((80, 90, 100), np.eye(4))
    plane = [n for d, n in enumerate(grid.shape) if d != axis.dim]
    widths = iter(trust)

    def scripted(*_):
        side = next(widths)
        mask = np.zeros(plane, bool)
        mask[: int(side / 10)] = True
        return looking._Look(mask, trust[side])

    monkeypatch.setattr(looking, "_look", scripted)
    marked = PromptSet(grid, (clicks((40, 40), axis=axis),))
    (found,) = look_closer(predictor, "test", pytest.fail, marked).prompts
    assert isinstance(found, Mask)
    assert not found.drawn
    assert (found.axis, found.index) == (axis, 2)
    assert found.mask.any(axis=1).sum() == int(looking.WINDOWS_MM[2] / 10)


def test_other_marks_are_left_alone(predictor, monkeypatch):
    monkeypatch.setattr(looking, "_look", lambda *_: pytest.fail("nothing is to be looked at"))
    grid = Grid((80, 90, 10), np.eye(4))
    painted = np.zeros((80, 90), bool)
    painted[3, 3] = True
    marked = PromptSet(
        grid,
        (
            Mask(Axis.AXIAL, 2, 1, painted),
            clicks((3, 3), index=2),
            clicks((9, 9), index=4),
            Box(Axis.AXIAL, 4, 1, np.array([2, 2]), np.array([9, 9])),
            clicks(index=6, background=[[5, 5]]),
        ),
    )
    assert look_closer(predictor, "test", pytest.fail, marked).prompts == marked.prompts


def test_where_the_network_sees_every_voxel_there_is_no_window(predictor, monkeypatch):
    monkeypatch.setattr(looking, "_look", lambda *_: pytest.fail("nothing is to be looked at"))
    side = predictor.image_size // 4
    marked = PromptSet(Grid((side, side, 5), np.eye(4)), (clicks((3, 3)),))
    assert look_closer(predictor, "test", pytest.fail, marked) == marked


@pytest.mark.parametrize(("voxels", "trust"), [(0, 0.9), (9, 0.1)])
def test_an_empty_or_doubtful_look_leaves_the_click(voxels, trust, predictor, monkeypatch):
    mask = np.arange(80 * 90).reshape(80, 90) < voxels
    monkeypatch.setattr(looking, "_look", lambda *_: looking._Look(mask, trust))
    marked = PromptSet(Grid((80, 90, 5), np.eye(4)), (clicks((40, 40)),))
    assert look_closer(predictor, "test", pytest.fail, marked).prompts == (marked.prompts)


def part_of(volume):
    return lambda bounds, _axis: volume[tuple(map(slice, *bounds))]


def test_the_network_looks_at_the_window_only(predictor):
    """What lies outside every window changes nothing, and the mask comes back in its place."""
    grid = Grid((300, 280, 3), np.eye(4))
    volume = np.random.default_rng(0).random(grid.shape).astype(np.float32)
    marked = PromptSet(grid, (clicks((150, 140), index=1, background=[[10, 10]]),))
    found = look_closer(predictor, "test", part_of(volume), marked).prompts
    other = volume.copy()
    other[:40], other[:, :, 0] = 0, 0
    again = look_closer(predictor, "test", part_of(other), marked).prompts
    assert type(found[0]) is type(again[0])
    if isinstance(found[0], Mask):
        assert (found[0].mask == again[0].mask).all()
        assert not found[0].mask[:49].any()

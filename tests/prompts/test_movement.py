"""Prompts move to any orientation and crop of their volume and back, and mark the same voxels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import BadInput
from lib.prompts.record import from_record, to_record
from lib.prompts.types import Box, Mask, Points, PromptSet, lift
from tests.strategies import crops_around, crops_off, grids, prompt_sets, turned


def marked(prompts: PromptSet) -> list[tuple]:
    """What is marked, as places in the world, whatever the grid."""
    found = []
    for p in prompts.prompts:
        if isinstance(p, Mask):
            parts = {"mask": np.argwhere(p.mask)}
        elif isinstance(p, Points):
            parts = {"foreground": p.foreground, "background": p.background}
        else:
            rows, columns = (np.arange(a, b + 1) for a, b in zip(p.low, p.high, strict=True))
            parts = {"box": np.array(np.meshgrid(rows, columns)).reshape(2, -1).T}
        for name, coordinates in parts.items():
            ijk = lift(coordinates, prompts.grid, p.axis, p.index)
            xyz = ijk @ prompts.grid.affine[:3, :3].T + prompts.grid.affine[:3, 3]
            places = sorted(map(tuple, np.round(xyz, 3) + 0.0))
            found.append((p.object_id, p.axis.value, name, places))
    return sorted(found)


def same(one: PromptSet, two: PromptSet) -> bool:
    def plain(p):
        if isinstance(p, Mask):
            return p.mask.tolist()
        if isinstance(p, Box):
            return np.array([p.low, p.high], dtype=float).tolist()
        return [p.foreground.tolist(), p.background.tolist()]

    def listed(prompts):
        rows = [(p.object_id, p.axis.value, p.index, str(plain(p))) for p in prompts.prompts]
        return sorted(rows)

    return listed(one) == listed(two)


@given(st.data())
def test_there_and_back(data):
    grid = data.draw(grids())
    prompts = data.draw(prompt_sets(grid))
    assert same(prompts.on(data.draw(turned(grid))).on(grid), prompts)


@given(st.data())
def test_the_same_places_are_marked(data):
    grid = data.draw(grids())
    prompts = data.draw(prompt_sets(grid))
    there = marked(prompts.on(data.draw(turned(grid))))
    for (*what, places), (*was, before) in zip(there, marked(prompts), strict=True):
        assert what == was
        np.testing.assert_allclose(places, before, atol=0.01)


@given(st.data())
def test_into_a_crop_that_holds_them_and_back(data):
    prompts = data.draw(grids().flatmap(prompt_sets))
    there = prompts.on(data.draw(crops_around(prompts).flatmap(turned)))
    for (*what, places), (*was, before) in zip(marked(there), marked(prompts), strict=True):
        assert what == was
        np.testing.assert_allclose(places, before, atol=0.01)
    assert same(there.on(prompts.grid), prompts)


@given(st.data())
def test_a_crop_that_does_not_hold_them_refuses(data):
    prompts = data.draw(grids().flatmap(prompt_sets))
    target = data.draw(crops_off(prompts).flatmap(turned))
    with pytest.raises(BadInput, match=r"outside the volume|leaves the volume"):
        prompts.on(target)


@given(st.data())
def test_a_record_loses_nothing(data):
    prompts = data.draw(grids().flatmap(prompt_sets))
    assert same(from_record(to_record(prompts)), prompts)

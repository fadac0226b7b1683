import json

import numpy as np
import pytest

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.record import from_record, pack, to_record, unpack
from lib.prompts.types import Box, Mask, Points, PromptSet


def through_text(value):
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("shape", [(7,), (5, 9), (3, 4, 11)])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_masks_survive(shape, density):
    mask = np.random.default_rng(1).random(shape) < density
    back = unpack(through_text(pack(mask)))
    assert back.dtype == bool
    np.testing.assert_array_equal(back, mask)


def test_prompts_survive():
    affine = np.array([[0.7, 0.1, 0, -1 / 3], [-0.1, 0.7, 0, 2e5], [0, 0, 3.3, 0.1], [0, 0, 0, 1]])
    grid = Grid((9, 8, 7), affine)
    mask = np.zeros((9, 8), bool)
    mask[2:5, 3] = True
    prompts = PromptSet(
        grid,
        (
            Mask(Axis.AXIAL, 3, 2, mask),
            Points(Axis.CORONAL, 1, 1, np.array([[1 / 3, 2.0]]), np.empty((0, 2))),
            Box(Axis.SAGITTAL, 0, 65535, np.array([0, 1]), np.array([2, 5])),
        ),
    )
    back = from_record(through_text(to_record(prompts)))
    np.testing.assert_array_equal(back.grid.affine, affine)
    assert back.grid.shape == grid.shape
    for one, other in zip(back.prompts, prompts.prompts, strict=True):
        assert type(one) is type(other)
        for name, value in vars(other).items():
            np.testing.assert_array_equal(getattr(one, name), value)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"grid": {"shape": [2, 2, 2], "affine": np.eye(4).tolist()}, "prompts": [{"kind": "x"}]},
        {"grid": None, "prompts": []},
    ],
)
def test_something_else(record):
    with pytest.raises(BadInput):
        from_record(record)


def test_damaged_mask():
    record = pack(np.ones((3, 3), bool))
    record["bits"] = "AAAA"
    with pytest.raises(BadInput, match="damaged"):
        unpack(record)

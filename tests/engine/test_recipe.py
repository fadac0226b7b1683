import json

import numpy as np
import pytest

from lib.configs.options import Settings
from lib.engine.recipe import Recipe
from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.types import Mask, PromptSet
from lib.prompts.wiped import Wiped

GRID = Grid((20, 16, 10), np.diag([1.0, 1, 2, 1]))


@pytest.fixture
def recipe() -> Recipe:
    mask = np.zeros((20, 16), bool)
    mask[4:15, 4:12] = True
    taken = np.zeros(GRID.shape, bool)
    taken[10:, :, 2:8] = True
    return Recipe(
        PromptSet(GRID, (Mask(Axis.AXIAL, 0, 3, mask),)),
        Settings.parse({"policy": "sps", "window": "40,400"}),
        roi=(np.array([0, 0, 0]), np.array([20, 16, 9])),
        taken=taken,
        wiped=(Wiped(3, Axis.AXIAL, frozenset({5, 7})),),
        decided=("because",),
    )


def test_a_recipe_survives_json(recipe):
    back = Recipe.read(json.loads(json.dumps(recipe.describe())))
    assert back.settings == recipe.settings
    assert back.wiped == recipe.wiped
    assert back.decided == ("because",)
    assert back.crop is None
    np.testing.assert_array_equal(back.taken, recipe.taken)
    np.testing.assert_array_equal(back.roi, recipe.roi)
    assert json.dumps(back.describe()) == json.dumps(recipe.describe())


def test_something_else_is_refused(recipe):
    record = recipe.describe()
    del record["settings"]
    with pytest.raises(BadInput, match="settings"):
        Recipe.read(record)

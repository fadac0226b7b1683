import json
from dataclasses import replace

import numpy as np
import pytest

from lib.configs.settings import Settings
from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.types import Mask, PromptSet
from lib.recipe import Recipe, negative_points

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
        values={3: 1},
    )


def test_a_recipe_survives_json(recipe):
    back = Recipe.read(json.loads(json.dumps(recipe.describe())))
    assert back.settings == recipe.settings
    assert back.values == {3: 1}
    np.testing.assert_array_equal(back.taken, recipe.taken)
    np.testing.assert_array_equal(back.roi, recipe.roi)
    assert json.dumps(back.describe()) == json.dumps(recipe.describe())


def test_something_else_is_refused(recipe):
    record = recipe.describe()
    del record["settings"]
    with pytest.raises(BadInput, match="settings"):
        Recipe.read(record)


class TestNegativePoints:
    @pytest.fixture
    def labels(self) -> np.ndarray:
        labels = np.zeros(GRID.shape, np.uint16)
        labels[4:15, 4:12] = 3  # on every slice; 5 of its 11 rows belong to another from 10 on
        return labels

    def test_in_the_middle_of_the_error(self, recipe, labels):
        points = negative_points(labels, recipe.taken, recipe.prompts, Axis.AXIAL)
        assert [p.index for p in points] == [2, 3, 4, 5, 6, 7]
        for point in points:
            assert point.object_id == 3
            assert len(point.foreground) == 0
            row, column = point.background[0]
            assert 10 < row < 14
            assert 4 < column < 11

    def test_none_without_an_error_worth_it(self, recipe, labels):
        nothing = np.zeros(GRID.shape, bool)
        assert negative_points(labels, nothing, recipe.prompts, Axis.AXIAL) == []
        little = nothing.copy()
        little[4, 4:10] = True  # 6 of 88 voxels
        assert negative_points(labels, little, recipe.prompts, Axis.AXIAL) == []

    def test_never_on_a_prompted_slice(self, recipe, labels):
        prompts = replace(recipe.prompts.prompts[0], index=4)
        points = negative_points(
            labels, recipe.taken, recipe.prompts.merged([prompts]), Axis.AXIAL, most=20
        )
        assert [p.index for p in points] == [2, 3, 5, 6, 7]

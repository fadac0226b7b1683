"""Bones marked together come out as well as each alone."""

import numpy as np
import pytest

from lib.configs.options import Settings
from lib.engine.pipeline import Pipeline
from lib.engine.recipe import Recipe
from lib.models.build import load_predictor
from lib.prompts.simulated import mask_prompts
from lib.prompts.types import PromptSet
from lib.transforms.load import load_labelmap
from tests.transforms.conftest import real  # noqa: F401  a fixture

BONES = ("vertebrae_L1", "vertebrae_T12", "rib_left_10", "rib_right_10")


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return 2 * (one & two).sum() / (one.sum() + two.sum())


@pytest.mark.slow
def test_four_bones_of_an_abdomen(real):  # noqa: F811
    folder = real("bones/abdomen")
    pipeline, settings = Pipeline(load_predictor("builtin")), Settings()
    case = pipeline.open(folder / "ct.nii.gz", settings)
    truth, marked = {}, {}
    for number, bone in enumerate(BONES, start=1):
        labels, grid = load_labelmap(folder / "segmentations" / f"{bone}.nii.gz")
        truth[number] = labels > 0
        marked[number] = mask_prompts(truth[number], grid).renamed({1: number})
    together = PromptSet(grid, tuple(p for s in marked.values() for p in s.prompts))
    both = pipeline.carry_out(case, Recipe(together, settings)).labels
    for number, prompts in marked.items():
        alone = pipeline.carry_out(case, Recipe(prompts, settings)).labels
        lost = dice(alone == number, truth[number]) - dice(both == number, truth[number])
        assert lost <= 0.02, BONES[number - 1]

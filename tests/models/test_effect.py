"""What a precision does to masks of the shipped checkpoint (bones: benchmarks/precision.py)."""

import numpy as np
import pytest
import torch

from lib.configs.options import Settings
from lib.engine.pipeline import Pipeline
from lib.engine.recipe import Recipe
from lib.geometry import Axis
from lib.models.build import load_predictor
from lib.models.precision import Precision, abilities
from lib.models.registry import BUILTIN
from lib.prompts.labelmap import from_labelmap
from tests.engine import phantom

# of half precision: one voxel in two hundred, for bones of a few hundred voxels
LIMITS = {Precision.AUTO: 0.002, Precision.BF16: 0.01}


def segmented(ct, precision):
    pipeline = Pipeline(load_predictor(BUILTIN, device="cpu", precision=precision))
    settings = Settings.parse({"axis": "axial"})
    case = pipeline.open(ct, settings)
    prompts = from_labelmap(phantom.painted(), case.source_grid, Axis.AXIAL)
    outcome = pipeline.carry_out(case, Recipe(prompts, settings))
    return outcome.labels == 1, outcome.report.checkpoint.precision


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    return phantom.write_ct(tmp_path_factory.mktemp("effect") / "ct.nii.gz")


@pytest.fixture(scope="module")
def exact(ct):
    mask, precision = segmented(ct, Precision.FP32)
    assert precision == "fp32"
    return mask


@pytest.mark.parametrize("precision", LIMITS)
def test_masks_hardly_move(ct, exact, precision):
    if precision is Precision.BF16 and not abilities(torch.device("cpu")).bf16:
        pytest.skip("this processor has no instructions for bfloat16")
    mask, _ = segmented(ct, precision)
    truth = phantom.rods() == 1

    def dice(found):
        return 2 * (found & truth).sum() / (found.sum() + truth.sum())

    assert exact.any()
    assert abs(dice(mask) - dice(exact)) <= LIMITS[precision]
    assert np.mean(mask != exact) < 1e-3

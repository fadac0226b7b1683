"""A small CT on disk in several shapes, and prompts on it."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (40, 36, 16)
# LPS-ish, rotated about z and anisotropic: nothing about it is convenient
AFFINE = np.array(
    [
        [-1.4, 0.2, 0.0, 30.0],
        [-0.2, -1.4, 0.0, 12.0],
        [0.0, 0.0, 2.5, -50.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def save(array: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


@pytest.fixture
def ct_array():
    rng = np.random.default_rng(3)
    ct = rng.normal(40, 20, SHAPE)
    ct[14:24, 12:22, 2:13] += 700
    return ct.astype(np.int16)


@pytest.fixture
def ct(tmp_path, ct_array):
    return save(ct_array, tmp_path / "ct.nii.gz")


@pytest.fixture
def painted():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for k in (3, 7, 12):
        labels[15:22, 13:20, k] = 2
    labels[4:9, 4:9, 7] = 5
    return labels


@pytest.fixture
def prompts(tmp_path, painted):
    return save(painted, tmp_path / "prompts.nii.gz")

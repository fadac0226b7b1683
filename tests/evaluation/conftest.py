"""A dataset of two tiny cases, a network that sees objects, and a few quick configurations."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.models.build import build_network, read_config
from lib.models.registry import BUILTIN, resolve

SHAPE, SPACING = (36, 32, 11), (1.5, 1.5, 3.0)

CONFIGURATIONS = """
configurations:
  - {name: baseline}
  - {name: is+sps, policy: is+sps}
  - {name: interpolation, method: interpolation}
  - {name: served, scope: volume, prompts: inner-2, annotation: freehand}
"""


def write_case(folder, centres, radius=5, flip=False, thickness=9):
    """A CT of oblique bright rods in soft tissue, one mask each, the last slices left empty."""
    rng = np.random.default_rng(len(centres))
    ct = rng.normal(20, 15, SHAPE)
    affine = np.diag([*SPACING, 1.0])
    if flip:
        affine = affine @ np.diag([-1.0, -1.0, 1.0, 1.0])
    (folder / "segmentations").mkdir(parents=True)
    i, j, k = np.indices(SHAPE)
    for name, (x, y) in centres.items():
        depth = 3 if name == "rib_left_1" else thickness
        rod = (i - x - 0.4 * k) ** 2 + (j - y) ** 2 <= radius**2
        rod &= (k >= 1) & (k <= depth)
        ct[rod] += 700
        mask = nib.Nifti1Image(rod.astype(np.uint8), affine)
        nib.save(mask, folder / "segmentations" / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image(ct.astype(np.int16), affine), folder / "ct.nii.gz")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Two cases; ribs 1 are too thin to count, a spleen belongs to no bone class."""
    root = tmp_path_factory.mktemp("dataset")
    rods = {"femur_left": (10, 10), "femur_right": (22, 10), "rib_left_1": (10, 22)}
    write_case(root / "case_a", {**rods, "sacrum": (22, 22), "spleen": (16, 16)})
    write_case(root / "case_b", {**rods, "rib_right_7": (22, 22)}, radius=4, flip=True)
    return root


@pytest.fixture
def changed(dataset, tmp_path):
    """(root, mask): a copy of the dataset, with one voxel more in one mask."""
    root = tmp_path / "copy"
    shutil.copytree(dataset, root)
    mask = root / "case_a" / "segmentations" / "sacrum.nii.gz"
    image = nib.load(mask)
    voxels = np.asarray(image.dataobj).copy()
    voxels[0, 0, 0] = 1
    nib.save(nib.Nifti1Image(voxels, image.affine), mask)
    return root, mask


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Random weights whose object score is positive, as a checkpoint file of a user's own."""
    network = build_network(read_config(resolve(BUILTIN)), seed=1)
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(5.0)
    path = tmp_path_factory.mktemp("weights") / "seeing.pt"
    torch.save({"model": network.state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def configurations(tmp_path_factory):
    """Path of a YAML with three configurations."""
    path = tmp_path_factory.mktemp("configurations") / "quick.yaml"
    path.write_text(CONFIGURATIONS)
    return path


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny networks are quicker on one thread, and workers of Ray have one as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

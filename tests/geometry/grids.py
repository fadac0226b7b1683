"""Affines that scanners and converters produce, as pytest parameters."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lib.geometry import Grid

SHAPE = (14, 11, 9)


def affine_of(codes: str, spacing=(1.0, 1.0, 1.0), origin=(-31.5, 12.25, 400.0), degrees=(0, 0, 0)):
    """Affine of an array whose dimensions run towards `codes` ("LPS"), then rotated in space."""
    orientation = nib.orientations.axcodes2ornt(codes)
    linear = np.zeros((3, 3))
    for dim, (world, sign) in enumerate(orientation):
        linear[int(world), dim] = sign * spacing[dim]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ linear
    affine[:3, 3] = origin
    return affine


def tilted() -> np.ndarray:
    """A sheared affine: a gantry tilt kept in the header."""
    affine = affine_of("LPS", (0.8, 0.8, 2.5))
    affine[1, 2] = 0.7
    return affine


AFFINES = [
    pytest.param(affine_of("RAS"), id="RAS"),
    pytest.param(affine_of("LPS"), id="LPS"),
    pytest.param(affine_of("LAS"), id="LAS"),
    pytest.param(affine_of("RPI"), id="feet-first"),
    pytest.param(affine_of("PIR"), id="PIR"),
    pytest.param(affine_of("SLA"), id="SLA"),
    pytest.param(affine_of("RAS", (0.7, 0.9, 5.0)), id="anisotropic"),
    pytest.param(affine_of("PIR", (0.7, 2.5, 1.3)), id="anisotropic-PIR"),
    pytest.param(affine_of("LPS", (0.8, 0.8, 3.0), degrees=(12, -7, 20)), id="oblique"),
    pytest.param(affine_of("SLA", (2.0, 0.6, 0.9), degrees=(-25, 14, 9)), id="oblique-SLA"),
    pytest.param(tilted(), id="sheared"),
]


def random_labels(shape=SHAPE, seed=0) -> np.ndarray:
    """Labels with no symmetry that a wrong flip or swap could hide behind."""
    return np.random.default_rng(seed).integers(0, 9, shape, dtype=np.uint8)


def world(grid: Grid, ijk) -> np.ndarray:
    """(n, 3) voxel indices as (n, 3) mm."""
    return nib.affines.apply_affine(grid.affine, np.asarray(ijk, dtype=float))


def reoriented(grid: Grid, labels: np.ndarray, codes: str = "RAS") -> tuple[Grid, np.ndarray]:
    """nibabel's own answer, to compare with."""
    image = nib.Nifti1Image(labels, grid.affine)
    change = nib.orientations.ornt_transform(
        nib.io_orientation(grid.affine), nib.orientations.axcodes2ornt(codes)
    )
    out = image.as_reoriented(change)
    return Grid(out.shape, out.affine), np.asarray(out.dataobj)

"""The sample CT: a thorax and pelvis made of formulas, in Hounsfield units, with its masks.

A schematic body, not an anatomy: bones have the shapes, neighbourhoods, joint gaps, cortex and
spongy inside that make segmenting them easy or hard, and lie in fat, muscle, lung and bowel
gas. It is built in a *body frame* in millimetres: x to the patient's right, y to the front,
z to the head (RAS), x = y = 0 on the long axis, z = 0 at the lower edge of the field of view.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from lib.sample.bones import all_bones, place_vertebrae
from lib.sample.canvas import Canvas, scan
from lib.sample.patient import draw_patient
from lib.sample.tissue import paint_soft_tissue

SHAPE = (200, 160, 128)
SPACING = (1.5, 1.5, 3.0)


@dataclass(frozen=True)
class SampleCT:
    """A CT and what is in it.

    Attributes:
        ct: (X, Y, Z) int16, HU.
        labels: (X, Y, Z) uint8, 0 where there is no bone.
        names: Label → TotalSegmentator's name of the structure.
        affine: (4, 4) float64, voxel index → RAS mm.
    """

    ct: NDArray[np.int16]
    labels: NDArray[np.uint8]
    names: dict[int, str]
    affine: NDArray[np.float64]


def make_sample_ct(
    seed: int = 0,
    *,
    shape: tuple[int, int, int] = SHAPE,
    spacing: tuple[float, float, float] = SPACING,
) -> SampleCT:
    """Make one CT with its masks; the same arguments give the same voxels.

    Args:
        seed: Chooses the patient and the noise.
        shape: Voxels along x, y, z.
        spacing: Voxel size in mm. Shape and spacing set the field of view; what lies outside
            it is cut off, as on a scanner.

    Raises:
        ValueError: A shape or spacing that is not positive.
    """
    if min(shape) < 1 or min(spacing) <= 0:
        raise ValueError(f"shape {shape} and spacing {spacing} must be positive")
    rng = np.random.default_rng(seed)
    patient = draw_patient(rng)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = patient.origin
    canvas = Canvas(shape, spacing, patient)
    spine = place_vertebrae(patient)
    paint_soft_tissue(canvas, patient, spine, rng)
    names: dict[int, str] = {}
    for bone in all_bones(patient, spine):
        label = len(names) + 1
        if canvas.paint_bone(bone, label, patient):
            names[label] = bone.name
    return SampleCT(scan(canvas, patient, rng), canvas.labels, names, affine)


def write_case(sample: SampleCT, folder: Path) -> Path:
    """Write ``folder/ct.nii.gz`` and ``folder/segmentations/<name>.nii.gz``, all or nothing.

    Masks are uint8, 0 and 1, on the CT's grid.

    Raises:
        FileExistsError: ``folder`` is there already.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: remove it or choose another place")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made beside its place, so that the renaming stays on one file system.
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        draft.chmod(0o755)
        (draft / "segmentations").mkdir()
        _save(sample.ct, sample.affine, draft / "ct.nii.gz")
        for label, name in sample.names.items():
            mask = (sample.labels == label).astype(np.uint8)
            _save(mask, sample.affine, draft / "segmentations" / f"{name}.nii.gz")
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _save(voxels: NDArray, affine: NDArray[np.float64], path: Path) -> None:
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    nib.save(image, path)


def varied_grid(seed: int) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Another scanner protocol for each seed but 0: (shape, spacing) of about one field of view."""
    if seed == 0:
        return SHAPE, SPACING
    rng = np.random.default_rng([seed, 1])
    inplane = round(float(rng.uniform(1.4, 1.8)), 2)
    between = round(float(rng.uniform(2.5, 3.0)), 2)
    spacing = (inplane, inplane, between)
    field = np.array(SHAPE) * SPACING
    shape = tuple(int(n) for n in np.rint(field / spacing))
    return shape, spacing

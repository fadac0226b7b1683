"""A folder in TotalSegmentator's layout, and which of its structures count as which bone.

`<root>/<case>/ct.nii.gz` (or `mri.nii.gz`) and `<root>/<case>/segmentations/<structure>.nii.gz`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.errors import BadInput
from lib.geometry import Axis
from lib.transforms.load import load_labelmap

VOLUMES = ("ct.nii.gz", "mri.nii.gz")

#: The paper's ten classes (table III) and the structures that belong to each.
BONES: Mapping[str, str] = {
    "vertebrae": r"vertebrae_(C[1-7]|T([1-9]|1[0-2])|L[1-5]|S1)",
    "rib": r"rib_(left|right)_([1-9]|1[0-2])",
    "humerus": r"humerus_(left|right)",
    "femur": r"femur_(left|right)",
    "clavicle": r"clavicula_(left|right)",
    "scapula": r"scapula_(left|right)",
    "hip": r"hip_(left|right)",
    "sacrum": r"sacrum",
    "sternum": r"sternum",
    "skull": r"skull",
}

#: "Only segmentations that contain more than six axial slices are used" (paper B-A).
FEWEST_SLICES = 7


@dataclass(frozen=True)
class Candidate:
    """A mask file that may become a sample.

    Attributes:
        case: name of the case's folder.
        structure: the mask file's name without its ending.
        kind: the class it counts as.
    """

    case: str
    structure: str
    kind: str

    @property
    def id(self) -> str:
        """`case/structure`, as in manifests and exclusion lists."""
        return f"{self.case}/{self.structure}"


def classes(names: str) -> Mapping[str, str]:
    """Class → pattern of structures, from `bones`, or structures by name, `liver,spleen`."""
    if names == "bones":
        return BONES
    chosen = [n.strip() for n in names.split(",") if n.strip()]
    if not chosen:
        raise BadInput("no class named: use bones, or structures such as liver,spleen")
    return {n: BONES.get(n, re.escape(n)) for n in chosen}


def volume_of(root: Path, case: str) -> Path:
    """The case's CT or MR.

    Raises:
        BadInput: there is none.
    """
    for name in VOLUMES:
        if (root / case / name).is_file():
            return root / case / name
    raise BadInput(f"{root / case} holds neither {' nor '.join(VOLUMES)}")


def mask_of(root: Path, case: str, structure: str) -> Path:
    """The file of one structure."""
    return root / case / "segmentations" / f"{structure}.nii.gz"


def candidates(root: Path, kinds: Mapping[str, str]) -> dict[str, list[Candidate]]:
    """Mask files by class, in the order of their names; a case without a volume is left out.

    Raises:
        BadInput: no such folder, or nothing in it that fits.
    """
    if not root.is_dir():
        raise BadInput(f"there is no dataset folder {root}")
    found: dict[str, list[Candidate]] = {kind: [] for kind in kinds}
    for file in sorted(root.glob("*/segmentations/*.nii.gz")):
        case, structure = file.parts[-3], file.name.removesuffix(".nii.gz")
        if not any((root / case / v).is_file() for v in VOLUMES):
            continue
        for kind, pattern in kinds.items():
            if re.fullmatch(pattern, structure):
                found[kind].append(Candidate(case, structure, kind))
    if not any(found.values()):
        raise BadInput(
            f"{root} holds no mask of the classes {', '.join(kinds)}: expected "
            "CASE/ct.nii.gz and CASE/segmentations/STRUCTURE.nii.gz"
        )
    return found


def axial_slices(mask_file: Path) -> tuple[int, int]:
    """How many axial slices of a mask are not empty, and its voxels."""
    labels, grid = load_labelmap(mask_file)
    dim = grid.dim_of(Axis.AXIAL)
    other = tuple(d for d in range(3) if d != dim)
    return int(np.count_nonzero(labels.any(axis=other))), int(np.count_nonzero(labels))


def read_exclusions(file: Path) -> frozenset[str]:
    """Lines `case/structure` or `case` (all of it); `#` begins a comment.

    Raises:
        BadInput: the file cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"cannot read the exclusion list {file}: {reason}") from error
    return frozenset(filter(None, (line.partition("#")[0].strip() for line in lines)))


def is_excluded(sample_id: str, exclusions: Sequence[str] | frozenset[str]) -> bool:
    """Whether a sample or its whole case is on the list."""
    return sample_id in exclusions or sample_id.partition("/")[0] in exclusions

"""`sam2-ct sample`: the generated CTs, as a dataset or as a DICOM series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lib.errors import BadInput


def sample(
    out: Annotated[Path, typer.Argument(help="folder that receives phantom_NNNN/, or KIND/")],
    seed: Annotated[int, typer.Option(min=0, help="seed of the (first) case")] = 0,
    cases: Annotated[int, typer.Option(min=1, help="how many, with successive seeds")] = 1,
    dicom: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="one DICOM series instead: straight, oblique or feet-first"
        ),
    ] = None,
) -> None:
    """Generate CTs of a schematic body, with the masks of its bones."""
    if dicom is None:
        write_cases(out, seed, cases)
    else:
        write_dicom(out, seed, dicom)


def write_cases(out: Path, seed: int, cases: int) -> None:
    """Write `OUT/phantom_NNNN/ct.nii.gz` and `…/segmentations/NAME.nii.gz`, a case per seed.

    TotalSegmentator's layout and names. A case that is there already is kept.
    """
    from lib.sample.ct import make_sample_ct, varied_grid, write_case

    for number in range(seed, seed + cases):
        folder = out / f"phantom_{number:04d}"
        if folder.exists():
            print(f"{folder}: there already, kept")
            continue
        shape, spacing = varied_grid(number)
        made = make_sample_ct(number, shape=shape, spacing=spacing)
        write_case(made, folder)
        print(f"{folder}: {shape} voxels of {spacing} mm, {len(made.names)} structures")


def write_dicom(out: Path, seed: int, kind: str) -> None:
    """Write `OUT/KIND/NNNN.dcm`. Seed and kind make the identifiers: twice gives the same files.

    Raises:
        BadInput: an unknown kind.
    """
    from lib.sample.ct import make_sample_ct
    from lib.sample.dicom import KINDS, as_acquired, write_series

    if kind not in KINDS:
        raise BadInput(f"unknown kind of series {kind!r}: use one of {', '.join(KINDS)}")
    hu, _, affine = as_acquired(make_sample_ct(seed), kind)
    series = write_series(hu, affine, out / kind, kind=kind, seed=seed)
    print(f"{out / kind}: series {series}, {hu.shape[2]} images")

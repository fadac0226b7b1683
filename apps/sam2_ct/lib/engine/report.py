"""What is to be said of a result: one frozen value, made once and last, and its JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.activelearning.next_slice import NextSlice
from lib.configs.options import Settings
from lib.geometry import Grid
from lib.propagation.records import AbsentRange, ObjectEnds, SliceRecord

#: Version of the JSON that `to_json` makes; 1 was the one without a number.
SCHEMA = 2


@dataclass(frozen=True)
class VolumeReport:
    """The volume.

    Attributes:
        path: file, or folder of a DICOM series.
        shape: voxels along each dimension of the file.
        spacing: mm along each.
    """

    path: Path
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class CropReport:
    """A part of the volume that the network saw.

    Attributes:
        objects: the objects looked for in it.
        first: its first voxel on the file's grid.
        stop: the voxel after its last one.
        shape: its voxels, oriented as `orientation` says.
        orientation: of the slices shown to the network, always RAS.
    """

    objects: tuple[int, ...]
    first: tuple[int, int, int]
    stop: tuple[int, int, int]
    shape: tuple[int, int, int]
    orientation: str = "RAS"


@dataclass(frozen=True)
class CheckpointReport:
    """The weights.

    Attributes:
        name: of the checkpoint, `NAME:FILE` for a user's own file.
        sha256: of the file.
        trained: False for random weights.
        image_size: side of the network's square input, pixels.
        device: where it ran.
        precision: fp32 (as stock SAM 2), fp32-fast, bf16 or fp16.
        compiled: parts of it were compiled when the server started.
    """

    name: str
    sha256: str
    trained: bool
    image_size: int
    device: str
    precision: str
    compiled: bool = False


@dataclass(frozen=True)
class ObjectReport:
    """One object of the result, and what was taken out of it.

    Attributes:
        object_id: its value in the label map.
        voxels: in the result.
        left_to_others: voxels found that belong to other segments.
        left_empty: voxels found on slices the annotator wiped.
        beyond: voxels found beyond the ends of the object.
    """

    object_id: int
    voxels: int
    left_to_others: int = 0
    left_empty: int = 0
    beyond: int = 0


@dataclass(frozen=True)
class Replay:
    """The comparison with a logged result.

    Attributes:
        log: the log's file.
        identical: every voxel is the same.
    """

    log: Path
    identical: bool


@dataclass(frozen=True)
class Report:
    """Everything there is to say of a result. Object ids are the values in the label map.

    Attributes:
        volume: what was segmented.
        crops: what the network saw of it.
        settings: the options it was done with.
        checkpoint: the weights.
        objects: each object of the result.
        slices: confidence and origin of each slice of each object, indices of the file.
        ends: where objects end and what decided it, indices of the file.
        absent: ranges of slices the annotator emptied, indices of the file.
        encoded_slices: slices that went through the image encoder for this result.
        tracked_slices: slices that were tracked for it; others were found among earlier work.
        confidence: mean predicted IoU of tracked slices with the object; None without any.
        next_slices: where one more painted slice would help most.
        decided: what was decided for the user, a sentence each.
        warnings: what the user must see, a sentence each.
        seconds: by named stage.
        threads: CPU threads the sums were made with.
        versions: of Python and the packages that decide a result.
        input_size: side of the network's input, pixels; None: the checkpoint's own.
        written: files made of the result.
        replay: the comparison with a log; None unless one was replayed.
        schema: version of the JSON.
    """

    volume: VolumeReport
    crops: tuple[CropReport, ...]
    settings: Settings
    checkpoint: CheckpointReport
    objects: tuple[ObjectReport, ...]
    slices: tuple[SliceRecord, ...]
    encoded_slices: int
    confidence: float | None
    next_slices: tuple[NextSlice, ...]
    decided: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]
    threads: int
    versions: Mapping[str, str]
    ends: tuple[ObjectEnds, ...] = ()
    absent: tuple[AbsentRange, ...] = ()
    tracked_slices: int = 0
    input_size: int | None = None
    written: tuple[Path, ...] = ()
    replay: Replay | None = None
    schema: int = field(default=SCHEMA, init=False)


@dataclass(frozen=True)
class Outcome:
    """The answer to a recipe.

    Attributes:
        labels: (X, Y, Z) uint8 or uint16 label map on the file's grid; with `overlap`,
            (objects, X, Y, Z).
        grid: the file's grid.
        report: what is to be said of it.
    """

    labels: NDArray[Any]
    grid: Grid
    report: Report


def to_json(report: Report) -> dict[str, object]:
    """The report as JSON has it: enums and paths as text, options by name, `object` for ids."""
    return {KEYS.get(f.name, f.name): _plain(getattr(report, f.name)) for f in fields(report)}


def fingerprint(labels: NDArray[Any]) -> str:
    """SHA-256 of a label map's voxels, whatever its integer type: as uint16, last index fastest."""
    digest = hashlib.sha256()
    for volume in labels if labels.ndim == 4 else (labels,):
        for first in range(0, len(volume), _ROWS):  # no copy of the whole
            rows = volume[first : first + _ROWS]
            if rows.any():
                digest.update(np.ascontiguousarray(rows, dtype="<u2").data)
            else:
                digest.update(bytes(2 * rows.size))
    return digest.hexdigest()


_ROWS = 16  # at a time, of the first index

#: Fields that JSON has under another name.
KEYS = {"object_id": "object"}


def _plain(value: object) -> object:
    if isinstance(value, Settings):
        return value.describe()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value):
        return {KEYS.get(f.name, f.name): _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value

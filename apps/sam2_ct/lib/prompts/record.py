"""Prompts as JSON and back, without loss: what a log needs to reproduce a result."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.boxes import box_of
from lib.prompts.types import Box, Mask, Points, Prompt, PromptSet

Record = dict[str, Any]


def to_record(prompts: PromptSet) -> Record:
    """A JSON-ready record; `from_record` of it gives equal prompts."""
    return {
        "grid": {"shape": list(prompts.grid.shape), "affine": prompts.grid.affine.tolist()},
        "prompts": [_write(p) for p in prompts.prompts],
    }


def from_record(record: Mapping[str, Any]) -> PromptSet:
    """Inverse of `to_record`.

    Raises:
        BadInput: not such a record.
    """
    try:
        grid = Grid(tuple(record["grid"]["shape"]), np.array(record["grid"]["affine"]))
        return PromptSet(grid, tuple(_read(p) for p in record["prompts"]))
    except (KeyError, TypeError, IndexError) as error:
        raise BadInput(f"not a record of prompts: {error!r}") from error


def pack(mask: NDArray[Any]) -> Record:
    """A bool array of any shape: its bits within their bounding box, compressed, as text."""
    box = box_of(mask)
    if box is None:
        return {"shape": list(mask.shape), "box": None, "bits": ""}
    bits = zlib.compress(np.packbits(mask[box]).tobytes(), 9)
    return {
        "shape": list(mask.shape),
        "box": [[s.start for s in box], [s.stop for s in box]],
        "bits": base64.b64encode(bits).decode("ascii"),
    }


def unpack(record: Mapping[str, Any]) -> NDArray[Any]:
    """Inverse of `pack`.

    Raises:
        BadInput: damaged.
    """
    mask = np.zeros(record["shape"], dtype=bool)
    if record["box"] is None:
        return mask
    low, high = record["box"]
    shape = np.subtract(high, low)
    try:
        data = zlib.decompress(base64.b64decode(record["bits"], validate=True))
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=int(shape.prod()))
    except (binascii.Error, zlib.error, ValueError) as error:
        raise BadInput(f"a mask in the record is damaged: {error}") from error
    mask[tuple(map(slice, low, high))] = bits.reshape(shape).astype(bool)
    return mask


def _write(prompt: Prompt) -> Record:
    record: Record = {
        "kind": type(prompt).__name__.lower(),
        "axis": prompt.axis.value,
        "index": int(prompt.index),
        "object": int(prompt.object_id),
    }
    if isinstance(prompt, Mask):
        return record | {"mask": pack(prompt.mask)}
    if isinstance(prompt, Points):
        return record | {
            "foreground": prompt.foreground.tolist(),
            "background": prompt.background.tolist(),
        }
    return record | {"low": prompt.low.tolist(), "high": prompt.high.tolist()}


def _read(record: Mapping[str, Any]) -> Prompt:
    where = Axis.parse(record["axis"]), int(record["index"]), int(record["object"])
    kind = record["kind"]
    if kind == "mask":
        return Mask(*where, unpack(record["mask"]))
    if kind == "points":
        fore, back = (
            np.array(record[side], dtype=np.float64).reshape(-1, 2)
            for side in ("foreground", "background")
        )
        return Points(*where, fore, back)
    if kind == "box":
        return Box(*where, np.array(record["low"]), np.array(record["high"]))
    raise BadInput(f"not a record of prompts: unknown kind {kind!r}")

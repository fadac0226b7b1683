"""Voxels of a file, decompressed piece by piece straight into an array; and gzip for writing.

ISA-L decompresses more than twice as fast as zlib, compresses several times as fast, and lets other
threads work meanwhile (`benchmarks/gzipped.py`).
"""

from __future__ import annotations

import bz2
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from isal.igzip import IGzipFile
from numpy.typing import DTypeLike, NDArray

from lib.errors import BadInput

_PIECE = 1 << 20
_LEVEL = 2
"""Of 0 to 3: files come out as small as with zlib's 1; 3 is slower and hardly smaller."""


def gunzipped(file: BinaryIO) -> BinaryIO:
    """What a gzip file holds."""
    return IGzipFile(mode="rb", fileobj=file)


def gzipped(file: BinaryIO) -> BinaryIO:
    """Compresses into `file` what is written; equal content gives equal files."""
    return IGzipFile("", "wb", _LEVEL, file, mtime=0)


#: Encodings of an NRRD file.
DECODERS: dict[str, Callable[[BinaryIO], BinaryIO]] = {
    "raw": lambda file: file,
    "gzip": gunzipped,
    "gz": gunzipped,
    "bzip2": bz2.BZ2File,
    "bz2": bz2.BZ2File,
}


def read_array(stream: BinaryIO, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """An array whose first index runs fastest in the stream; no more is read than it holds.

    Zeros are not written: where a label map is empty it takes no memory.

    Args:
        stream: stands at the first element.
        shape: of the array.
        dtype: in the stream. Comes back in this machine's byte order, floats as float32.

    Raises:
        BadInput: there is less.
        Exception: whatever decompressing raises.
    """
    dtype = np.dtype(dtype)
    kept = np.dtype(np.float32) if dtype.kind == "f" else dtype.newbyteorder("=")
    array = np.zeros(shape, kept, order="F")
    flat = array.reshape(-1, order="F")
    done = 0
    while done < len(flat):
        count = min(_PIECE // dtype.itemsize, len(flat) - done)
        piece = stream.read(count * dtype.itemsize)
        if len(piece) < count * dtype.itemsize:
            raise BadInput(
                f"it promises {flat.size * dtype.itemsize} bytes of voxels and has "
                f"{done * dtype.itemsize + len(piece)}"
            )
        if piece != bytes(len(piece)):
            flat[done : done + count] = np.frombuffer(piece, dtype)
        done += count
    stream.read(1)  # at its end gzip compares a checksum
    return array

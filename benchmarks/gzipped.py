"""Reading and writing compressed volumes: ISA-L, as used here, beside Python's zlib.

    python benchmarks/gzipped.py [--slices 100]

A CT of noise and a label map of 512 × 512 voxels a slice, in memory, one thread, processor time,
the best of three. zlib-ng 1.1 was tried as well, when this was chosen: it decompressed a CT 1.6
times as fast as zlib, ISA-L 2.5 times; at equal size it compressed at a quarter of ISA-L's speed.
"""

from __future__ import annotations

import argparse
import gzip
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from isal import igzip

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "apps" / "sam2_ct"))

from lib.transforms.streams import gunzipped, gzipped, read_array

ROUNDS = 3
MB = 1e6


def best(work: Callable[[], object]) -> float:
    """Seconds of processor time."""
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def volumes(slices: int) -> dict[str, np.ndarray]:
    """A body of noise, int16, and a bone in it, uint8."""
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, 512)], indexing="ij")
    plane = np.where(x**2 + (1.3 * y) ** 2 < 0.8, 40.0, -1000.0)
    noise = np.random.default_rng(0).normal(0, 18, (slices, 512, 512))
    bone = np.broadcast_to((x - 0.2) ** 2 + y**2 < 0.05, (slices, 512, 512))
    return {"CT": (plane + noise).astype(np.int16).T, "labels": bone.astype(np.uint8).T}


def written(volume: np.ndarray, opened: Callable[[io.BytesIO], io.BufferedIOBase]) -> bytes:
    """The volume compressed, slice by slice as files are written."""
    file = io.BytesIO()
    with opened(file) as out:
        for k in range(volume.shape[2]):
            out.write(volume[:, :, k].tobytes(order="F"))
    return file.getvalue()


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=100)
    slices = parser.parse_args().slices
    writers = {
        "zlib 1": lambda file: gzip.GzipFile("", "wb", 1, file, 0),
        "zlib 6": lambda file: gzip.GzipFile("", "wb", 6, file, 0),
        "ISA-L 1": lambda file: igzip.IGzipFile("", "wb", 1, file, 0),
        "ISA-L 3": lambda file: igzip.IGzipFile("", "wb", 3, file, 0),
        "as used here": gzipped,
    }
    print("| | | MB/s | times smaller |\n|---|---|---|---|")
    for name, volume in volumes(slices).items():
        size = volume.nbytes / MB
        for writer, opened in writers.items():
            seconds = best(lambda v=volume, o=opened: written(v, o))
            ratio = volume.nbytes / len(written(volume, opened))
            print(f"| {name}, written | {writer} | {size / seconds:.0f} | {ratio:.1f} |")
        file = written(volume, gzipped)
        readers = {
            "zlib": lambda f=file: gzip.GzipFile(fileobj=io.BytesIO(f)).read(),
            "as used here": lambda f=file, v=volume: read_array(
                gunzipped(io.BytesIO(f)), v.shape, v.dtype
            ),
        }
        for reader, read in readers.items():
            print(f"| {name}, read | {reader} | {size / best(read):.0f} | |", flush=True)


if __name__ == "__main__":
    main()

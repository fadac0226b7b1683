"""Output files appear whole or not at all, and stay: they are on the disk when they appear."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from lib.errors import BadInput

#: Endings of the label maps that are written, and of a folder's images; the longer of two first.
LABEL_MAPS = (".nii.gz", ".nii", ".nrrd")
DICOM_SEG = ".dcm"
PICTURE = ".png"


def check_output(path: str | Path) -> None:
    """Say before the work starts that the label map `path` cannot be written.

    Raises:
        BadInput: unknown ending, or no such folder.
    """
    path = Path(path)
    if not path.name.lower().endswith(LABEL_MAPS):
        raise BadInput(f"cannot write {path}: its name must end in .nii.gz, .nii or .nrrd")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Say that the folder of `path` is not there.

    Raises:
        BadInput: it is not.
    """
    if not path.parent.is_dir():
        raise BadInput(f"cannot write {path}: there is no folder {path.parent}")


def check_picture(path: Path) -> None:
    """Say before the work starts that a picture has another ending than .png.

    Raises:
        BadInput: it has.
    """
    if path.suffix.lower() != PICTURE:
        raise BadInput(f"cannot write the picture {path}: its name must end in {PICTURE}")


def check_places(written: Iterable[Path | None], read: Iterable[Path | None] = ()) -> None:
    """Say before the work starts that a file cannot be written, or would take another's place.

    Args:
        written: files to be written; None: not wanted.
        read: files that are read, which stay as they are.

    Raises:
        BadInput: no such folder, or one that may only be read; a folder of that name; a file that
            is read, or written twice.
    """
    taken = {os.path.realpath(path) for path in read if path is not None}
    for path in (path for path in written if path is not None):
        check_folder(path)
        if path.is_dir():
            raise BadInput(f"cannot write {path}: it is a folder")
        if not os.access(path.parent, os.W_OK):
            raise BadInput(f"cannot write {path}: the folder may only be read")
        place = os.path.realpath(path)
        if place in taken:
            raise BadInput(f"cannot write {path}: the same file is named twice, choose another")
        taken.add(place)


def write_whole(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then put it in place in one step.

    Raises:
        BadInput: the folder cannot be written to, or the disk is full; what was at `path` is
            still there.
    """
    path = Path(path)
    partial = beside(path)
    try:
        write(partial)
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        discard(partial)


def beside(path: Path) -> Path:
    """A name in the same folder, hidden, with the same ending, that tells who writes it."""
    return path.with_name(f".part-{os.getpid()}-{uuid.uuid4().hex[:8]}.{path.name}")


def sweep(folders: Iterable[Path]) -> None:
    """Remove from some folders what dead processes had begun to write there."""
    for folder in folders:
        for path in folder.glob(".part-*-*.*"):
            writer = path.name.split("-")[1]
            if writer.isdecimal() and not psutil.pid_exists(int(writer)):
                discard(path)


def temporary(ending: str, write: Callable[[Path], None], prefix: str = "sam2_ct_") -> Path:
    """Let `write` fill a file for this process alone; whoever uses it removes it.

    If `write` fails, nothing is left.
    """
    with tempfile.NamedTemporaryFile(prefix=prefix, suffix=ending, delete=False) as file:
        path = Path(file.name)
    try:
        write(path)
    except BaseException:
        discard(path)
        raise
    return path


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk.

    Not on Windows, which opens no folder and flushes only what is open for writing.
    """
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(path: Path) -> None:
    """Remove a file that may not be there, in a folder that may be read-only."""
    with contextlib.suppress(OSError):  # the error that led here says more
        path.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        BadInput: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {error}") from error


def write_json(path: str | Path, content: object) -> None:
    """JSON, indented, whole or not at all.

    Raises:
        BadInput: the folder cannot be written to.
    """
    text = json.dumps(content, indent=1) + "\n"
    write_whole(path, lambda p: p.write_text(text, encoding="utf-8"))

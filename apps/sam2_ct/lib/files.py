"""Output files appear whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from lib.errors import BadInput

#: Endings of the label maps this project writes, and of a DICOM SEG.
LABEL_MAPS = (".nii.gz", ".nii", ".nrrd")
DICOM_SEG = ".dcm"


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


def write_whole(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then put it in place in one step.

    Raises:
        BadInput: the folder cannot be written to.
    """
    path = Path(path)
    partial = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        write(partial)
        os.replace(partial, path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: str | Path, content: object) -> None:
    """JSON, indented, whole or not at all.

    Raises:
        BadInput: the folder cannot be written to.
    """
    text = json.dumps(content, indent=1) + "\n"
    write_whole(path, lambda p: p.write_text(text, encoding="utf-8"))

"""The picture of a logged result, drawn when somebody looks at it."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path

from fastapi import HTTPException
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.app import MONAILabelApp

from lib.engine.log import Entry, Log
from lib.pictures.figure import to_png
from lib.pictures.planes import Found
from lib.pictures.result import marked, picture_of
from lib.serving.images import key_of_file
from lib.serving.names import is_uid
from lib.transforms.load import load_labelmap, load_volume
from lib.transforms.windowed import Windowed

_KEPT = 16  # pictures, of some hundred KB

_one_at_a_time = threading.Lock()  # a volume is large, and a page asks for several pictures at once


def volume_of(instance: MONAILabelApp, log: Log) -> Path:
    """The volume that a result was made of, if it is still there and still the same.

    Args:
        instance: its datastore and its sessions.
        log: of the result.

    Raises:
        HTTPException: 404, it is not.
    """
    image, path = log.key.image, log.volume
    store = instance.datastore()
    if isinstance(store, DICOMWebDatastore) and is_uid(image):
        return Path(store.get_image_uri(image))  # a copy, which is fetched if it has gone
    sessions = (Path(info.image) for info in list(instance.sessions().values()))
    for candidate in (path, *sessions):  # it may have been opened again since
        if candidate.exists() and key_of_file(candidate) == image:
            return candidate
    raise HTTPException(
        404,
        "the volume of this result is not here any more, or was changed: open it again in the "
        "viewer (what a viewer opened itself goes an hour after its last use)",
    )


def draw(entry: Entry, log: Log, volume: Path) -> bytes:
    """The picture as PNG.

    Args:
        entry: of the result.
        log: of the result.
        volume: that it was made of.

    Raises:
        HTTPException: 404, the volume lies elsewhere in space by now.
    """
    with _one_at_a_time:
        return _drawn(_Task(entry, log, volume))


class _Task:
    """What is drawn; equal to another one of the same result, which is drawn once."""

    def __init__(self, entry: Entry, log: Log, volume: Path) -> None:
        self.entry, self.log, self.volume = entry, log, volume

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Task) and other.entry == self.entry

    def __hash__(self) -> int:
        return hash(self.entry)


@lru_cache(maxsize=_KEPT)
def _drawn(task: _Task) -> bytes:
    log = task.log
    labels, grid = load_labelmap(task.entry.labels_path)
    volume = load_volume(task.volume)
    if not volume.grid.same_as(grid):
        raise HTTPException(404, "the volume of this result lies elsewhere in space by now")
    names = {value: name for name, value in log.label_names.items()}
    shown = Windowed(volume.upright(), log.told.settings.window)
    slices = marked(log.prompts, log.told.next_slices)
    return to_png(picture_of(shown, Found(labels, grid, sorted(names)), slices, names))

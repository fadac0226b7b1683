"""The picture of a logged result, drawn when somebody looks at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fastapi import HTTPException
from monailabel.interfaces.app import MONAILabelApp

from lib.engine.log import Entry, Log
from lib.pictures.planes import Found
from lib.serving.images import is_series, key_of_file
from lib.transforms.load import load_labelmap, load_volume
from lib.transforms.windowed import Windowed

_KEPT = 16  # pictures, of some hundred KB


def volume_of(instance: MONAILabelApp, log: Log) -> Path:
    """The volume that a result was made of, if it is still there and still the same.

    Args:
        instance: its datastore and its sessions.
        log: of the result.

    Raises:
        HTTPException: 404, it is not.
    """
    image, path = log.key.image, log.volume
    if is_series(instance, image):
        # a copy, which is fetched if it has gone
        return Path(instance.datastore().get_image_uri(image))
    sessions = (Path(info.image) for info in list(instance.sessions().values()))
    for candidate in (path, *sessions):  # it may have been opened again since
        if candidate.exists() and key_of_file(candidate) == image:
            return candidate
    raise HTTPException(
        404,
        "the volume of this result is not here any more, or was changed: open it again in the "
        "viewer (what a viewer opened itself goes an hour after its last use)",
    )


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn; the same result is drawn once.

    Attributes:
        entry: the result.
        volume: that it was made of.
    """

    entry: Entry
    volume: Path = field(compare=False)


@lru_cache(maxsize=_KEPT)
def draw(drawing: Drawing) -> bytes:
    """The picture as PNG. It holds a volume in memory meanwhile: one after the other.

    Raises:
        HTTPException: 404, the volume lies elsewhere in space by now.
    """
    # matplotlib costs half a second, and most requests draw nothing
    from lib.pictures.figure import to_png
    from lib.pictures.result import marked, picture_of

    log = drawing.entry.read()
    labels, grid = load_labelmap(drawing.entry.labels_path)
    volume = load_volume(drawing.volume)
    if not volume.grid.same_as(grid):
        raise HTTPException(404, "the volume of this result lies elsewhere in space by now")
    names = {value: name for name, value in log.label_names.items()}
    shown = Windowed(volume.upright(), log.told.settings.window)
    slices = marked(log.prompts, log.told.next_slices)
    return to_png(picture_of(shown, Found(labels, grid, sorted(names)), slices, names))

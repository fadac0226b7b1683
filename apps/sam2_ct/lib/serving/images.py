"""The image a request is about, and what results on it are filed under."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fastapi import HTTPException, UploadFile
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.app import MONAILabelApp

from lib.files import discard
from lib.geometry import Grid
from lib.models.hashing import update_from
from lib.serving.names import is_uid
from lib.serving.uploads import keep
from lib.serving.upstream import dicomweb_client
from lib.transforms.load import read_grid


@dataclass(frozen=True)
class Subject:
    """The image of a request.

    Attributes:
        image: what the engine opens: an id of the datastore, or a file of the server's own.
        name: what people know it by.
        key: what results are filed under.
    """

    image: str
    name: str
    key: str


def find_image(
    instance: MONAILabelApp,
    image: str,
    session_id: str,
    file: UploadFile | None,
    ours: ExitStack,
) -> Subject:
    """The image of a request: of a session, an upload, or the datastore; never a path.

    Args:
        instance: its sessions and its datastore.
        image: id in the datastore.
        session_id: of a session; counts first.
        file: an upload; counts second.
        ours: removes the upload.

    Raises:
        BadInput: the upload is no volume.
        HTTPException: 404, there is no such image.
    """
    if session_id:
        known = instance.sessions().get_session(session_id)
        if known:
            key = key_of_file(Path(known.image))
            return Subject(known.image, name=key, key=key)
        if not image:
            raise HTTPException(404, "the session has expired: load the volume again")
    if file is not None:
        path = keep(file.file).path
        ours.callback(discard, path)
        key = key_of_file(path)
        return Subject(str(path), name=key, key=key)
    if not image:
        raise HTTPException(422, "no image: name one of the datastore, or give a session")
    check_known(instance, image)
    return Subject(image, name=image, key=key_of_image(instance, image))


def check_known(instance: MONAILabelApp, image: str) -> None:
    """Say that the datastore has no such image.

    Raises:
        HTTPException: 404, so it is.
    """
    if image not in instance.datastore().list_images() and not _new_series(instance, image):
        raise HTTPException(404, f"there is no image {ascii(image)[:80]} in the datastore")


def is_series(instance: MONAILabelApp, image: str) -> bool:
    """Whether an image can only be a series of an image store."""
    return isinstance(instance.datastore(), DICOMWebDatastore) and is_uid(image)


def key_of_image(instance: MONAILabelApp, image: str) -> str:
    """What results on an image of the datastore are filed under: as its file, if it has one.

    An id that the datastore does not know, or a DICOM series, stands for itself.
    """
    datastore = instance.datastore()
    if isinstance(datastore, DICOMWebDatastore) or image not in datastore.list_images():
        return image
    return key_of_file(Path(datastore.get_image_uri(image)))


def key_of_file(volume: Path) -> str:
    """What results on a volume, a file or a folder of files, are filed under: its bytes.

    Slicer opens one volume under many names: a session, another one when that has expired, and
    an image of the datastore as soon as something is submitted. What was done in one is found in
    the next.
    """
    about = volume.stat()
    # two changes may come within one tick of the file system's clock
    as_it_is = about.st_mtime_ns, about.st_size, about.st_ino
    return f"volume-{_content(volume, as_it_is)[:16]}"


@lru_cache(maxsize=64)
def _content(volume: Path, _as_it_is: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    for file in sorted(volume.iterdir()) if volume.is_dir() else [volume]:
        update_from(digest, file)
    return digest.hexdigest()


def _new_series(instance: MONAILabelApp, image: str) -> bool:
    """Whether a DICOMweb store has a series that the list, which is cached, does not show yet."""
    if not is_series(instance, image):
        return False
    client = dicomweb_client(instance.datastore())
    return bool(client.search_for_series(search_filters={"SeriesInstanceUID": image}))


def grid_of_image(instance: MONAILabelApp, image: str) -> Grid:
    """Where the voxels of an image of the datastore lie."""
    return read_grid(instance.datastore().get_image_uri(image))

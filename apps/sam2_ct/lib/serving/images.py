"""The image a request is about, and what results on it are filed under."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fastapi import HTTPException, UploadFile
from fastapi.background import BackgroundTasks
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.app import MONAILabelApp
from monailabel.utils.others.generic import remove_file

from lib.models.hashing import update_from

_UID = re.compile(r"[0-9.]{3,64}")
_SESSION = re.compile(r"[0-9a-f-]{8,64}")


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
    background_tasks: BackgroundTasks,
) -> Subject:
    """The image of a request: of a session, an upload, or the datastore; never a path.

    Raises:
        HTTPException: 404, there is no such image.
    """
    if session_id:
        sessions = instance.sessions()
        known = sessions.get_session(session_id) if _SESSION.fullmatch(session_id) else None
        if known:
            key = key_of_file(Path(known.image))
            return Subject(known.image, name=key, key=key)
        if not image:
            raise HTTPException(404, "the session has expired: load the volume again")
    if file is not None:
        path = keep_upload(file, background_tasks)
        key = key_of_file(Path(path))
        return Subject(path, name=key, key=key)
    if not image:
        raise HTTPException(422, "no image: name one of the datastore, or give a session")
    if image not in instance.datastore().list_images() and not _new_series(instance, image):
        raise HTTPException(404, f"there is no image {image!r} in the datastore")
    return Subject(image, name=image, key=key_of_image(instance, image))


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
    return f"volume-{_content(volume, volume.stat().st_mtime_ns)[:16]}"


@lru_cache(maxsize=64)
def _content(volume: Path, _changed: int) -> str:
    digest = hashlib.sha256()
    for file in sorted(volume.iterdir()) if volume.is_dir() else [volume]:
        update_from(digest, file)
    return digest.hexdigest()


def _new_series(instance: MONAILabelApp, image: str) -> bool:
    """Whether a DICOMweb store has a series that the list, which is cached, does not show yet."""
    datastore = instance.datastore()
    if not isinstance(datastore, DICOMWebDatastore) or not _UID.fullmatch(image):
        return False
    return bool(datastore._client.search_for_series(search_filters={"SeriesInstanceUID": image}))


def keep_upload(upload: UploadFile, background_tasks: BackgroundTasks) -> str:
    """Copy an upload to a file of its kind; it goes when the answer is sent."""
    ending = re.search(r"(\.nii|\.seg)?\.[A-Za-z0-9]{1,8}$", upload.filename or "")
    with tempfile.NamedTemporaryFile(
        prefix="sam2_ct_", suffix=ending[0] if ending else ".nii.gz", delete=False
    ) as copy:
        shutil.copyfileobj(upload.file, copy)
    background_tasks.add_task(remove_file, copy.name)
    return copy.name

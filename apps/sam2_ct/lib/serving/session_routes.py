"""Under /session: volumes that a viewer opened locally."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, UploadFile
from monailabel.interfaces.app import MONAILabelApp

from lib.errors import BadInput
from lib.files import discard
from lib.serving.downloads import download
from lib.serving.roles import USER
from lib.serving.uploads import keep


def session_routes(instance: MONAILabelApp) -> APIRouter:
    """A router over the app's sessions. Its functions run in threads."""
    router = APIRouter(prefix="/session", tags=["Session"], dependencies=USER)
    sessions = instance.sessions

    def known(session_id: str, update_ts: bool = False):
        info = sessions().get_session(session_id, update_ts=update_ts)
        if info is None:
            raise HTTPException(404, "there is no such session, or it has expired")
        return info

    @router.put("/", summary="Open a session with a volume")
    def create(files: list[UploadFile], uncompress: bool = False, expiry: int = 0) -> dict:
        if uncompress or len(files) != 1:
            raise BadInput(
                "a session holds one volume: send one NIfTI or NRRD file; "
                "archives are not unpacked, and DICOM comes from a DICOMweb store"
            )
        upload = keep(files[0].file)
        try:
            session_id, info = sessions().add_session(str(upload.path), expiry)
        finally:
            discard(upload.path)
        return {"session_id": session_id, "session_info": info.to_json()}

    @router.get("/{session_id}", summary="A session, or its volume")
    def session(session_id: str, update_ts: bool = False, image: bool = False):
        info = known(session_id, update_ts)
        if not image:
            return info.to_json()
        return download(info.image, Path(info.image).name)

    @router.delete("/{session_id}", summary="Close a session")
    def close(session_id: str) -> dict:
        info = known(session_id)
        sessions().remove_session(session_id)
        return info.to_json()

    return router

"""The way of OHIF to the DICOMweb store: what DICOMweb knows, and nothing else of that server.

Upstream's follows `..` to any address of the store's machine, hands the caller's headers on and
waits inside the event loop, without end.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import requests
from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from monailabel.config import settings
from starlette.background import BackgroundTask

from lib.serving.patience import CONNECT_SECONDS, SILENCE_SECONDS
from lib.serving.roles import USER

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._,^-]{0,127}")
_FIRST = {"studies", "series", "instances", "bulkdata"}
_TO_THE_STORE = ("accept", "content-type")
_BACK = ("content-type", "content-disposition")
_PIECE = 1 << 18


def dicom_proxy(store: str, session: requests.Session) -> APIRouter:
    """A router that hands DICOMweb requests on to `store`, its address, in our own `session`."""
    router = APIRouter(prefix="/proxy", tags=["DICOMweb"], dependencies=USER)
    prefixes = {
        "qido": settings.MONAI_LABEL_QIDO_PREFIX,
        "wado": settings.MONAI_LABEL_WADO_PREFIX,
        "stow": settings.MONAI_LABEL_STOW_PREFIX,
    }

    @router.get("/dicom/{service}/{path:path}", summary="QIDO-RS and WADO-RS")
    @router.post("/dicom/{service}/{path:path}", summary="STOW-RS")
    async def hand_on(http: Request, service: str, path: str):
        if service not in prefixes or not is_dicomweb_path(path):
            raise HTTPException(404, "that is no DICOMweb resource")
        if http.method == "POST" and not re.fullmatch(r"studies(/[0-9.]+)?", path):
            raise HTTPException(405, "only studies can be posted to")
        # some versions of OHIF ask for metadata where one searches
        prefix = prefixes["wado" if path.endswith("metadata") else service]
        body = await http.body() if http.method == "POST" else None
        answer = await run_in_threadpool(
            session.request,
            http.method,
            "/".join([store, *([prefix.strip("/")] if prefix else []), quote(path, safe="/,^")]),
            params=http.url.query or None,
            headers={k: http.headers[k] for k in _TO_THE_STORE if k in http.headers},
            data=body,
            stream=True,
            timeout=(CONNECT_SECONDS, SILENCE_SECONDS),
            allow_redirects=False,
        )
        return StreamingResponse(
            answer.iter_content(_PIECE),
            status_code=answer.status_code,
            headers={k: answer.headers[k] for k in _BACK if k in answer.headers},
            background=BackgroundTask(answer.close),
        )

    return router


def is_dicomweb_path(path: str) -> bool:
    """Whether this names studies, series or instances, or a part of them."""
    parts = path.rstrip("/").split("/")
    return parts[0] in _FIRST and len(parts) <= 12 and all(map(_PART.fullmatch, parts))

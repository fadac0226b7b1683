"""Under /sam2_ct/page/results: the newest results, their pictures, undo, and what can be taken."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from enum import Enum
from pathlib import Path
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse
from monailabel.interfaces.app import MONAILabelApp
from starlette.background import BackgroundTask
from starlette.responses import Response

from lib.dicom_seg.segments import named
from lib.engine.log import Log, Results
from lib.errors import BadInput
from lib.files import discard, temporary
from lib.places import APP
from lib.serving.dicom_seg import check_can_hold_segs, series_folder, write_seg
from lib.serving.downloads import download
from lib.serving.images import is_series
from lib.serving.names import is_uid
from lib.serving.page.drawing import Drawing, draw, volume_of
from lib.serving.page.results import ResultList, ResultView
from lib.serving.page.routes import HEADERS, Viewer, page_templates
from lib.serving.roles import USER
from lib.transforms.load import load_labelmap
from lib.transforms.save import save_labelmap

SHOWN = 6


class Form(str, Enum):
    """A file that a result can be taken as; the value is its ending."""

    NIFTI = "nii.gz"
    NRRD = "nrrd"
    DICOM_SEG = "dcm"
    LOG = "json"


_KINDS = {
    Form.NIFTI: "application/gzip",
    Form.NRRD: "application/octet-stream",
    Form.DICOM_SEG: "application/dicom",
    Form.LOG: "application/json",
}


def result_routes(instance: MONAILabelApp, results: Results, is_local: bool) -> APIRouter:
    """A router over the results of whoever looks. Its functions run in threads.

    Args:
        instance: its datastore and sessions.
        results: the log.
        is_local: whoever looks sits at this machine, and can paste a command that names its files.
    """
    router = APIRouter(prefix="/sam2_ct/page/results", dependencies=USER, include_in_schema=False)
    templates = page_templates()
    known = ResultList(results)
    turn = asyncio.Lock()

    @router.get("")
    def listed(http: Request, caller: Viewer, client_id: str = "") -> HTMLResponse:
        views, damaged = known.recent(caller, SHOWN)
        shown = {
            "results": views,
            "damaged": damaged,
            "query": f"?{urlencode({'client_id': client_id})}" if client_id else "",
            "others": caller.is_admin,
            "has_seg": lambda view: is_series(instance, view.log.key.image),
            "command": lambda view: replay_command(view, is_local),
        }
        return templates.TemplateResponse(http, "result.html", shown, headers=HEADERS)

    @router.get("/{result_id}/picture.png")
    async def picture(result_id: str, caller: Viewer) -> Response:
        def find() -> Drawing:
            view = known.find(caller, result_id)
            return Drawing(view.entry, volume_of(instance, view.log))

        drawing = await run_in_threadpool(find)
        async with turn:  # who waits holds no thread
            png = await run_in_threadpool(draw, drawing)
        return Response(png, media_type="image/png", headers=HEADERS)

    @router.post("/{result_id}/undo")
    def undo(result_id: str, caller: Viewer) -> dict[str, str]:
        view = known.find(caller, result_id)
        try:
            results.undo(view.log.key, view.entry)
        except BadInput as error:
            raise HTTPException(409, str(error)) from error
        return {"detail": f"{view.log.label}: the result was set aside"}

    @router.get("/{result_id}/{form}")
    def taken(result_id: str, form: Form, caller: Viewer) -> FileResponse:
        view = known.find(caller, result_id)
        make = {
            Form.NIFTI: _as_nifti,
            Form.DICOM_SEG: lambda one: _as_seg(instance, one),
        }.get(form)
        own = {Form.NRRD: view.entry.labels_path, Form.LOG: view.entry.path}
        path = own[form] if make is None else make(view)
        done = None if make is None else BackgroundTask(discard, path)
        name = f"{file_stem(view.log)}.{form.value}"
        return download(path, name, _KINDS[form], headers=HEADERS, background=done)

    return router


def replay_command(view: ResultView, is_local: bool) -> str:
    """What makes the result again, to be pasted into a terminal.

    For whoever does not sit at the server, and where the volume has gone, the words in capitals are
    to be filled in: the log, which can be taken, and the volume.
    """
    log = view.log
    is_there = is_local and log.volume.exists()
    words = _program() if is_local else ["sam2-ct", "segment"]
    words += [] if is_there else ["VOLUME"]
    words += ["--replay", str(view.entry.path) if is_local else f"{file_stem(log)}.json"]
    if ":" in log.checkpoint:
        words += ["--checkpoint", "CHECKPOINT"]
    words += ["-o", f"{file_stem(log)}.nii.gz"]
    return shlex.join(words) if os.name == "posix" else subprocess.list2cmdline(words)


def file_stem(log: Log) -> str:
    """A file name for a result, without an ending: the object and when; safe everywhere."""
    label = re.sub(r"[^A-Za-z0-9_-]+", "_", log.label).strip("_-")[:60] or "result"
    return f"{label}-{log.created[:19].replace('-', '').replace(':', '')}"


def _program() -> list[str]:
    """The command line as it can be called on this machine."""
    if shutil.which("sam2-ct"):
        return ["sam2-ct", "segment"]
    return [sys.executable, str(APP / "segment.py")]


def _as_nifti(view: ResultView) -> Path:
    labels, grid = load_labelmap(view.entry.labels_path)
    return temporary(
        ".nii.gz", lambda path: save_labelmap(labels, grid, path, like=_like(view.log.volume))
    )


def _like(volume: Path) -> Path | None:
    return volume if volume.exists() else None


def _as_seg(instance: MONAILabelApp, view: ResultView) -> Path:
    store, log = instance.datastore(), view.log
    check_can_hold_segs(store)
    if not is_uid(log.key.image):
        raise BadInput("DICOM SEG needs a series of the image store: this volume is a file")
    return write_seg(series_folder(store, log.key.image), view.entry.labels_path, named(view.names))

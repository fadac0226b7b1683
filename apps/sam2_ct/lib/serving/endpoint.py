"""POST /infer/{model}: MONAI Label's own endpoint, without its faults.

Upstream's runs inside the event loop (nothing else is answered meanwhile), goes on when the client
is gone, reads any file that `image` names, and turns every error into "Internal Server Error".
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

from fastapi import File, Form, HTTPException, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from monailabel.interfaces.app import MONAILabelApp
from requests_toolbelt import MultipartEncoder

from lib.engine.jobs import Job, JobBoard
from lib.files import discard
from lib.infers.request import Asker, ViewerRequest
from lib.serving import said
from lib.serving.answers import as_answer
from lib.serving.clients import client_of
from lib.serving.dicom_seg import check_can_hold_segs, to_dicom_seg
from lib.serving.images import find_image
from lib.serving.names import check_segments, text_name
from lib.serving.uploads import keep

logger = logging.getLogger(__name__)

_LOOK_EVERY = 0.2  # seconds between looks whether the client is still there
_PIECE = 1 << 20


class Output(str, Enum):
    """What goes back; nothing said means `ALL`."""

    IMAGE = "image"
    JSON = "json"
    ALL = "all"
    DICOM_SEG = "dicom_seg"


def infer_endpoint(instance: MONAILabelApp, models: Container[str], board: JobBoard) -> Callable:
    """The endpoint for an app that has `models`."""

    async def infer(
        http: Request,
        model: str,
        image: str = "",
        session_id: str = "",
        params: Annotated[str, Form()] = "{}",
        file: Annotated[UploadFile | None, File()] = None,
        label: Annotated[UploadFile | None, File()] = None,
        output: Output = Output.ALL,
    ) -> Response:
        with ExitStack() as ours:  # files of this request
            try:
                if model not in models:
                    raise HTTPException(404, f"there is no model {model!r} on this server")
                if output is Output.DICOM_SEG:
                    check_can_hold_segs(instance.datastore())
                asked = said.read_object(params)
                subject = await run_in_threadpool(
                    find_image, instance, image, session_id, file, ours
                )
                client = client_of(http, text_name("client", str(asked.get("client_id") or "")))
                job = Job(client, subject.name, model)
                if asked.get("job"):
                    job.id = text_name("job", str(asked["job"]))[:64]
                upload = None
                if label is not None:
                    upload = await run_in_threadpool(keep, label.file)
                    ours.callback(discard, upload.path)
                request = ViewerRequest.parse(
                    asked,
                    model,
                    Asker(client, subject.image, subject.key),
                    label_file=upload and upload.path,
                    clock=getattr(http.state, "clock", None),
                )
                check_segments(request)
                request.clock.rest("receive")

                def work() -> dict:
                    request.clock.rest("wait")
                    result = instance.infer(replace(request, job=job.id))
                    ours.callback(discard, Path(result["file"]))
                    if output is Output.DICOM_SEG:
                        seg = to_dicom_seg(instance.datastore(), subject.image, result)
                        ours.callback(discard, seg)
                        result["dicom_seg"] = seg
                    return result

                result = await unless_gone(http, job, board, work)
                return await run_in_threadpool(send, result, output, ours)
            except Exception as error:
                answer = as_answer(error)
                logger.warning("%a on %a: %d, %a", model, image, answer.status_code, answer.detail)
                raise answer from error

    return infer


def send(result: Mapping[str, object], output: Output, ours: ExitStack) -> Response:
    """The answer with a result, as MONAI Label gives it, but piece by piece.

    Args:
        result: of the infer task: file, params and, if asked for, dicom_seg.
        output: what goes back.
        ours: removes the files; with the answer's last piece, if they are sent.
    """
    params = result["params"]
    if output is Output.JSON:
        return JSONResponse(params)
    file = Path(str(result["dicom_seg"] if output is Output.DICOM_SEG else result["file"]))
    if output is Output.ALL:
        opened = ours.enter_context(file.open("rb"))
        body = MultipartEncoder(
            {
                "params": (None, json.dumps(params), "application/json"),
                "image": (file.name, opened, "application/octet-stream"),
            }
        )
        kind, length = body.content_type, body.len
    else:
        body = ours.enter_context(file.open("rb"))
        kind, length = "application/octet-stream", file.stat().st_size
        if output is Output.DICOM_SEG:
            kind = "application/dicom"
    headers = {"content-length": str(length)}
    if output is not Output.ALL:
        headers["content-disposition"] = f'attachment; filename="{file.name}"'
    return StreamingResponse(_pieces(body, ours.pop_all()), media_type=kind, headers=headers)


def _pieces(body, ours: ExitStack) -> Iterator[bytes]:
    with ours:
        while piece := body.read(_PIECE):
            yield piece


async def unless_gone(http: Request, job: Job, board: JobBoard, work: Callable[[], dict]) -> dict:
    """The result of `work`; a client that hangs up stops it at the next slice.

    Raises:
        Cancelled: it was stopped.
    """
    submitted = board.submit(job, work)
    future = asyncio.wrap_future(submitted)
    while True:
        done, _ = await asyncio.wait({future}, timeout=_LOOK_EVERY)
        if done:
            return future.result()
        if await http.is_disconnected():
            job.cancel("the client is gone")
        board.drop(job, submitted)

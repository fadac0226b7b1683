"""POST /infer/{model}: MONAI Label's own endpoint, without its faults.

Upstream's runs inside the event loop (nothing else is answered meanwhile), goes on when the client
is gone, reads any file that `image` names, and turns every error into "Internal Server Error".
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Container
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import File, Form, HTTPException, Request, UploadFile
from fastapi.background import BackgroundTasks
from fastapi.concurrency import run_in_threadpool
from monailabel.endpoints.infer import ResultType, send_response
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.exception import MONAILabelException
from monailabel.utils.others.generic import remove_file
from requests import ConnectionError, Timeout

from lib.engine.jobs import Job, JobBoard
from lib.errors import BadInput, Cancelled, Unavailable
from lib.serving.clients import client_of
from lib.serving.dicom_seg import to_dicom_seg
from lib.serving.images import find_image, keep_upload

logger = logging.getLogger(__name__)

#: What a request may say; anything else of its params is dropped. `image`, `label_file` and the
#: like come from the server alone.
_PARAMS = {
    *("policy", "propagation", "window", "axis", "carry", "merge", "end_of_object"),
    *("prompt_slices", "source", "object", "label", "label_info", "selected_label_name"),
    *("foreground", "background", "roi", "slice", "reset_state"),
    *("client_id", "job", "save_label"),
    *("result_extension", "result_dtype", "result_compress", "restore_label_idx"),
}
_LOOK_EVERY = 0.2  # seconds between looks whether the client is still there


def infer_endpoint(
    instance: MONAILabelApp, models: Container[str], board: JobBoard, device: str
) -> Callable:
    """The endpoint for an app that has `models`, which run on `device`."""

    async def infer(
        http: Request,
        background_tasks: BackgroundTasks,
        model: str,
        image: str = "",
        session_id: str = "",
        params: Annotated[str, Form()] = "{}",
        file: Annotated[UploadFile | None, File()] = None,
        label: Annotated[UploadFile | None, File()] = None,
        output: ResultType | None = None,
    ):
        try:
            if model not in models:
                raise HTTPException(404, f"there is no model {model!r} on this server")
            said = read_params(params)
            subject = await run_in_threadpool(
                find_image, instance, image, session_id, file, background_tasks
            )
            client = client_of(http, str(said.get("client_id") or ""))
            job = Job(client, subject.name, model, device)
            if said.get("job"):
                job.id = str(said["job"])[:64]
            request = {
                **{k: v for k, v in said.items() if k in _PARAMS},
                "model": model,
                "network": said.get("model"),
                "image": subject.image,
                "image_key": subject.key,
                "client": client,
            }
            if label is not None:
                request["label_file"] = await run_in_threadpool(
                    keep_upload, label, background_tasks
                )

            def work() -> dict:
                request["job"] = job.id
                result = instance.infer(request)
                if output == ResultType.dicom_seg:
                    result["dicom_seg"] = to_dicom_seg(instance, subject.image, result)
                    background_tasks.add_task(remove_file, result["dicom_seg"])
                return result

            result = await unless_gone(http, job, board, work)
            return send_response(instance.datastore(), result, output, background_tasks)
        except Exception as error:
            await background_tasks()  # FastAPI runs them after a success only
            answer = as_answer(error)
            logger.warning("%s on %r: %d, %s", model, image, answer.status_code, answer.detail)
            raise answer from error

    return infer


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


def read_params(text: str) -> dict[str, object]:
    """The `params` field of the form.

    Raises:
        BadInput: not a JSON object.
    """
    try:
        params = json.loads(text or "{}")
    except ValueError as error:
        raise BadInput(f"params is not JSON: {error}") from error
    if not isinstance(params, dict):
        raise BadInput("params must be a JSON object, like {}")
    return params


def as_answer(error: Exception) -> HTTPException:
    """The HTTP error that tells a person what happened."""
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, BadInput):
        return HTTPException(422, str(error))
    if isinstance(error, Unavailable):
        return HTTPException(503, str(error))
    if isinstance(error, Cancelled):
        return HTTPException(409, f"stopped: {error}")
    if isinstance(error, MONAILabelException):
        return HTTPException(422, error.msg)
    if isinstance(error, ConnectionError | Timeout):
        asked = urlsplit(error.request.url).netloc if error.request else "its address"
        return HTTPException(503, f"the image store at {asked} does not answer: is it running?")
    logger.exception("a request failed", exc_info=error)
    kind = type(error).__name__
    return HTTPException(
        500, f"an unexpected error of the server ({kind}: {error}); its log says more"
    )

"""Batch inference: one model over many images, each a job like any other, told one by one.

Upstream's starts another process (which loads everything anew, and fails without a GPU unless it
is told so in two ways) and ends at the first image that fails.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body, HTTPException, Request
from monailabel.interfaces.app import MONAILabelApp

from lib.engine.bell import Bell
from lib.engine.jobs import Job, JobBoard
from lib.errors import Cancelled
from lib.files import discard
from lib.infers.request import Asker, ViewerRequest
from lib.serving import said
from lib.serving.answers import as_answer
from lib.serving.clients import client_of
from lib.serving.images import key_of_image
from lib.serving.names import check_segments, tag_name, text_name
from lib.serving.roles import ADMIN, USER

_REMEMBERED = 20  # runs
_LINES = 20  # of the details, as many as upstream gives
_TIME = "%Y-%m-%d %H:%M:%S"


class Images(str, Enum):
    """Which images of the datastore."""

    ALL = "all"
    LABELED = "labeled"
    UNLABELED = "unlabeled"


@dataclass
class Run:
    """A batch: what it works on, and what happened so far.

    Attributes:
        model: task.
        client: whose accepted slices are used, and under whom results are filed.
        params: as they were sent.
        images: in order.
        told: image → what happened, for those that are over.
        status: RUNNING, DONE, STOPPED, or ERROR if no image succeeded.
    """

    model: str
    client: str
    params: Mapping[str, object]
    images: list[str]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    told: dict[str, dict[str, object]] = field(default_factory=dict)
    status: str = "RUNNING"
    started: float = field(default_factory=time.time)
    ended: float | None = None
    job: Job | None = None
    is_stopped: bool = False

    def stop(self) -> None:
        """End at the next slice of the image that is being worked on."""
        self.is_stopped = True
        if self.job is not None:
            self.job.cancel("the batch was stopped")

    def describe(self) -> dict[str, object]:
        """JSON-ready, with upstream's keys, and `images`: what happened to each."""
        lines = [f"{image}: {one['state']}, {one['detail']}" for image, one in self.told.items()]
        waiting = {"state": "waiting", "detail": ""}
        at_work = {"state": "running", "detail": ""} if self.job and not self.ended else waiting
        now = self.job.image if self.job else None
        return {
            "id": self.id,
            "status": self.status,
            "request": {**self.params, "model": self.model},
            "start_ts": time.strftime(_TIME, time.localtime(self.started)),
            **({"end_ts": time.strftime(_TIME, time.localtime(self.ended))} if self.ended else {}),
            "details": [*lines, f"{len(self.told)} of {len(self.images)} images"][-_LINES:],
            "images": {i: self.told.get(i, at_work if i == now else waiting) for i in self.images},
        }


class Batches:
    """The runs of a server: one at a time, the last ones remembered.

    Args:
        instance: its tasks and its datastore.
        board: where the images stand in the queue.

    Attributes:
        runs: those that are remembered, newest last.
        changed: rings when a run is through with an image, or ends.
    """

    def __init__(self, instance: MONAILabelApp, board: JobBoard) -> None:
        self.instance = instance
        self.board = board
        self.runs: list[Run] = []
        self.changed: Bell[Run] = Bell()
        self._lock = threading.Lock()

    def start(self, run: Run) -> threading.Thread:
        """Work on a run in a thread of its own.

        Raises:
            HTTPException: 429, there is one at work.
        """
        with self._lock:
            if self.running() is not None:
                raise HTTPException(429, "a batch is running: wait for it, or stop it")
            self.runs = [*self.runs[1 - _REMEMBERED :], run]
        thread = threading.Thread(target=self._work, args=[run], name="batch", daemon=True)
        thread.start()
        return thread

    def running(self) -> Run | None:
        """The run that is at work."""
        return next((run for run in self.runs if run.ended is None), None)

    def _work(self, run: Run) -> None:
        try:
            for image in run.images:
                if run.is_stopped:
                    run.told[image] = {"state": "stopped", "detail": "the batch was stopped"}
                else:
                    run.told[image] = self._one(run, image)
                self.changed.ring(run)
        finally:
            done = any(one["state"] == "done" for one in run.told.values())
            # before the status: what is over is never offered to be stopped
            run.ended = time.time()
            run.status = "STOPPED" if run.is_stopped else "DONE" if done else "ERROR"
            self.changed.ring(run)

    def _one(self, run: Run, image: str) -> dict[str, object]:
        """What happened to an image; nothing of it ends the batch."""
        params = run.params
        job = run.job = Job(run.client, image, run.model)

        def work() -> Mapping[str, object]:
            keeps = params.get("save_label", True) is not False
            request = ViewerRequest.parse(
                params,
                run.model,
                Asker(run.client, image, key_of_image(self.instance, image)),
                job=job.id,
                save_as=str(params.get("label_tag") or "original") if keeps else None,
            )
            check_segments(request)
            return self.instance.infer(request)

        if run.is_stopped:
            job.cancel("the batch was stopped")
        try:
            result = self.board.submit(job, work).result()
        except Cancelled as error:
            return {"state": "stopped", "detail": str(error)}
        except Exception as error:  # noqa: BLE001  the next image may succeed
            return {"state": "failed", "detail": str(as_answer(error).detail)}
        if result.get("file"):
            discard(Path(str(result["file"])))
        names = (result.get("params") or {}).get("label_names") or {}
        return {"state": "done", "detail": ", ".join(names)}


def batch_routes(batches: Batches, models: Container[str]) -> APIRouter:
    """A router over the runs."""
    router = APIRouter(prefix="/batch", tags=["Infer"])
    store = batches.instance.datastore

    @router.post("/infer/{model}", dependencies=ADMIN, summary="Run a model on many images")
    def run(
        http: Request,
        model: str,
        images: Images = Images.ALL,
        params: Annotated[dict | None, Body()] = None,
        run_sync: bool = False,
    ) -> dict:
        if model not in models:
            raise HTTPException(404, f"there is no model {ascii(model)[:80]} on this server")
        params = params or {}
        said.check(params, "the request")
        tag_name(str(params.get("label_tag") or "original"))
        named = text_name("client", str(params.get("client_id") or ""))
        chosen = {
            Images.ALL: store().list_images,
            Images.LABELED: store().get_labeled_images,
            Images.UNLABELED: store().get_unlabeled_images,
        }[images]()
        most = params.get("max_batch_size")
        most = most if isinstance(most, int) and most > 0 else None
        batch = Run(model, client_of(http, named or None), params, sorted(chosen)[:most])
        thread = batches.start(batch)
        if run_sync:
            thread.join()
        return batch.describe()

    @router.get("/infer", dependencies=USER, summary="The newest run, or all that are remembered")
    def status(all: bool = False, check_if_running: bool = False):
        if check_if_running and batches.running() is None:
            raise HTTPException(404, "no batch is running")
        if not batches.runs:
            raise HTTPException(404, "there was no batch yet")
        if all:
            return [run.describe() for run in batches.runs]
        return batches.runs[-1].describe()

    @router.delete("/infer", dependencies=ADMIN, summary="Stop the batch that is running")
    def stop() -> dict | None:
        batch = batches.running()
        if batch is None:
            return None
        batch.stop()
        return batch.describe()

    return router

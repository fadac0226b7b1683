"""The app's own routes: queue, progress, cancelling, earlier results. Under /sam2_ct/."""

from __future__ import annotations

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import FileResponse
from monailabel.interfaces.app import MONAILabelApp

from lib.engine.jobs import Job, JobBoard
from lib.engine.log import Entry, Key, Results
from lib.errors import BadInput
from lib.serving.clients import Caller, caller_of
from lib.serving.downloads import download
from lib.serving.images import key_of_image
from lib.serving.roles import USER


def own_routes(instance: MONAILabelApp, board: JobBoard, results: Results) -> APIRouter:
    """A router over the jobs and the log of results."""
    asker = Depends(caller_of)

    def key_of(image: str, label: str, caller: Caller = asker) -> Key:
        return Key(caller.client, key_of_image(instance, image), label)

    asked_for = Depends(key_of)

    router = APIRouter(prefix="/sam2_ct", tags=["SAM 2 CT"], dependencies=USER)

    @router.get("/queue", summary="What runs and what waits, per device; null: somebody else's")
    async def queue(caller: Caller = asker) -> dict[str, dict[str, list[str | None]]]:
        return {
            device: {
                state: [job.id if caller.may_manage(job) else None for job in jobs]
                for state, jobs in queue.items()
            }
            for device, queue in board.queues().items()
        }

    @router.get("/jobs", summary="Jobs, newest first: slices done, of how many, seconds left")
    async def jobs(
        caller: Caller = asker, client_id: str | None = None, image: str | None = None
    ) -> list[dict]:
        """Others' jobs come without names and ids, and not at all to a question for some."""
        if client_id is not None or image is not None:
            return [
                job.describe()
                for job in board.all()
                if caller.may_manage(job)
                and (client_id is None or job.client == caller.client)
                and (image is None or job.image == image)
            ]
        return [
            job.describe() if caller.may_manage(job) else job.describe_to_others()
            for job in board.all()
        ]

    @router.get("/jobs/{job_id}", summary="Progress of one job")
    async def job(job_id: str, caller: Caller = asker) -> dict:
        return _known(board, job_id, caller).describe()

    @router.delete("/jobs/{job_id}", summary="Stop a job at its next slice")
    async def cancel(job_id: str, caller: Caller = asker) -> dict:
        job = _known(board, job_id, caller)
        job.cancel("cancelled on request")
        return job.describe()

    @router.get("/results", summary="Results of an object, newest first")
    def listed(key: Key = asked_for) -> list[dict]:
        return [_brief(results, e) for e in results.entries(key)]

    @router.get("/result", summary="The label map of the newest result, or of one further back")
    def result(key: Key = asked_for, back: int = Query(0, ge=0)) -> FileResponse:
        entries = results.entries(key)
        if back >= len(entries):
            raise HTTPException(404, f"{key.label!r} has {len(entries)} results on this image")
        return _file(entries[back])

    @router.post("/undo", summary="Set the newest result aside; answers the one before it")
    def undo(key: Key = asked_for):
        try:
            before = results.undo(key)
        except BadInput as error:
            raise HTTPException(404, str(error)) from error
        return _file(before) if before else {"detail": f"{key.label!r} has no result any more"}

    return router


def _known(board: JobBoard, job_id: str, caller: Caller) -> Job:
    """The job of that id; without log-in the id, which only its client was told, is enough."""
    job = board.find(job_id)
    if job is None or (caller.user is not None and not caller.may_manage(job)):
        raise HTTPException(404, f"there is no job {job_id!r}")
    return job


def _brief(results: Results, entry: Entry) -> dict[str, object]:
    log = entry.read()
    return {
        "created": log.created,
        "task": log.task,
        "log": entry.path.relative_to(results.folder).as_posix(),
        "confidence": log.report.get("confidence"),
        "next_slices": log.report.get("next_slices", []),
    }


def _file(entry: Entry) -> FileResponse:
    return download(entry.labels_path, entry.labels_path.name)

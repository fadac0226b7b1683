"""What a caller may see of jobs, queues and batches, as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from lib.engine.jobs import Job, JobBoard, State
from lib.serving.answers import public
from lib.serving.batch import Run
from lib.serving.clients import Caller

_OVER = 6  # jobs that are over, of which the page tells
_RUNS = 3
_FAILED = 20  # images of a run


def look(caller: Caller, board: JobBoard, runs: Sequence[Run]) -> dict[str, list[dict]]:
    """Jobs, queues and batches; of others' no name, no id and no image.

    Args:
        caller: who looks.
        board: jobs.
        runs: batches, newest last.
    """
    mine = [job for job in board.all() if caller.may_manage(job)]
    at_work = [job for job in mine if not job.state.is_over]
    over = [job for job in mine if job.state.is_over][:_OVER]
    return {
        "jobs": [{**job.describe(), "why": _why(job)} for job in at_work + over],
        "queues": [
            {
                "device": device,
                "running": [_in_queue(job, caller) for job in queue["running"]],
                "waiting": [_in_queue(job, caller) for job in queue["waiting"]],
            }
            for device, queue in board.queues().items()
        ],
        "batches": [_batch(run, caller) for run in reversed(runs[-_RUNS:])],
    }


def _why(job: Job) -> str:
    if job.state is State.FAILED and not job.why:
        return "an unexpected error: the server's log says more"
    return public(job.why)


def _in_queue(job: Job, caller: Caller) -> dict[str, object]:
    if not caller.may_manage(job):
        return {"model": job.model}
    return {"model": job.model, "image": job.image, "client": job.client}


def _batch(run: Run, caller: Caller) -> dict[str, object]:
    told = list(run.told.items())  # the run's thread adds to it
    states = [one["state"] for _, one in told]
    seen: dict[str, object] = {
        "model": run.model,
        "status": run.status,
        "over": len(told),
        "images": len(run.images),
        "failed": states.count("failed"),
        "started": round(run.started, 3),
    }
    if caller.may_see(run.client):
        failed = [
            {"image": image, "why": one["detail"]}
            for image, one in told
            if one["state"] == "failed"
        ]
        at_work = run.job.image if run.job and run.ended is None else ""
        seen |= {"id": run.id, "now": at_work, "failures": failed[:_FAILED]}
    # as the route has it: whoever may stop every batch
    seen["can_stop"] = run.ended is None and (caller.user is None or caller.is_admin)
    return seen

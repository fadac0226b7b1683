"""Requests at work and in the queue: one worker per device, progress, cancelling."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from lib.engine.bell import Bell
from lib.errors import BadInput, Cancelled, Unavailable

T = TypeVar("T")

_REMEMBERED = 200


class State(str, Enum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Nothing more will happen to the job."""
        return self not in (State.QUEUED, State.RUNNING)


@dataclass
class Job:
    """One request.

    Attributes:
        client: who asked; a new request of the same client for the same image replaces this one.
        image: what about.
        model: which task.
        device: whose queue it stands in; None: the board chooses when it is queued.
        id: names the job in the routes; a client may choose it.
        state: where it stands.
        done: slices finished.
        expected: slices in all, 0 before that is known.
        why: it was stopped or could not be done, a sentence; it may name folders of the server.
        tell: called after every change.
    """

    client: str
    image: str
    model: str
    device: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    state: State = State.QUEUED
    done: int = 0
    expected: int = 0
    created: float = field(default_factory=time.time)
    why: str = ""
    tell: Callable[[Job], None] | None = field(default=None, repr=False, compare=False)
    _first_slice: float | None = None
    _last_slice: float | None = None
    _stop: str | None = None

    def progress(self, done: int, expected: int) -> None:
        """Told by the engine after every slice.

        Raises:
            Cancelled: somebody asked for that.
        """
        now = time.monotonic()
        if self._first_slice is None:
            self._first_slice = now
        self._last_slice = now
        self.done, self.expected = done, expected
        self._changed()
        self.check()

    def check(self) -> None:
        """Go on, or not.

        Raises:
            Cancelled: somebody asked for that.
        """
        if self._stop is not None:
            raise Cancelled(self._stop)

    def cancel(self, why: str) -> None:
        """Stop at the next slice, or before the first."""
        if self._stop is None and not self.state.is_over:
            self._stop = why
            self._changed()

    def turn(self, state: State, why: str = "") -> None:
        """Go over to a state."""
        self.state, self.why = state, why
        self._changed()

    def _changed(self) -> None:
        if self.tell is not None:
            self.tell(self)

    @property
    def is_stopped(self) -> bool:
        """Somebody asked for that; the work may not have noticed yet."""
        return self._stop is not None

    def seconds_left(self) -> float | None:
        """Of the propagation, judged by the slices so far; None before the second slice."""
        first, last = self._first_slice, self._last_slice
        if self.state is not State.RUNNING or self.done < 2 or first is None or last is None:
            return None
        each = (last - first) / (self.done - 1)
        return round(each * (self.expected - self.done), 1)

    def describe(self) -> dict[str, object]:
        """JSON-ready."""
        return {
            "id": self.id,
            "client": self.client,
            "image": self.image,
            "model": self.model,
            "device": self.device,
            "state": self.state.value,
            "slices_done": self.done,
            "slices": self.expected,
            "seconds_left": self.seconds_left(),
            "created": round(self.created, 3),
        }

    def describe_to_others(self) -> dict[str, object]:
        """What somebody else may know, who waits behind it: no name, no id."""
        private = ("id", "client", "image")
        return {key: value for key, value in self.describe().items() if key not in private}


class JobBoard:
    """All jobs; those of one device run one after the other, in the order they came.

    Args:
        devices: those that jobs without a device are spread over.

    Attributes:
        changed: rings with every change of a job.
    """

    def __init__(self, devices: Sequence[str] = ("cpu",)) -> None:
        self.changed: Bell[Job] = Bell()
        self.devices = tuple(devices)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._workers: dict[str, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()

    def submit(self, job: Job, work: Callable[[], T]) -> Future[T]:
        """Queue `work` on the job's device, or on the one with the shortest queue.

        Older jobs of the same client and image give way.

        The future's result is that of `work`, or `Cancelled`.
        """
        with self._lock:
            for other in self._jobs.values():
                if (other.client, other.image) == (job.client, job.image):
                    other.cancel("superseded by a newer request for the same image")
            if job.id in self._jobs:
                job.id = uuid.uuid4().hex[:12]
            device = job.device = job.device or self._shortest(job.image)
            self._jobs[job.id] = job
            job.tell = self.changed.ring
            self._forget()
            worker = self._workers.get(device)
            if worker is None:
                worker = ThreadPoolExecutor(1, thread_name_prefix=f"sam2_ct-{device}")
                self._workers[device] = worker
            submitted = worker.submit(self._run, job, work)
        self.changed.ring(job)
        return submitted

    def drop(self, job: Job, submitted: Future[T]) -> None:
        """Take a job that was stopped out of the queue, if it still waits there.

        Raises:
            Cancelled: so it was.
        """
        if job.is_stopped and submitted.cancel():
            try:
                job.check()
            except Cancelled as error:
                job.turn(State.CANCELLED, str(error))
                raise

    def find(self, job_id: str | None) -> Job | None:
        """The job of that id."""
        with self._lock:
            return self._jobs.get(job_id) if job_id else None

    def all(self) -> list[Job]:
        """Every job that is remembered, newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def queues(self) -> dict[str, dict[str, list[Job]]]:
        """Device → what runs and what waits there, in order."""
        with self._lock:
            jobs = list(self._jobs.values())
            devices = list(self._workers)
        return {
            device: {
                "running": [j for j in jobs if j.device == device and j.state is State.RUNNING],
                "waiting": [j for j in jobs if j.device == device and j.state is State.QUEUED],
            }
            for device in devices
        }

    def waiting(self, device: str) -> int:
        """Length of a device's queue, the running job included."""
        with self._lock:
            return sum(j.device == device and not j.state.is_over for j in self._jobs.values())

    def is_busy(self) -> bool:
        """Whether a job runs or waits on any device."""
        with self._lock:
            return any(not job.state.is_over for job in self._jobs.values())

    def _shortest(self, image: str) -> str:
        """The device with the fewest jobs; of several, the one that saw the image last.

        There its slices are encoded already. Jobs that were told to stop leave at their next slice
        and do not count.
        """
        jobs = [j for j in self._jobs.values() if not (j.state.is_over or j.is_stopped)]
        length = {d: sum(j.device == d for j in jobs) for d in self.devices}
        shortest = [d for d in self.devices if length[d] == min(length.values())]
        seen = [j.device for j in self._jobs.values() if j.image == image]
        return next((d for d in reversed(seen) if d in shortest), shortest[0])

    def _run(self, job: Job, work: Callable[[], T]) -> T:
        over, why = State.FAILED, ""
        try:
            job.check()
            job.turn(State.RUNNING)
            result = work()
            over = State.DONE
            return result
        except Cancelled as error:
            over, why = State.CANCELLED, str(error)
            raise
        except (BadInput, Unavailable) as error:
            why = str(error)
            raise
        finally:
            job.turn(over, why)

    def _forget(self) -> None:
        over = [j.id for j in self._jobs.values() if j.state.is_over]
        for job_id in over[: max(0, len(self._jobs) - _REMEMBERED)]:
            del self._jobs[job_id]

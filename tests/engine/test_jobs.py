import threading

import pytest

from lib.engine.jobs import Job, JobBoard, State
from lib.errors import Cancelled


def job(client="a", image="ct", device="cpu", **kwargs) -> Job:
    return Job(client, image, "masks", device, **kwargs)


class Work:
    """Goes on slice by slice until it is let go or stopped."""

    def __init__(self, its_job: Job):
        self.job = its_job
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.started.set()
        done = 0
        while not self.go.wait(0.01):
            done += 1
            self.job.progress(done, 1000)
        return "result"


@pytest.fixture
def board():
    return JobBoard()


def start(board, its_job):
    work = Work(its_job)
    return work, board.submit(its_job, work)


def test_jobs_of_a_device_run_in_turn(board):
    first, future = start(board, job())
    second, later = start(board, job("b"))
    first.started.wait(5)
    assert board.queues() == {"cpu": {"running": [first.job], "waiting": [second.job]}}
    assert board.waiting("cpu") == 2
    assert not second.started.is_set()
    first.go.set()
    second.go.set()
    assert future.result(5) == later.result(5) == "result"
    assert first.job.state is second.job.state is State.DONE
    assert board.waiting("cpu") == 0


def test_devices_do_not_wait_for_each_other(board):
    first, _ = start(board, job())
    second, _ = start(board, job("b", device="cuda:0"))
    assert first.started.wait(5)
    assert second.started.wait(5)
    first.go.set()
    second.go.set()


@pytest.fixture
def two():
    return JobBoard(["cuda:0", "cuda:1"])


def anywhere(client, image):
    return Job(client, image, "masks")


def test_jobs_go_to_the_shortest_queue(two):
    works = [start(two, anywhere(f"c{n}", f"image {n}"))[0] for n in range(5)]
    assert [w.job.device for w in works] == ["cuda:0", "cuda:1"] * 2 + ["cuda:0"]
    assert works[0].started.wait(5)
    assert works[1].started.wait(5)  # at the same time
    assert two.waiting("cuda:0") == 3
    assert [len(q["waiting"]) for q in two.queues().values()] == [2, 1]
    for work in works:
        work.go.set()


def test_of_queues_as_short_the_one_that_knows_the_image_is_taken(two):
    for image, device in (("a", "cuda:0"), ("b", "cuda:0"), ("c", "cuda:1")):
        two.submit(Job("x", image, "masks", device), lambda: None).result(5)
    for image, device in (("c", "cuda:1"), ("a", "cuda:0"), ("new", "cuda:0")):
        again = anywhere("y", image)
        two.submit(again, lambda: None).result(5)
        assert again.device == device
    busy, _ = start(two, Job("z", "other", "masks", "cuda:1"))
    third = anywhere("y", "c")  # its device is at work, the other is not
    two.submit(third, lambda: None).result(5)
    assert third.device == "cuda:0"
    busy.go.set()


def test_a_correction_stays_with_its_image_though_the_request_before_has_not_stopped(two):
    old, _ = start(two, Job("a", "ct", "masks", "cuda:1"))
    assert old.started.wait(5)
    correction = anywhere("a", "ct")
    two.submit(correction, lambda: None).result(5)
    assert correction.device == "cuda:1"
    assert old.job.state is State.CANCELLED


def test_cancel_stops_at_the_next_slice(board):
    work, future = start(board, job())
    work.started.wait(5)
    work.job.cancel("cancelled on request")
    with pytest.raises(Cancelled, match="on request"):
        future.result(5)
    assert work.job.state is State.CANCELLED


def test_cancel_before_the_start(board):
    first, _ = start(board, job())
    first.started.wait(5)
    second, future = start(board, job("b"))
    second.job.cancel("cancelled on request")
    first.go.set()
    with pytest.raises(Cancelled):
        future.result(5)
    assert not second.started.is_set()


@pytest.mark.parametrize(
    ("client", "image", "gives_way"), [("a", "ct", True), ("b", "ct", False), ("a", "mr", False)]
)
def test_newer_request_supersedes(board, client, image, gives_way):
    old, future = start(board, job())
    old.started.wait(5)
    new, newer = start(board, job(client, image))
    new.go.set()
    if gives_way:
        with pytest.raises(Cancelled, match="superseded"):
            future.result(5)
    else:
        old.go.set()
        assert future.result(5) == "result"
    assert newer.result(5) == "result"


def test_failure_is_a_state_and_the_next_runs(board):
    bad = job()
    with pytest.raises(KeyError):
        board.submit(bad, lambda: {}["x"]).result(5)
    assert bad.state is State.FAILED
    assert board.submit(job(), lambda: 1).result(5) == 1


def test_seconds_left_by_the_pace_so_far(monkeypatch):
    now = iter([10.0, 11.0, 12.0])
    monkeypatch.setattr("lib.engine.jobs.time.monotonic", lambda: next(now))
    running = job(state=State.RUNNING)
    assert running.seconds_left() is None
    running.progress(1, 10)
    assert running.seconds_left() is None
    running.progress(2, 10)
    running.progress(3, 10)
    assert running.seconds_left() == 7.0


def test_an_id_that_is_taken_is_not_taken_over(board):
    first, second = job(id="mine"), job("b", id="mine")
    board.submit(first, lambda: None).result(5)
    board.submit(second, lambda: None).result(5)
    assert board.find("mine") is first
    assert second.id != "mine"


def test_old_jobs_are_forgotten_running_ones_never(board):
    work, _ = start(board, job("first"))
    for n in range(250):
        board.submit(job(f"c{n}", device="other"), lambda: None).result(5)
    assert board.find(work.job.id) is work.job
    assert len(board.all()) <= 202
    work.go.set()


def test_a_waiting_job_leaves_the_queue_at_once(board):
    first, _ = start(board, job())
    first.started.wait(5)
    second, later = start(board, job("b"))
    board.drop(second.job, later)  # nobody stopped it: nothing happens
    assert second.job.state is State.QUEUED
    second.job.cancel("not needed")
    with pytest.raises(Cancelled, match="not needed"):
        board.drop(second.job, later)
    assert second.job.state is State.CANCELLED
    assert board.queues()["cpu"]["waiting"] == []
    first.go.set()
    assert not second.started.wait(0.2)


def test_work_that_runs_is_not_dropped(board):
    work, future = start(board, job())
    work.started.wait(5)
    work.job.cancel("enough")
    board.drop(work.job, future)
    with pytest.raises(Cancelled, match="enough"):
        future.result(5)

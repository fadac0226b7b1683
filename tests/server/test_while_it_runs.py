"""Several people, long propagations: responsive, visible, stoppable, and exact."""

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests

#: Some seconds of work: 300 slices there and back, to the ends of the volume.
LONG = {"propagation": "forward-backward", "extent": "whole", "axis": "axial"}
CLICK = [[20, 20, 150]]


class LongRun:
    """A request in a thread of its own."""

    def __init__(self, slicer, **options):
        self.slicer = slicer
        self.job = f"job-{slicer.client_id}-{id(self)}"
        self._pool = ThreadPoolExecutor(1)
        options = {**LONG, **options, "job": self.job}
        self.answer = self._pool.submit(slicer.smart_edit, "long", CLICK, **options)

    def state(self) -> dict:
        found = requests.get(f"{self.slicer.url}/sam2_ct/jobs/{self.job}", timeout=30)
        return found.json() if found.ok else {"state": "unknown", "slices_done": 0}

    def wait_for(self, condition, limit: float = 60) -> dict:
        deadline = time.monotonic() + limit
        while not condition(state := self.state()):
            assert time.monotonic() < deadline, state
            time.sleep(0.05)
        return state

    def cancel(self) -> None:
        requests.delete(f"{self.slicer.url}/sam2_ct/jobs/{self.job}", timeout=30)


@pytest.fixture
def long_run(server):
    runs = []

    def start(slicer=None, **options) -> LongRun:
        runs.append(LongRun(slicer or server.slicer(), **options))
        return runs[-1]

    yield start
    for run in runs:
        run.cancel()
        run.answer.exception(60)


def at_work(state: dict) -> bool:
    return state["slices_done"] >= 3


def over(state: dict) -> bool:
    return state["state"] not in ("queued", "running", "unknown")


def queue(server, slicer) -> dict[str, list[str | None]]:
    asked = {"client_id": slicer.client_id}
    return requests.get(f"{server.url}/sam2_ct/queue", params=asked, timeout=30).json()["cpu"]


def test_info_answers_meanwhile_and_progress_is_told(server, long_run):
    run = long_run()
    run.wait_for(at_work)
    waits = []
    for _ in range(5):
        start = time.perf_counter()
        assert requests.get(f"{server.url}/info/", timeout=30).ok
        waits.append(time.perf_counter() - start)
    assert np.median(waits) < 0.5
    first = run.state()
    later = run.wait_for(lambda s: s["slices_done"] > first["slices_done"])
    assert first["state"] == "running"
    assert later["slices"] >= later["slices_done"] > 0
    assert later["seconds_left"] > 0
    assert queue(server, run.slicer) == {"running": [run.job], "waiting": []}


def test_cancel(server, long_run):
    run = long_run()
    run.wait_for(at_work)
    run.cancel()
    answer = run.answer.result(30)
    assert answer.status == 409
    assert answer.detail == "stopped: cancelled on request"
    assert run.state()["state"] == "cancelled"


def test_queue_and_cancel_before_the_start(server, long_run):
    first = long_run()
    first.wait_for(at_work)
    second = long_run()
    second.wait_for(lambda s: s["state"] == "queued")
    assert queue(server, first.slicer) == {"running": [first.job], "waiting": [None]}
    assert queue(server, second.slicer) == {"running": [None], "waiting": [second.job]}
    second.cancel()
    assert second.answer.result(10).status == 409
    assert first.state()["state"] == "running"  # nobody waits for it
    assert second.state()["slices_done"] == 0


def test_others_jobs_show_without_names_and_ids(server, long_run):
    run = long_run()
    run.wait_for(at_work)
    shown = server.jobs()[0]
    assert shown["state"] == "running"
    assert shown["slices_done"] >= 3
    assert not {"id", "client", "image"} & set(shown)
    assert not any(name in str(server.jobs()) for name in ("annotator-", "long", run.job))
    assert server.jobs(image="long") == []  # which would tell whether somebody works on it
    assert [job["id"] for job in server.jobs(client_id=run.slicer.client_id)] == [run.job]


def test_a_study_that_is_removed_meanwhile_is_answered_nevertheless(server, studies):
    """Its voxels are read, and somebody waits for what was found."""
    slicer, gone = server.slicer(), studies / "gone.nii.gz"
    shutil.copyfile(studies / "long.nii.gz", gone)
    with ThreadPoolExecutor(1) as pool:
        within = {**LONG, "roi": [0, 39, 0, 39, 130, 170], "job": "job-of-a-study-that-goes"}
        answer = pool.submit(slicer.smart_edit, "gone", CLICK, **within)
        url = f"{server.url}/sam2_ct/jobs/job-of-a-study-that-goes"
        deadline = time.monotonic() + 60
        while not (found := requests.get(url, timeout=30)).ok or not found.json()["slices_done"]:
            assert time.monotonic() < deadline
        gone.unlink()
    assert answer.result().status == 200, answer.result().detail
    assert answer.result().labels.any()


def test_newer_request_supersedes(server, long_run):
    slicer = server.slicer()
    old = long_run(slicer)
    old.wait_for(at_work)
    new = slicer.smart_edit("long", [[20, 20, 4]], roi=[0, 39, 0, 39, 2, 6])
    assert new.status == 200, new.detail
    assert old.answer.result(30).status == 409
    assert "superseded" in old.answer.result().detail


def test_another_client_does_not_supersede(server, long_run):
    run = long_run()
    run.wait_for(at_work)
    other = long_run()
    other.wait_for(lambda s: s["state"] == "queued")
    assert run.state()["state"] == "running"


def test_client_gone_means_work_stopped(server, long_run):
    name = "job-of-a-vanishing-client"
    params = {**LONG, "foreground": CLICK, "job": name, "client_id": "vanishing"}
    with requests.Session() as session, pytest.raises(requests.RequestException):
        session.post(
            f"{server.url}/infer/sam2_ct_points",
            params={"image": "long"},
            files={"params": (None, json.dumps(params))},
            timeout=(5, 1.5),
        )
    deadline = time.monotonic() + 20
    while not over(state := requests.get(f"{server.url}/sam2_ct/jobs/{name}", timeout=30).json()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert state["state"] == "cancelled"
    assert state["slices_done"] < state["slices"]


def test_two_clients_get_what_each_gets_alone(server, sample, painted):
    def mask():
        return server.slicer().scribbles("pelvis", painted, sample.affine, {"hip": 1}, "hip")

    def click():
        return server.slicer().smart_edit("long", CLICK, roi=[0, 39, 0, 39, 130, 170])

    alone = mask(), click()
    barrier = threading.Barrier(4)

    def together(ask):
        barrier.wait()
        return ask()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(together, [mask, click, mask, click]))
    for n, answer in enumerate(answers):
        assert answer.status == 200, answer.detail
        np.testing.assert_array_equal(answer.labels, alone[n % 2].labels)
        for one, other in zip(answer.params["slices"], alone[n % 2].params["slices"], strict=True):
            assert one == other


def test_unknown_job(server):
    answer = requests.get(f"{server.url}/sam2_ct/jobs/nonesuch", timeout=30)
    assert answer.status_code == 404
    assert "nonesuch" in answer.json()["detail"]

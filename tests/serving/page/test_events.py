"""The stream of events without a server: what it tells whom, when, and when it ends."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.engine.jobs import Job, JobBoard
from lib.engine.log import Key, Results
from lib.serving.batch import Batches, Run
from lib.serving.clients import Caller
from lib.serving.page import events
from lib.serving.page.events import PER_CLIENT, EventStream, Streams
from lib.serving.studies import Studies

ANNA, BERT = Caller("anna"), Caller("bert")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(events, "APART", 0.01)
    monkeypatch.setattr(events, "HEARTBEAT", 0.2)


@pytest.fixture
def streams(tmp_path) -> Streams:
    board = JobBoard()
    (tmp_path / "studies").mkdir()
    store = Studies(str(tmp_path / "studies"))
    return Streams(board, Batches(None, board), Results(tmp_path / "results"), store)


class Listener:
    """A client: what it was sent, and how it leaves."""

    def __init__(self, streams: Streams, asker: Callable[[], Caller | None], stuck: bool = False):
        self.sent: list[dict] = []
        self.left = asyncio.Event()
        self.stuck = stuck
        self.news = asyncio.Event()
        stream = EventStream(streams, asker)
        self.task = asyncio.create_task(stream({"type": "http"}, self._receive, self._send))

    async def _receive(self) -> dict:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict) -> None:
        if self.stuck and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        self.sent.append(message)
        self.news.set()

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def text(self) -> str:
        return b"".join(m.get("body", b"") for m in self.sent).decode()

    @property
    def states(self) -> list[dict]:
        lines = self.text.splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line[:5] == "data:"]

    async def until(self, condition: Callable[[], bool], limit: float = 5) -> None:
        async def wait() -> None:
            while not condition():
                self.news.clear()
                await self.news.wait()

        await asyncio.wait_for(wait(), limit)


async def run_job(streams: Streams, anna: Listener, slices: int) -> None:
    """A job of anna's that tells of every slice, until she is told that it is done."""

    def work() -> None:
        for done in range(1, slices + 1):
            job.progress(done, slices)

    job = Job("anna", "ct", "masks", "cpu")
    await asyncio.to_thread(streams.board.submit(job, work).result)
    await anna.until(lambda: [j["state"] for j in anna.states[-1]["jobs"]] == ["done"])


def add_job(streams: Streams, client: str, image: str = "secret-ct", work=lambda: None) -> Job:
    job = Job(client, image, "masks", "cpu")
    streams.board.submit(job, work).result(5)
    return job


def test_a_state_at_once_and_another_with_every_change(streams):
    async def scene() -> None:
        anna = Listener(streams, lambda: ANNA)
        await anna.until(lambda: len(anna.states) == 1)
        assert anna.status == 200
        assert dict(anna.sent[0]["headers"])[b"content-type"].startswith(b"text/event-stream")
        assert anna.states[0]["jobs"] == anna.states[0]["queues"] == []

        await run_job(streams, anna, slices=3)
        shown = anna.states[-1]["jobs"][0]
        assert (shown["image"], shown["slices_done"], shown["slices"]) == ("ct", 3, 3)
        anna.left.set()
        await anna.task

    asyncio.run(scene())


def test_quick_changes_are_told_together(streams, monkeypatch):
    monkeypatch.setattr(events, "APART", 0.1)

    async def scene() -> int:
        anna = Listener(streams, lambda: ANNA)
        await anna.until(lambda: len(anna.states) == 1)

        await run_job(streams, anna, slices=2000)
        anna.left.set()
        await anna.task
        return len(anna.states)

    assert asyncio.run(scene()) < 20


def test_silence_is_broken_without_a_state_and_the_folder_is_looked_at(streams):
    folder = Path(streams.store._datastore_path)

    async def scene() -> None:
        anna = Listener(streams, lambda: ANNA)
        await anna.until(lambda: anna.text.count(": still here") == 2)
        assert len(anna.states) == 1
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)), folder / "put-there.nii.gz")
        await anna.until(lambda: len(anna.states) == 2)
        assert anna.states[0]["studies"] != anna.states[1]["studies"]
        anna.left.set()
        await anna.task

    asyncio.run(scene())


def test_of_others_no_name_and_of_their_results_nothing(streams):
    async def scene() -> None:
        anna, bert = (Listener(streams, lambda who=who: who) for who in (ANNA, BERT))
        await bert.until(lambda: len(bert.states) == 1)
        job = await asyncio.to_thread(add_job, streams, "anna")
        run = Run("masks", "anna", {"secret": "secret-params"}, ["secret-ct"])
        run.told["secret-ct"] = {"state": "failed", "detail": "secret-reason"}
        streams.batches.runs.append(run)
        streams.batches.changed.ring(run)
        await anna.until(lambda: anna.states[-1]["batches"] != [])
        await bert.until(lambda: bert.states[-1]["batches"] != [])
        assert anna.states[-1]["jobs"][0]["id"] == job.id
        assert anna.states[-1]["batches"][0]["failures"] == [
            {"image": "secret-ct", "why": "secret-reason"}
        ]
        assert bert.states[-1]["jobs"] == []
        assert bert.states[-1]["batches"][0]["failed"] == 1
        assert not any(word in bert.text for word in ("anna", "secret", job.id, run.id))

        before = [listener.states[-1]["results"] for listener in (anna, bert)]
        streams.results.changed.ring(Key("anna", "ct", "bone"))
        await anna.until(lambda: anna.states[-1]["results"] != before[0])
        await bert.until(lambda: ": still here" in bert.text[-40:])
        assert bert.states[-1]["results"] == before[1]
        for listener in (anna, bert):
            listener.left.set()
            await listener.task

    asyncio.run(scene())


def test_so_many_and_no_more_and_who_leaves_makes_room(streams):
    async def scene() -> None:
        pages = [Listener(streams, lambda: ANNA) for _ in range(PER_CLIENT)]
        for page in pages:
            await page.until(lambda page=page: len(page.states) == 1)
        one_more = Listener(streams, lambda: ANNA)
        await one_more.task
        assert one_more.status == 429
        assert (b"retry-after", b"30") in one_more.sent[0]["headers"]
        bert = Listener(streams, lambda: BERT)  # whom that does not concern
        await bert.until(lambda: len(bert.states) == 1)
        pages[0].left.set()
        await pages[0].task
        again = Listener(streams, lambda: ANNA)
        await again.until(lambda: len(again.states) == 1)
        streams.close()
        await asyncio.gather(*(page.task for page in [*pages, bert, again]))
        assert again.sent[-1] == {"type": "http.response.body", "body": b""}
        assert streams.has_room("anna")

    asyncio.run(scene())


def test_a_user_counts_once_under_all_names(streams):
    async def scene() -> None:
        names = (Caller(f"anna/client-{n}", "anna") for n in range(PER_CLIENT))
        pages = [Listener(streams, lambda who=who: who) for who in names]
        for page in pages:
            await page.until(lambda page=page: len(page.states) == 1)
        one_more = Listener(streams, lambda: Caller("anna/other", "anna"))
        await one_more.task
        assert one_more.status == 429
        streams.close()
        await asyncio.gather(*(page.task for page in pages))

    asyncio.run(scene())


def test_who_is_logged_out_is_told_nothing_more(streams):
    who: list[Caller | None] = [Caller("anna", "anna")]

    async def scene() -> None:
        anna = Listener(streams, lambda: who[0])
        await anna.until(lambda: len(anna.states) == 1)
        who[0] = None
        await asyncio.to_thread(add_job, streams, "anna")
        await asyncio.wait_for(anna.task, 5)
        assert len(anna.states) == 1
        assert "secret-ct" not in anna.text
        stranger = Listener(streams, lambda: None)
        await stranger.task
        assert stranger.status == 401

    asyncio.run(scene())


def test_an_administrator_sees_names_until_he_is_none(streams):
    who = [Caller("root", "root", is_admin=True)]

    async def scene() -> None:
        root = Listener(streams, lambda: who[0])
        await asyncio.to_thread(add_job, streams, "anna/slicer")
        await root.until(lambda: bool(root.states and root.states[-1]["jobs"]))
        assert root.states[-1]["jobs"][0]["client"] == "anna/slicer"
        who[0] = Caller("root", "root")
        await asyncio.to_thread(add_job, streams, "anna/slicer")
        await root.until(lambda: root.states[-1]["jobs"] == [])
        streams.close()
        await root.task

    asyncio.run(scene())


def test_a_client_that_does_not_read_is_let_go(streams, monkeypatch):
    monkeypatch.setattr(events, "_PATIENCE", 0.1)

    async def scene() -> None:
        stuck = Listener(streams, lambda: ANNA, stuck=True)
        await asyncio.wait_for(stuck.task, 5)
        assert streams.has_room("anna")
        assert not streams._open

    asyncio.run(scene())


@pytest.mark.parametrize(
    "name", ["x\n\nevent: state\ndata: {}\n\n", "\r\rdata: {}", "\u2028\u202e\ud83d"]
)
def test_a_name_is_no_event(streams, name):
    async def scene() -> None:
        anna = Listener(streams, lambda: ANNA)
        await anna.until(lambda: len(anna.states) == 1)
        await asyncio.to_thread(add_job, streams, "anna", name)
        await anna.until(lambda: anna.states[-1]["jobs"] != [])
        assert all(set(state) > {"jobs", "queues", "batches"} for state in anna.states)
        assert anna.states[-1]["jobs"][0]["image"] == name
        streams.close()
        await anna.task

    asyncio.run(scene())

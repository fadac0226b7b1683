"""What is pushed to the page: server-sent events, a state whenever something has changed.

A stream is a coroutine: it holds no thread, and sleeps until a bell rings. Changes that come
quickly are told together. Each message is the whole state, so that none is missed for good.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lib.engine.jobs import JobBoard
from lib.engine.log import Key, Results
from lib.serving.batch import Batches
from lib.serving.clients import Caller
from lib.serving.guards import refuse
from lib.serving.page.look import look
from lib.serving.studies import Studies

PER_CLIENT = 8  # streams: a browser has six for a server, and the page lets go when it is hidden
IN_ALL = 256
APART = 0.2  # seconds between two messages
HEARTBEAT = 15.0  # seconds after which silence is broken
_PATIENCE = 10.0  # seconds that a client may leave a message lying


class Streams:
    """The open streams: what they tell of, who has how many, and their end.

    Args:
        board: jobs.
        batches: runs.
        results: log of results.
        store: the studies.
    """

    def __init__(self, board: JobBoard, batches: Batches, results: Results, store: Studies) -> None:
        self.board = board
        self.batches = batches
        self.results = results
        self.store = store
        self.is_closed = False
        self._open: Counter[str] = Counter()
        self._wakers: set[Callable[[], None]] = set()

    def close(self) -> None:
        """End every stream, because the server stops; may be called from a signal's handler."""
        self.is_closed = True
        for wake in list(self._wakers):
            wake()

    def has_room(self, owner: str) -> bool:
        """Whether somebody may open one more."""
        return self._open[owner] < PER_CLIENT and self._open.total() < IN_ALL

    @contextmanager
    def seat(self, owner: str, wake: Callable[[], None]) -> Iterator[None]:
        """Within, a stream counts as open."""
        self._open[owner] += 1
        self._wakers.add(wake)
        try:
            yield
        finally:
            self._wakers.discard(wake)
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]


class EventStream(Response):
    """The answer that does not end: a state as soon as it is another one.

    Args:
        streams: of the server.
        asker: says who looks, at every moment; None as soon as that is somebody who logged out,
            was removed, or whose time is over.
    """

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, asker: Callable[[], Caller | None]) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.streams = streams
        self.asker = asker
        self.caller: Caller | None = None
        self.name = uuid.uuid4().hex[:8]
        self.results_changed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stay until the client leaves, the server stops, or the log-in ends."""
        caller = self.caller = self.asker()
        if caller is None:
            return await refuse(send, 401, "log in first")
        owner, streams = caller.user or caller.client, self.streams
        if not streams.has_room(owner):
            sentence = f"{PER_CLIENT} pages of yours are live already: close one"
            return await refuse(send, 429, sentence, [(b"retry-after", b"30")])
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake(_what: object = None) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(woken.set)

        def hear(key: Key) -> None:
            if self.caller is not None and self.caller.may_see(key.client):
                self.results_changed += 1
                wake()

        with ExitStack() as stack:
            stack.enter_context(streams.seat(owner, wake))
            stack.enter_context(streams.results.changed.heard_by(hear))
            for bell in (streams.board.changed, streams.batches.changed, streams.store.changed):
                stack.enter_context(bell.heard_by(wake))
            async with anyio.create_task_group() as group:
                group.start_soon(_until_gone, receive, group.cancel_scope)
                await self._tell(send, woken)
                group.cancel_scope.cancel()

    async def _tell(self, send: Send, woken: asyncio.Event) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        told = None
        while not self.streams.is_closed:
            woken.clear()
            self.caller = self.asker()
            if self.caller is None:
                break
            state = json.dumps(self._state(self.caller))
            piece = f"event: state\ndata: {state}\n\n" if state != told else ": still here\n\n"
            with anyio.move_on_after(_PATIENCE) as limit:
                await send(
                    {"type": "http.response.body", "body": piece.encode(), "more_body": True}
                )
            if limit.cancelled_caught:
                return  # with the answer's end it would be waited for again
            told = state
            await asyncio.sleep(APART)
            with anyio.move_on_after(HEARTBEAT) as silence:
                await woken.wait()
            if silence.cancelled_caught:  # files that somebody put into the folder ring no bell
                await anyio.to_thread.run_sync(self.streams.store.notice)
        await send({"type": "http.response.body", "body": b""})

    def _state(self, caller: Caller) -> dict[str, object]:
        """What is shown, and by what the page knows that its lists are old.

        The stream's name is in these, because a page that comes back may have missed something.
        """
        streams = self.streams
        return {
            **look(caller, streams.board, streams.batches.runs),
            "results": f"{self.name}-{self.results_changed}",
            "studies": f"{self.name}-{streams.store.changed.rung}",
        }


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()

"""A small file server whose manners a test can spoil."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lib.models.registry import Checkpoint


@dataclass
class FileServer:
    """Serves ``content`` at every path.

    Attributes:
        content: The file.
        cut_after: Bytes of body after which the connection is dropped, one per request.
        ranges: Whether it understands Range.
        hang: Never answers.
        status: Answer every request with this status instead.
        asked: The Range header of each request, None where there was none.
        sent: Bytes of body sent in all.
    """

    content: bytes
    cut_after: list[int] = field(default_factory=list)
    ranges: bool = True
    hang: bool = False
    status: int | None = None
    etag: str = '"1"'
    asked: list[str | None] = field(default_factory=list)
    sent: int = 0
    url: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    def checkpoint(self, **changes) -> Checkpoint:
        known = {
            "name": "small",
            "file": "weights.pt",
            "config": "configs/sam2.1/sam2.1_hiera_s.yaml",
            "url": self.url,
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "size": len(self.content),
        }
        return Checkpoint(**(known | changes))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = FileServer(np.random.default_rng(0).bytes(300_000))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.asked.append(asked)
            if state.hang:
                state.stop.wait(30)
                return
            if state.status is not None:
                self.send_error(state.status)
                return
            start, total = 0, len(state.content)
            same = self.headers.get("If-Range") in (None, state.etag)
            if asked and state.ranges and same:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= total:
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            else:
                self.send_response(200)
            body = state.content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", state.etag)
            self.end_headers()
            if state.cut_after:
                body = body[: state.cut_after.pop(0)]
            self.wfile.write(body)
            state.sent += len(body)

        def log_message(self, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    state.url = f"http://127.0.0.1:{httpd.server_port}/weights.pt"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    state.stop.set()
    httpd.shutdown()
    httpd.server_close()
    thread.join()

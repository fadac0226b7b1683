"""What stands in front of every route: clocks, the size of uploads, and who may come in."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.engine.clock import Clock

#: Bytes of a body that holds no file. JSON is read in one go while everybody waits; 1 MB is what
#: Starlette grants a field of a form.
_NO_FILE = 1 << 20


class UploadLimit:
    """Answers 413 to a body above `max_bytes`, whether its length is declared or not.

    Files come as `multipart/…`; a body of another kind is smaller.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        has_files = headers.get("content-type", "").strip().lower().startswith("multipart/")
        most = self.max_bytes if has_files else min(self.max_bytes, _NO_FILE)
        limit = f"{most >> 20} MB" if most >> 20 else f"{most} bytes"
        sentence = f"the upload is larger than {limit}, the limit of this server"
        if most < self.max_bytes:
            sentence = f"the request is larger than {limit}: send files as multipart/form-data"
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            return await refuse(send, 413, sentence)
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413, sentence)
            return message

        return await self.app(scope, counted, send)


class Timed:
    """Gives each request a clock that runs from its first byte, before any body is read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            scope.setdefault("state", {})["clock"] = Clock()
        await self.app(scope, receive, send)


class LoopbackOnly:
    """Answers 403 to other machines.

    MONAI Label listens on all interfaces unless it is told a host; with this, a server that was
    not told serves this machine alone. So does one without log-in on the loopback, where a proxy
    says that it asks for another machine.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and not is_loopback((scope.get("client") or ("",))[0]):
            return await refuse(
                send,
                403,
                "this server answers its own machine only (README: Sharing a server in a lab)",
            )
        return await self.app(scope, receive, send)


async def refuse(
    send: Send, status: int, sentence: str, more: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """A complete answer with a sentence as `detail`, and `more` headers."""
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    if host in ("localhost", "testclient"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_asked_for(arguments: Sequence[str]) -> str | None:
    """The value of --host (-i) on a command line, None if it is not there."""
    for n, argument in enumerate(arguments):
        if argument in ("--host", "-i"):
            return arguments[n + 1] if n + 1 < len(arguments) else None
        if argument.startswith("--host="):
            return argument.partition("=")[2]
    return None

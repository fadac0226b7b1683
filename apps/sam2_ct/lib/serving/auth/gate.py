"""In front of every route where log-in is on: who has not logged in meets the log-in, no more."""

from __future__ import annotations

import logging
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.errors import BadInput
from lib.serving.auth.desk import DAMAGED, Desk
from lib.serving.guards import UploadLimit, refuse

logger = logging.getLogger(__name__)

LOG_IN_PAGE = "/auth/login"
#: What one meets without having logged in. Everything else is closed, routes to come included.
PUBLIC = frozenset({"/auth/", "/auth/token", LOG_IN_PAGE, "/auth/login.css", "/favicon.ico"})
_SMALL = 16 << 10  # bytes that a stranger may send


class Gate:
    """Turns strangers away and puts the `User` of everybody else into `request.state.user`."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self.app = app
        self.for_strangers = UploadLimit(app, _SMALL)
        self.desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        try:
            user = self.desk.user_of(headers)
        except BadInput as error:
            logger.error("nobody can come in: %s", error)
            return await refuse(send, 503, DAMAGED)
        scope.setdefault("state", {})["user"] = user
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if user is not None:
            return await self.app(scope, receive, _kept_by_nobody(send, path))
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        if path in PUBLIC:
            return await self.for_strangers(scope, receive, send)
        if scope.get("method") == "GET" and "text/html" in headers.get("accept", ""):
            return await _to_log_in(scope, path, send)
        await refuse(send, 401, "log in first", [(b"www-authenticate", b"Bearer")])


def _kept_by_nobody(send: Send, path: str) -> Send:
    """Answers that a browser must not show again when its user has logged out.

    OHIF's scripts, 30 MB that everybody can download elsewhere, may be kept.
    """

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            is_page = headers.get("content-type", "").startswith("text/html")
            if is_page or not path.startswith("/ohif/"):
                headers.setdefault("cache-control", "no-store")
        await send(message)

    return sent


async def _to_log_in(scope: Scope, path: str, send: Send) -> None:
    """Send a browser to the log-in, which sends it back."""
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = quote(path + (f"?{query}" if query else ""), safe="")
    location = f"{scope.get('root_path', '')}{LOG_IN_PAGE}?next={wanted}"
    headers = [(b"location", location.encode("latin-1")), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})

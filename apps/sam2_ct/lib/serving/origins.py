"""Whose pages may use the server, and under which names it answers.

A browser sends requests for any page that its user visits. Pages of the server itself (OHIF) may
use it, pages of others may not, unless they are on a list. A page may also give its own host name
the server's address (DNS rebinding) and be of the same origin then: so the server answers only
to names that are its own. Programs, like Slicer, send no Origin.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.serving.guards import refuse

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_EMBEDDED = {"iframe", "frame", "embed", "object"}


class OwnPagesOnly:
    """Answers 403 to requests of other sites' pages, and under names that are not the server's.

    Args:
        app: what stands behind.
        names: host names of the server, besides localhost and every address written as numbers,
            which no foreign page can have as its own.
        origins: other sites whose pages may use the server, like `https://viewer.example.org`.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], origins: Iterable[str] = ()) -> None:
        self.app = app
        self.origins = frozenset(origins)
        self.names = frozenset(name.lower() for name in names) | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":  # nothing here speaks it
            return await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if not self._is_own(host):
            return await refuse(
                send,
                403,
                "this server does not answer under that name: use its address, "
                "or start it with --conf origins http://NAME",
            )
        if not self._may_use(headers, host, scope):
            return await refuse(
                send,
                403,
                "pages of other sites may not use this server: start it with "
                "--conf origins https://THAT.SITE",
            )

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers)

    def _is_own(self, host: str) -> bool:
        name = host_name(host)
        return name in self.names or _is_address(name)

    def _may_use(self, headers: Headers, host: str, scope: Scope) -> bool:
        origin = headers.get("origin")
        if origin is not None:
            return origin.lower() in {*self.origins, f"http://{host}", f"https://{host}"}
        if headers.get("sec-fetch-site") not in ("cross-site", "same-site"):
            return True  # a program, or a page of the server itself
        # a link that somebody follows; not an image, a script or a frame in another site's page
        return (
            scope.get("method") == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") not in _EMBEDDED
        )


def own_names(bound_to: str | None, origins: Iterable[str]) -> set[str]:
    """Host names of this server: the machine's, the one it is bound to, those of `origins`."""
    names = {socket.gethostname(), bound_to or ""}
    return {n for n in names | {host_name(urlsplit(o).netloc) for o in origins} if n}


def host_name(host: str) -> str:
    """The name in a Host header: without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

"""Cookies for OHIF's pages: the address of this server for their panel, and a name."""

from __future__ import annotations

from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.serving import clients

_COOKIE = "MONAILABEL_SERVER_URL"


class OhifCookies:
    """Gives OHIF's pages the cookie in which its panel keeps the server's address, and a name.

    Without the address it asks port 8000, whatever port it came from; and browsers share the
    cookies of all ports, so one of another server would be taken.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or not scope["path"].startswith("/ohif"):
            return await self.app(scope, receive, send)
        asked = Headers(scope=scope)
        address = f"{scope['scheme']}://{asked.get('host', '')}/"
        named = clients.COOKIE in cookie_parser(asked.get("cookie", ""))

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    # the path is that of the cookie which OHIF itself would set
                    headers.append("set-cookie", f"{_COOKIE}={quote(address, safe='')}; Path=/ohif")
                    if not named:
                        headers.append("set-cookie", clients.new_cookie())
            await send(message)

        return await self.app(scope, receive, with_cookie)

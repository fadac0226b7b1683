"""OHIF's pages, and their cookies: the address of this server for their panel, and a name."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from urllib.parse import quote

import monailabel
from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.serving import clients
from lib.serving.roles import USER

_COOKIE = "MONAILABEL_SERVER_URL"
_PAGES = Path(monailabel.__file__).parent / "endpoints" / "static" / "ohif"


def ohif_pages() -> APIRouter:
    """A router over the files that MONAI Label ships; any other path is OHIF's own."""
    files = {
        path.relative_to(_PAGES).as_posix(): path for path in _PAGES.rglob("*") if path.is_file()
    }
    router = APIRouter(tags=["OHIF"])

    @router.get("/ohif/{path:path}", include_in_schema=False, dependencies=USER)
    def page(path: str) -> FileResponse:
        file = files.get(path, _PAGES / "index.html")
        return FileResponse(file, media_type=mimetypes.guess_type(file.name)[0])

    @router.get("/favicon.ico", include_in_schema=False)
    def icon() -> FileResponse:
        return FileResponse(_PAGES.parent / "favicon.ico", media_type="image/x-icon")

    return router


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
                        headers.append("set-cookie", clients.cookie_with(clients.new_name()))
            await send(message)

        return await self.app(scope, receive, with_cookie)

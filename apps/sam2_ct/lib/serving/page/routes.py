"""GET /sam2_ct/: the page, its files, what is pushed to it, and the parts it fetches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.templating import Jinja2Templates
from starlette.responses import Response

from lib.errors import BadInput
from lib.serving.auth.desk import Desk
from lib.serving.clients import COOKIE, Caller, caller_of, cookie_with, new_name
from lib.serving.names import text_name
from lib.serving.page.events import EventStream, Streams
from lib.serving.page.studies import StudyList
from lib.serving.process import SLICERS_CLIENT
from lib.serving.roles import USER

_HERE = Path(__file__).parent
_FILES = {
    "page.css": "text/css",
    "page.js": "text/javascript",
}
_LISTED = 500  # studies

#: Of everything here: nothing from elsewhere, no script or style within the page, in no frame, and
#: nothing of a patient in a browser's cache.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def viewer(http: Request, client_id: str = "") -> Caller:
    """Who looks at the page, as whichever client.

    Raises:
        BadInput: the client's name is no name.
    """
    return caller_of(http, text_name("client", client_id) or None)


Viewer = Annotated[Caller, Depends(viewer)]


def page_templates() -> Jinja2Templates:
    """The templates of the page; what they are given is escaped."""
    return Jinja2Templates(_HERE / "templates")


def page_routes(streams: Streams, desk: Desk | None, has_dicom: bool) -> APIRouter:
    """A router over the page.

    Args:
        streams: of events, and what they tell of.
        desk: where to log in; None: log-in is off.
        has_dicom: the studies are series of an image store, and OHIF can open them.
    """
    router = APIRouter(prefix="/sam2_ct", dependencies=USER, include_in_schema=False)
    templates = page_templates()
    studies = StudyList(streams.store)

    @router.get("/")
    async def page(http: Request, caller: Viewer, client_id: str = "") -> Response:
        named = client_id or caller.user or http.cookies.get(COOKIE)
        client = caller.client if named else new_name()
        answer = templates.TemplateResponse(
            http,
            "page.html",
            {
                "caller": caller,
                "client": client,
                "client_id": client_id,
                "slicers": SLICERS_CLIENT,
            },
            headers=HEADERS,
        )
        if not named:
            answer.headers.append("set-cookie", cookie_with(client))
        return answer

    @router.get("/events")
    async def events(http: Request, _caller: Viewer, client_id: str = "") -> EventStream:
        def asker() -> Caller | None:
            if desk is not None:
                try:
                    http.state.user = desk.user_of(http.headers)
                except BadInput:  # the users file is damaged, of which the gate tells
                    return None
                if http.state.user is None:
                    return None
            return viewer(http, client_id)

        return EventStream(streams, asker)

    @router.get("/page/studies")
    def listed(http: Request) -> HTMLResponse:
        rows = studies.rows()
        shown = {"studies": rows[:_LISTED], "more": len(rows[_LISTED:]), "has_dicom": has_dicom}
        return templates.TemplateResponse(http, "studies.html", shown, headers=HEADERS)

    for name, kind in _FILES.items():
        router.add_api_route(f"/page/{name}", _sender(_HERE / "static" / name, kind))

    return router


def _sender(path: Path, kind: str) -> Callable[[], Awaitable[FileResponse]]:
    async def send() -> FileResponse:
        headers = {**HEADERS, "Cache-Control": "no-cache"}
        return FileResponse(path, media_type=kind, headers=headers)

    return send

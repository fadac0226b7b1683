"""Under /auth/: what Slicer's plugin asks for, and a page for browsers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from lib.serving.auth.desk import COOKIE, Desk, token_in
from lib.serving.auth.gate import LOG_IN_PAGE
from lib.serving.auth.roles import as_upstream

_PAGES = Path(__file__).parent / "pages"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",  # with no-referrer a form's Origin would be null
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def auth_routes(desk: Desk | None) -> APIRouter:
    """A router; without a desk it only says that log-in is off."""
    router = APIRouter(prefix="/auth", tags=["Auth"])

    @router.get("/", summary="Whether one has to log in")
    async def is_enabled() -> dict[str, object]:
        return {"enabled": desk is not None, "client_id": "sam2_ct", "realm": ""}

    if desk is None:
        return router

    pages = Jinja2Templates(_PAGES)

    def page(request: Request, next_: str, status: int = 200, wrong: HTTPException | None = None):
        return pages.TemplateResponse(
            request,
            "login.html",
            {
                "user": getattr(request.state, "user", None),
                "next": next_,
                "wrong": wrong.detail if wrong else "",
            },
            status_code=status,
            headers=_HEADERS | dict((wrong and wrong.headers) or {}),
        )

    @router.post("/token", summary="A bearer token for a user name and password")
    async def token(
        request: Request,
        response: Response,
        username: Annotated[str, Form()],
        password: Annotated[str, Form()],
    ) -> dict[str, object]:
        issued = await desk.log_in(username, password, _address(request))
        response.headers["Cache-Control"] = "no-store"
        return {
            "access_token": issued,
            "token_type": "bearer",
            "expires_in": round(desk.tokens.lifetime),
        }

    @router.get("/token/valid", summary="Who the token belongs to; 401 if it does not count")
    async def valid(request: Request) -> dict[str, object]:
        return as_upstream(request.state.user).model_dump()

    @router.get("/login", include_in_schema=False)
    async def login_page(request: Request, next: str = ""):
        return page(request, _local(next))

    @router.post("/login", include_in_schema=False)
    async def login(
        request: Request,
        username: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
        next: Annotated[str, Form()] = "",
    ):
        try:
            issued = await desk.log_in(username, password, _address(request))
        except HTTPException as error:
            return page(request, _local(next), error.status_code, error)
        answer = _redirect(request, _local(next))
        answer.set_cookie(
            COOKIE,
            issued,
            max_age=round(desk.tokens.lifetime),
            httponly=True,
            samesite="lax",  # strict would ask those who follow a link to a study to log in again
            secure=request.url.scheme == "https",
        )
        return answer

    @router.post("/logout", summary="The token that comes with the request counts no more")
    async def logout(request: Request):
        desk.tokens.revoke(token_in(request.headers) or "")
        answer = _redirect(request, LOG_IN_PAGE)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer

    @router.get("/login.css", include_in_schema=False)
    async def style() -> FileResponse:
        return FileResponse(_PAGES / "login.css", media_type="text/css")

    return router


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _redirect(request: Request, path: str) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", status_code=303)


def _local(path: str) -> str:
    """A path of this server to go to; anything else becomes the start of its own pages."""
    # no scheme stands before a slash, and a host needs two, or what browsers take for two
    local = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if local and path.isprintable() else "/sam2_ct/"

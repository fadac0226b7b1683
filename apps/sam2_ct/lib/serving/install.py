"""Putting our endpoint, routes and guards into MONAI Label's running application."""

from __future__ import annotations

from collections.abc import Container

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from monailabel.config import settings as server_settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.exception import MONAILabelException

from lib.engine.jobs import JobBoard
from lib.engine.log import Results
from lib.serving.auth.desk import Desk
from lib.serving.auth.gate import Gate
from lib.serving.auth.roles import obey_roles
from lib.serving.auth.routes import auth_routes
from lib.serving.endpoint import infer_endpoint
from lib.serving.guards import LoopbackOnly, UploadLimit
from lib.serving.ohif import OhifCookies
from lib.serving.routes import own_routes

_ON = "on: jobs and results are those of the user who logged in"
_OFF = (
    "off: a client is believed about its client_id, "
    "so whoever knows that name gets its jobs and results"
)


def install(
    app: FastAPI,
    instance: MONAILabelApp,
    models: Container[str],
    board: JobBoard,
    results: Results,
    *,
    device: str,
    max_upload: int,
    loopback_only: bool,
    desk: Desk | None,
) -> None:
    """Done while the application starts, before its first request.

    Args:
        app: MONAI Label's.
        instance: ours.
        models: names of its tasks.
        board: jobs.
        results: log of results.
        device: whose queue requests stand in.
        max_upload: bytes.
        loopback_only: other machines are turned away.
        desk: where to log in; None: log-in is off.
    """
    app.include_router(own_routes(instance, board, results))
    app.include_router(auth_routes(desk))
    user = [Depends(RBAC(server_settings.MONAI_LABEL_AUTH_ROLE_USER))]
    app.add_api_route(
        "/infer/{model}",
        infer_endpoint(instance, models, board, device),
        methods=["POST"],
        tags=["Infer"],
        dependencies=user,
    )
    app.router.routes.insert(0, app.router.routes.pop())  # before upstream's

    # upstream's asks the image store inside the event loop: a store that hangs would freeze it
    def info() -> dict:
        return {**instance.info(), "login": _ON if desk else _OFF}

    app.add_api_route("/info/", info, tags=["App"], dependencies=user)
    app.router.routes.insert(0, app.router.routes.pop())
    app.add_exception_handler(MONAILabelException, _sentence)
    # Starlette builds its stack of middleware on the first call, which is the one that starts the
    # application; without it, it is built anew, with ours, on the first request.
    app.middleware_stack = None
    app.add_middleware(UploadLimit, max_bytes=max_upload)
    app.add_middleware(OhifCookies)
    if desk is not None:
        obey_roles(app)
        app.add_middleware(Gate, desk=desk)
    if loopback_only:
        app.add_middleware(LoopbackOnly)


async def _sentence(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": getattr(error, "msg", str(error))}, status_code=422)

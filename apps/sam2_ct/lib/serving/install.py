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
from lib.serving.endpoint import infer_endpoint
from lib.serving.guards import LoopbackOnly, UploadLimit
from lib.serving.ohif import OhifCookies
from lib.serving.routes import own_routes


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
    """
    app.include_router(own_routes(instance, board, results))
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
    app.add_api_route("/info/", lambda: instance.info(), tags=["App"], dependencies=user)
    app.router.routes.insert(0, app.router.routes.pop())
    app.add_exception_handler(MONAILabelException, _sentence)
    # Starlette builds its stack of middleware on the first call, which is the one that starts the
    # application; without it, it is built anew, with ours, on the first request.
    app.middleware_stack = None
    app.add_middleware(UploadLimit, max_bytes=max_upload)
    app.add_middleware(OhifCookies)
    if loopback_only:
        app.add_middleware(LoopbackOnly)


async def _sentence(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": getattr(error, "msg", str(error))}, status_code=422)

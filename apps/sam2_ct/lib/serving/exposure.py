"""What of MONAI Label is served. This is the only place that decides it.

Upstream offers some sixty routes; the viewers need a third of them, and those are ours, or carried
over below by name. Everything else is not there: whole-slide images (which open any path), training
and scoring (which start processes that fail), model files, reloading, logs, and pages that load
scripts from elsewhere. Whoever starts the server may ask for a group of these by its name.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from monailabel.endpoints import logs, model, scoring, train, wsi_infer

#: What `--conf expose` may name (`TaskConfig` knows the names): routers of MONAI Label, or paths
#: of its application.
GROUPS: dict[str, APIRouter | tuple[str, ...]] = {
    "wsi": wsi_infer.router,
    "train": train.router,
    "scoring": scoring.router,
    "model": model.router,
    "logs": logs.router,
    "reload": ("/reload",),
    "docs": ("/", "/docs"),
}
_ALWAYS = ("/openapi.json",)


def expose(app: FastAPI, routers: Iterable[APIRouter], groups: Iterable[str]) -> None:
    """Let `app` serve `routers` and what of upstream's is asked for, and nothing else.

    Args:
        app: MONAI Label's, while it starts.
        routers: ours.
        groups: keys of `GROUPS`.
    """
    asked = [GROUPS[name] for name in groups]
    paths = {*_ALWAYS, *(path for one in asked if isinstance(one, tuple) for path in one)}
    app.router.routes[:] = [r for r in app.router.routes if getattr(r, "path", None) in paths]
    for router in [*routers, *(one for one in asked if isinstance(one, APIRouter))]:
        app.include_router(router)
    app.openapi_schema = None

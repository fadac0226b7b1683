"""Putting our endpoint, routes and guards into MONAI Label's running application."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, FastAPI
from monailabel.app import app as upstreams
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.app import MONAILabelApp
from starlette.middleware.cors import CORSMiddleware

from lib.engine.jobs import JobBoard
from lib.engine.log import Results
from lib.serving.answers import tell_in_sentences
from lib.serving.auth.desk import Desk
from lib.serving.auth.gate import Gate
from lib.serving.auth.roles import obey_roles
from lib.serving.auth.routes import auth_routes
from lib.serving.batch import Batches, batch_routes
from lib.serving.datastore_routes import datastore_routes, sample_routes
from lib.serving.endpoint import infer_endpoint
from lib.serving.exposure import expose
from lib.serving.guards import LoopbackOnly, Timed, UploadLimit
from lib.serving.ohif import OhifCookies, ohif_pages
from lib.serving.origins import OwnPagesOnly, own_names
from lib.serving.page.events import Streams
from lib.serving.page.result_routes import result_routes
from lib.serving.page.routes import page_routes
from lib.serving.proxy import dicom_proxy
from lib.serving.roles import USER
from lib.serving.routes import own_routes
from lib.serving.session_routes import session_routes
from lib.serving.upstream import dicomweb_client, http_session


@dataclass(frozen=True)
class Openness:
    """To whom the server answers, and what.

    Attributes:
        host: what it was told to listen on; None: nothing.
        loopback_only: other machines are turned away.
        desk: where to log in; None: log-in is off.
        origins: sites whose pages may use it, besides its own.
        groups: what of upstream's is served, see `exposure.GROUPS`.
        max_upload: bytes.
    """

    host: str | None
    loopback_only: bool
    desk: Desk | None
    origins: tuple[str, ...]
    groups: tuple[str, ...]
    max_upload: int


_ON = "on: jobs and results are those of the user who logged in"
_OFF = (
    "off: a client is believed about its client_id, "
    "so whoever knows that name gets its jobs and results"
)


def install(
    instance: MONAILabelApp,
    models: Container[str],
    board: JobBoard,
    results: Results,
    *,
    openness: Openness,
    folders: dict[str, Path],
) -> Streams:
    """Done while the application starts, before its first request.

    Returns the streams of events, which whoever stops the server ends first.

    Args:
        instance: ours.
        models: names of its tasks.
        board: jobs.
        results: log of results.
        openness: to whom it answers, and what.
        folders: of the server, by the names that errors give them.
    """
    app: FastAPI = upstreams
    desk = openness.desk
    infer = APIRouter(tags=["Infer"], dependencies=USER)
    infer.add_api_route("/infer/{model}", infer_endpoint(instance, models, board), methods=["POST"])
    info = APIRouter(tags=["App"], dependencies=USER)

    # upstream's asks the image store inside the event loop: a store that hangs would freeze it
    @info.get("/info/")
    def tell() -> dict:
        return {**instance.info(), "login": _ON if desk else _OFF}

    store = instance.datastore()
    has_dicom = isinstance(store, DICOMWebDatastore)
    batches = Batches(instance, board)
    streams = Streams(board, batches, results, store)
    routers = [
        infer,
        info,
        batch_routes(batches, models),
        datastore_routes(instance),
        sample_routes(instance),
        session_routes(instance),
        own_routes(instance, board, results),
        page_routes(streams, desk, has_dicom),
        result_routes(instance, results, openness.loopback_only),
        auth_routes(desk),
        ohif_pages(),
    ]
    if has_dicom:
        routers.append(dicom_proxy(instance.studies, http_session(dicomweb_client(store))))
    expose(app, routers, openness.groups)
    tell_in_sentences(app, folders)

    # Starlette builds its stack of middleware on the first call, which is the one that starts the
    # application; without it, it is built anew, with ours, on the first request.
    app.middleware_stack = None
    app.user_middleware.clear()  # upstream lets the pages of every site in
    app.add_middleware(UploadLimit, max_bytes=openness.max_upload)
    app.add_middleware(OhifCookies)
    if desk is not None:
        obey_roles(app)
        app.add_middleware(Gate, desk=desk)
    if openness.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=openness.origins,
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
        )
    app.add_middleware(
        OwnPagesOnly, names=own_names(openness.host, openness.origins), origins=openness.origins
    )
    if openness.loopback_only:
        app.add_middleware(LoopbackOnly)
    app.add_middleware(Timed)
    return streams

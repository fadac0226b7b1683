"""The MONAI Label app: what the server offers. Wiring only; everything is in `lib`."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path

from monailabel.config import settings as server_settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    MONAILabelError,
    MONAILabelException,
)
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.utils.sessions import Sessions

from lib import places
from lib.configs.options import Settings
from lib.configs.tasks import TaskConfig
from lib.engine.disk import DiskCache
from lib.engine.jobs import Job, JobBoard
from lib.engine.log import Results
from lib.engine.models import Engines, ModelKey
from lib.engine.threads import settle_threads
from lib.errors import BadInput
from lib.files import discard
from lib.infers.base import Services
from lib.infers.masks import MaskTask
from lib.infers.points import PointTask, SliceTask
from lib.infers.propagate import PropagateTask
from lib.infers.request import ViewerRequest
from lib.models.build import choose_devices
from lib.serving.auth.start import leave, open_desk
from lib.serving.dicom_studies import DicomStudies, client_of_store
from lib.serving.guards import host_asked_for
from lib.serving.install import Openness, install
from lib.serving.labels import submitted_label
from lib.serving.next_volume import INFO_KEY, HardestFirst
from lib.serving.patience import limit_patience
from lib.serving.scratch import end_cleanly, keep_private, make_private, open_scratch
from lib.serving.sessions import VolumeSessions
from lib.serving.studies import Studies
from lib.serving.upstream import folder_of

logger = logging.getLogger(__name__)

_REHEARSED_OBJECTS = 3  # at once, at most; more are rare, and run uncompiled


class MyApp(MONAILabelApp):
    """SAM 2 on CT, zero-shot, from a few marked slices."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.host = host_asked_for(sys.argv)
        try:
            self.config = TaskConfig.parse(conf or {})
            self.desk = open_desk(self.config, self.host)
            choose_devices(self.config.device)
        except BadInput as error:
            leave(error)
        if self.config.home is not None:
            places.settle(self.config.home)
        keep_private()
        self.scratch = open_scratch(places.home() / "scratch")
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="SAM 2 CT",
            description="Bones in CT from a few marked slices, zero-shot, with SAM 2",
            labels=list(self.config.labels),  # OHIF fails on anything but a list here
        )

    def init_datastore(self) -> Datastore:
        """A folder, or a DICOMweb store, which is not waited for long."""
        if not self.studies.startswith(("http://", "https://")):
            return Studies(self.studies)
        self.studies = self.studies.strip().rstrip("/")
        client = client_of_store(self.studies)
        limit_patience(client)
        return DicomStudies(
            client,
            search_filter=server_settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER,
            cache_path=server_settings.MONAI_LABEL_DICOMWEB_CACHE_PATH.strip()
            or str(places.home() / "dicom"),
            convert_to_nifti=server_settings.MONAI_LABEL_DICOMWEB_CONVERT_TO_NIFTI,
        )

    def init_infers(self) -> dict[str, InferTask]:
        """The models of the viewers' lists."""
        config = self.config
        engines = Engines(
            ModelKey(config.model, config.checkpoint),
            config.device,
            config.cache_mb << 20,
            config.precision,
            DiskCache(places.home() / "features", config.disk_cache_mb << 20)
            if config.disk_cache_mb
            else None,
            config.compile,
        )
        self.board = JobBoard(engines.devices)
        logger.info(
            "%d threads for each of %s", settle_threads(len(engines.devices)), engines.devices
        )
        self.services = Services(config, engines, self.board, Results(self._results_folder()))
        tasks = [
            MaskTask(self.services),
            PointTask(self.services),
            SliceTask(self.services),
            PropagateTask(self.services, lambda image: submitted_label(self.datastore(), image)),
        ]
        self.models = tuple(task.name for task in tasks)
        return {task.name: task for task in tasks}

    def init_strategies(self) -> dict[str, Strategy]:
        """OHIF always asks for `random`, so our order is served there, too."""
        order = HardestFirst()
        return {"hardest_first": order, "first": order, "random": order}

    def infer(self, request: ViewerRequest, datastore: Datastore | None = None) -> dict:
        """Run a task; its confidence stays with the image, for the choice of the next one.

        Not upstream's, which takes an image's name for a path if there is such a file.
        """
        task = self._infers.get(request.task)
        if task is None:
            raise MONAILabelException(MONAILabelError.INVALID_INPUT, "there is no such model")
        store = datastore or self.datastore()
        image = request.asker.image
        known = image in store.list_images() or isinstance(store, DicomStudies)
        path = (store.get_image_uri(image) if known else "") or image
        known = path != image
        file, params = task(request, Path(path))
        try:
            if known and request.save_as:
                info = {"model": request.task, "params": params}
                store.save_label(image, file, request.save_as, info)
            sure = params.get("confidence")
            if known and sure is not None:
                with suppress(ImageNotFoundException):  # removed meanwhile
                    store.update_image_info(image, {INFO_KEY: {"confidence": sure}})
        except BaseException:
            discard(Path(file))
            raise
        return {"file": file, "params": params}

    def on_init_complete(self) -> None:
        """Put our endpoint and routes in front of MONAI Label's."""
        super().on_init_complete()
        self._rehearse()
        streams = install(
            self,
            self.models,
            self.board,
            self.services.results,
            openness=Openness(
                self.host,
                loopback_only=self.host is None or not (self.desk or self.config.open),
                desk=self.desk,
                origins=self.config.origins,
                groups=self.config.expose,
                max_upload=self.config.max_upload_mb << 20,
            ),
            folders={
                "the studies folder": Path(self.studies),
                "the results folder": self._results_folder(),
                "the session folder": Path(self.sessions().store_path),
                "the scratch folder": self.scratch,
                "the app's folder": Path(self.app_dir),
                "the server's folder": places.home(),
            },
        )
        end_cleanly(streams.close, self.board.is_busy)

    def _rehearse(self) -> None:
        """Compile in the queue of each GPU: its first request waits for it, and no later one."""
        engines, settings = self.services.engines, self.config.settings
        objects = sorted({1, min(len(self.config.labels), _REHEARSED_OBJECTS)})
        for device in engines.compiling():
            job = Job("sam2_ct", f"start of {device}", "rehearsal", device)
            work = partial(_rehearsed, engines, device, settings, objects)
            self.board.submit(job, work).add_done_callback(_tell_failure)

    def _load_sessions(self, load: bool = False) -> Sessions:
        folder = server_settings.MONAI_LABEL_SESSION_PATH.strip() or places.home() / "sessions"
        return VolumeSessions(str(folder), server_settings.MONAI_LABEL_SESSION_EXPIRY)

    def _results_folder(self) -> Path:
        store = self.datastore()
        folder = self.config.results or folder_of(store) / "sam2_ct"
        make_private(folder)
        return folder


def _rehearsed(engines: Engines, device: str, settings: Settings, objects: list[int]) -> None:
    engines.get(None, device).rehearse(settings, objects)


def _tell_failure(rehearsal: Future[None]) -> None:
    """Requests meet the same error, and tell it to who asked; here is nobody but the log."""
    if not rehearsal.cancelled() and (error := rehearsal.exception()) is not None:
        logger.warning("the network could not be made ready: %s", error)

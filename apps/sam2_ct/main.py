"""The MONAI Label app: what the server offers. Wiring only; everything is in `lib`."""

from __future__ import annotations

import sys
from pathlib import Path

from monailabel.app import app as fastapi_app
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy

from lib import places
from lib.activelearning.next_volume import INFO_KEY, HardestFirst
from lib.configs.tasks import TaskConfig
from lib.engine.jobs import JobBoard
from lib.engine.log import Results
from lib.engine.models import Engines, ModelKey
from lib.errors import BadInput
from lib.infers.base import Services
from lib.infers.masks import MaskTask
from lib.infers.points import PointTask, SliceTask
from lib.infers.propagate import PropagateTask
from lib.serving.auth.start import leave, open_desk
from lib.serving.guards import host_asked_for
from lib.serving.images import key_of_image
from lib.serving.install import install
from lib.serving.labels import submitted_label
from lib.serving.patience import limit_patience


class MyApp(MONAILabelApp):
    """SAM 2 on CT, zero-shot, from a few marked slices."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.host = host_asked_for(sys.argv)
        try:
            self.config = TaskConfig.parse(conf or {})
            self.desk = open_desk(self.config, self.host)
        except BadInput as error:
            leave(error)
        if self.config.home is not None:
            places.settle(self.config.home)
        self.board = JobBoard()
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="SAM 2 CT",
            description="Bones in CT from a few marked slices, zero-shot, with SAM 2",
            labels=list(self.config.labels),  # OHIF fails on anything but a list here
        )

    def init_remote_datastore(self) -> Datastore:
        """A DICOMweb store, which is not waited for long."""
        store = super().init_remote_datastore()
        if isinstance(store, DICOMWebDatastore):
            limit_patience(store._client)
        return store

    def init_infers(self) -> dict[str, InferTask]:
        """The models of the viewers' lists."""
        config = self.config
        engines = Engines(
            ModelKey(config.model, config.checkpoint), config.device, config.cache_mb << 20
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

    def infer(self, request: dict, datastore=None) -> dict:
        """Run a task; its confidence stays with the image, for the choice of the next one."""
        image = request["image"]
        request = {"image_key": key_of_image(self, image), **request, "image_id": image}
        result = super().infer(request, datastore)
        store = datastore or self.datastore()
        sure = (result.get("params") or {}).get("confidence")
        if sure is not None and store.get_image_info(request["image"]):
            store.update_image_info(request["image"], {INFO_KEY: {"confidence": sure}})
        return result

    def on_init_complete(self) -> None:
        """Put our endpoint and routes in front of MONAI Label's."""
        super().on_init_complete()
        install(
            fastapi_app,
            self,
            self.models,
            self.board,
            self.services.results,
            device=self.services.engines.device,
            max_upload=self.config.max_upload_mb << 20,
            loopback_only=self.host is None or not (self.desk or self.config.open),
            desk=self.desk,
        )

    def _results_folder(self) -> Path:
        if self.config.results is not None:
            return self.config.results
        store = self.datastore()
        if isinstance(store, DICOMWebDatastore):
            return Path(store._datastore_path) / "sam2_ct"
        return Path(self.studies) / "sam2_ct"

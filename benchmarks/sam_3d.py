"""MONAI Label's own SAM 2 task (`sam_3d`), run as its server runs it, on weights of our choice."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf


class Sam3d:
    """`monailabel.sam2.infer.Sam2InferTask` in three dimensions, nothing of it replaced.

    Args:
        folder: weights, configuration and the task's JPEG frames go here.
        config: the network's configuration (the `model` part of a SAM 2 YAML file).
        network: a network of that configuration; its weights are used.
    """

    def __init__(self, folder: Path, config: DictConfig, network: torch.nn.Module) -> None:
        self.frames = folder / "cache"
        models = folder / "model"
        models.mkdir(parents=True)
        torch.save({"model": network.state_dict()}, models / "weights.pt")
        OmegaConf.save(OmegaConf.create({"model": config}), models / "network.yaml")
        # Sam2InferTask imports torchvision through a module of SAM 2 that the video path never
        # calls. Beside a CPU build of torch, torchvision lacks its compiled operators and stops
        # on describing these: naming them is enough to import, and nothing calls them.
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, operator):
                library.define(f"{operator}(Tensor dets, Tensor scores, float limit) -> Tensor")
        self._library = library  # the definition lives as long as this object

        from monailabel.config import settings

        settings.MONAI_LABEL_DATASTORE_CACHE_PATH = str(self.frames)
        settings.MONAI_SAM_MODEL_PT = "weights.pt"  # found in the folder, not downloaded
        settings.MONAI_SAM_MODEL_CFG = "network.yaml"
        from monailabel.interfaces.tasks.infer_v2 import InferType
        from monailabel.sam2.infer import Sam2InferTask

        self.task = Sam2InferTask(str(models), type=InferType.DEEPGROW, dimension=3)

    def __call__(self, image: Path, click: tuple[int, int, int], device: str = "cpu") -> Path:
        """A first request for a volume: one click, forward to the volume's end; the mask's file."""
        shutil.rmtree(self.frames / "sam2", ignore_errors=True)  # as if never seen
        request = {
            "image": str(image),
            "foreground": [list(click)],
            "device": device,
            "cache_image": False,
            "result_extension": ".nrrd",
        }
        file, _ = self.task(request)
        return Path(file)

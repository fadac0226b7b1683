"""Loaded models, each once."""

from __future__ import annotations

import threading

from lib.configs.tasks import TaskConfig
from lib.models.build import choose_device, load_predictor
from lib.pipeline import Pipeline


class Engines:
    """One pipeline per checkpoint, loaded when first asked for, and kept with its features."""

    def __init__(self, config: TaskConfig) -> None:
        self.config = config
        self.device = str(choose_device(config.device))
        self._pipelines: dict[str, Pipeline] = {}
        self._lock = threading.Lock()

    def get(self, model: str | None = None) -> Pipeline:
        """The pipeline of a checkpoint, by default the server's.

        Raises:
            BadInput: unknown model.
            Unavailable: its checkpoint cannot be had.
        """
        own = self.config.checkpoint
        name = model or self.config.model
        if own is not None and name in (own.name, self.config.model):
            name = f"{self.config.model}:{own}"
        with self._lock:
            if name not in self._pipelines:
                loaded = (
                    load_predictor(self.config.model, own, self.device)
                    if own is not None and name.endswith(str(own))
                    else load_predictor(name, device=self.device)
                )
                self._pipelines[name] = Pipeline(loaded, self.config.cache_mb << 20)
            return self._pipelines[name]

"""Loaded models, each once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from lib.engine.disk import DiskCache
from lib.engine.pipeline import Pipeline
from lib.models.build import choose_device, load_predictor
from lib.models.precision import Precision
from lib.propagation.features import DEFAULT_CACHE_BYTES, FeatureBank


@dataclass(frozen=True)
class ModelKey:
    """Which weights: a name of the registry (or `auto`), or a user's own file.

    Attributes:
        model: as `load_predictor` takes it; beside a file, its architecture.
        checkpoint: the file.
    """

    model: str = "auto"
    checkpoint: Path | None = None


class Engines:
    """One pipeline per checkpoint, loaded when first asked for, and kept.

    Args:
        default: what serves unless a request names something else.
        device: auto, cpu, cuda or cuda:N.
        cache_bytes: bound of the encoded slices that all pipelines keep together.
        precision: what the networks compute in.
        disk: where encoded slices outlive the process.
    """

    def __init__(
        self,
        default: ModelKey,
        device: str = "auto",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        precision: Precision = Precision.AUTO,
        disk: DiskCache | None = None,
    ) -> None:
        self.default = default
        self.device = str(choose_device(device))
        self.precision = precision
        self.bank = FeatureBank(cache_bytes, disk)
        self._pipelines: dict[ModelKey, Pipeline] = {}
        self._lock = threading.Lock()

    def key(self, name: str | None) -> ModelKey:
        """What a viewer's choice means: none, the default by either of its names, or another."""
        own = self.default.checkpoint
        known = {None, self.default.model, own and own.name}
        return self.default if name in known else ModelKey(str(name))

    def get(self, name: str | None = None) -> Pipeline:
        """The pipeline of a checkpoint, by default the server's.

        Raises:
            BadInput: unknown model.
            Unavailable: its checkpoint cannot be had.
        """
        key = self.key(name)
        with self._lock:
            if key not in self._pipelines:
                loaded = load_predictor(key.model, key.checkpoint, self.device, self.precision)
                self._pipelines[key] = Pipeline(loaded, self.bank)
            return self._pipelines[key]

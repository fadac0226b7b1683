"""Loaded models, each once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from lib.engine.disk import DiskCache
from lib.engine.pipeline import Pipeline
from lib.models.build import choose_devices, load_predictor, with_compiled_parts
from lib.models.compilation import Compile
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
    """One pipeline per checkpoint and device, loaded when first asked for, and kept.

    Args:
        default: what serves unless a request names something else.
        device: as `choose_devices` reads it.
        cache_bytes: bound of the encoded slices that all pipelines keep together.
        precision: what the networks compute in.
        disk: where encoded slices outlive the process.
        compilation: whether parts of the default network are compiled.
    """

    def __init__(
        self,
        default: ModelKey,
        device: str = "auto",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        precision: Precision = Precision.AUTO,
        disk: DiskCache | None = None,
        compilation: Compile = Compile.OFF,
    ) -> None:
        self.default = default
        self.devices = tuple(str(one) for one in choose_devices(device))
        self.precision = precision
        self.compilation = compilation
        # features lie on the device that works with them
        share = cache_bytes // len(self.devices)
        self._banks = {one: FeatureBank(share, disk) for one in self.devices}
        self._pipelines: dict[tuple[ModelKey, str], Pipeline] = {}
        self._lock = threading.Lock()

    def key(self, name: str | None) -> ModelKey:
        """What a viewer's choice means: none, the default by either of its names, or another."""
        own = self.default.checkpoint
        known = {None, self.default.model, own and own.name}
        return self.default if name in known else ModelKey(str(name))

    def compiling(self) -> tuple[str, ...]:
        """Devices whose network is to be compiled, as far as is known before it is loaded."""
        asked = self.compilation is not Compile.OFF
        return tuple(one for one in self.devices if asked and one.startswith("cuda"))

    def get(self, name: str | None = None, device: str | None = None) -> Pipeline:
        """The pipeline of a checkpoint, by default the server's, on one of `devices`.

        Args:
            name: see `key`.
            device: None: the first.

        Raises:
            BadInput: unknown model.
            Unavailable: its checkpoint cannot be had.
        """
        key, place = self.key(name), device or self.devices[0]
        with self._lock:
            if (key, place) not in self._pipelines:
                loaded = load_predictor(key.model, key.checkpoint, place, self.precision)
                if key == self.default:  # others are not rehearsed, and would gain nothing
                    loaded = with_compiled_parts(loaded, self.compilation)
                self._pipelines[key, place] = Pipeline(loaded, self._banks[place])
            return self._pipelines[key, place]

"""One request from volume to label map: what the command line, the server and the evaluation run.

`Pipeline.open` reads, orients and windows a volume; `Pipeline.segment` crops to the prompts,
propagates, and brings the result back to the file's own grid.
"""

from __future__ import annotations

import platform
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from monai.data import MetaTensor

from lib.configs.settings import Settings
from lib.geometry import Grid
from lib.models.build import LoadedModel
from lib.prompts.types import PromptSet
from lib.propagation.features import DEFAULT_CACHE_BYTES, FeatureBank
from lib.propagation.fusion import separate
from lib.propagation.inferer import Progress, PseudoVideoInferer
from lib.propagation.records import Propagated
from lib.transforms.chain import pre_transforms, to_file_grid
from lib.transforms.crop import Bounds
from lib.transforms.window import Window

# On a GPU the encoder is faster in batches; on a CPU a batch gains nothing and would make the
# first slice wait for its neighbours.
_GPU_BATCH = 8
_OPEN_VOLUMES = 2


@dataclass(frozen=True)
class Case:
    """A volume ready for prompts.

    Attributes:
        path: where it came from.
        image: (1, X, Y, Z) float32 in [0, 1], RAS.
        source_grid: the file's grid, on which prompts come and results go.
        window: what made the grey values.
        warnings: sentences for the user.
    """

    path: Path
    image: MetaTensor
    source_grid: Grid
    window: Window
    warnings: tuple[str, ...]


@dataclass
class Outcome:
    """The answer to one request.

    Attributes:
        labels: (X, Y, Z) uint16 label map on the file's grid; with `overlap`, (objects, X, Y, Z).
        grid: the file's grid.
        report: JSON-ready: settings, checkpoint, confidence per slice, seconds, warnings.
    """

    labels: np.ndarray
    grid: Grid
    report: dict[str, object] = field(default_factory=dict)


class Pipeline:
    """A loaded model and everything it needs to answer requests, one at a time.

    Args:
        model: from `lib.models.build.load_predictor`.
        cache_bytes: bound of the feature bank.
    """

    def __init__(self, model: LoadedModel, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.model = model
        self.bank = FeatureBank(cache_bytes)
        batch = _GPU_BATCH if model.device.type == "cuda" else 1
        self.inferer = PseudoVideoInferer(model.predictor, model.sha256, self.bank, batch)
        self._lock = threading.Lock()
        self._opened: OrderedDict[tuple, Case] = OrderedDict()

    def open(self, path: str | Path, settings: Settings) -> Case:
        """Read, orient and window a volume; the last two stay open for corrections.

        Raises:
            BadInput: the file cannot be used.
        """
        path = Path(path)
        key = (path, settings.window, *_state_of(path))
        case = self._opened.get(key)
        if case is None:
            *opening, _crop = pre_transforms(window=settings.window)
            data = {"image": path}
            for transform in opening:  # not Compose: it would hide a BadInput in a RuntimeError
                data = transform(data)
            case = Case(
                path, data["image"], data["source_grid"], settings.window, tuple(data["warnings"])
            )
            self._opened[key] = case
            while len(self._opened) > _OPEN_VOLUMES:
                self._opened.popitem(last=False)
        return case

    def segment(
        self,
        case: Case,
        prompts: PromptSet,
        settings: Settings,
        *,
        roi: Bounds | None = None,
        progress: Progress | None = None,
        taken: np.ndarray | None = None,
    ) -> Outcome:
        """Segment the prompted objects of an open volume.

        Args:
            case: from `open`, with the same window.
            prompts: on the file's grid.
            settings: what to do.
            roi: first voxel and the one after the last on the file's grid, to work within.
            progress: told after every slice; may raise to stop.
            taken: (X, Y, Z) bool on the file's grid, voxels known to be something else; kept out
                of what is remembered of tracked slices (the caller takes them out of the result).

        Raises:
            BadInput: prompts that do not fit the volume or the settings.
        """
        clock = _Clock()
        with clock("prepare"):
            *_, crop = pre_transforms(window=settings.window, axes=settings.engine().axes)
            data = crop({"image": case.image, "prompts": prompts, "roi": roi})
            image, prompts_here = data["image"], data["prompts"]
            taken_here = taken
            if taken is not None:
                whole = case.source_grid.map_to(prompts_here.grid)
                taken_here = whole.array(taken, prompts_here.grid.shape)
        with self._lock, clock("propagate"):
            found = self.inferer(
                image[0].numpy(), prompts_here, settings.engine(), progress, taken_here
            )
        with clock("restore"):
            cropped = separate(found.logits, settings.overlap)
            here = prompts_here.grid
            if settings.overlap:
                labels = np.stack([to_file_grid(c, here, case.source_grid) for c in cropped])
            else:
                labels = to_file_grid(cropped, here, case.source_grid)
        report = self._report(case, prompts, settings, found, labels, here)
        report["seconds"] = clock.seconds
        return Outcome(labels, case.source_grid, report)

    def _report(
        self,
        case: Case,
        prompts: PromptSet,
        settings: Settings,
        found: Propagated,
        labels: np.ndarray,
        cropped: Grid,
    ) -> dict[str, object]:
        ids = prompts.object_ids
        voxels = {
            i: int(labels[n].sum() if settings.overlap else (labels == i).sum())
            for n, i in enumerate(ids)
        }
        return {
            "volume": {
                "path": str(case.path),
                "shape": list(case.source_grid.shape),
                "spacing": [round(s, 4) for s in case.source_grid.spacing],
            },
            "crop": {"shape": list(cropped.shape), "orientation": "RAS"},
            "settings": settings.describe(),
            "checkpoint": {
                "name": self.model.name,
                "sha256": self.model.sha256,
                "trained": self.model.trained,
                "image_size": self.model.image_size,
                "device": str(self.model.device),
            },
            "objects": [{"object": i, "voxels": voxels[i]} for i in ids],
            "slices": _records(found, cropped, case.source_grid),
            "encoded_slices": found.encoded,
            "decided": found.decided,
            "warnings": [*self.model.warnings, *case.warnings],
            "versions": {
                "python": platform.python_version(),
                **{p: version(p) for p in ("torch", "sam2", "monai", "monailabel", "numpy")},
            },
        }


def _records(found: Propagated, cropped: Grid, source: Grid) -> list[dict[str, object]]:
    """The engine's slice records, their index turned into the file's."""
    voxels = cropped.map_to(source)
    records = []
    for r in found.slices:
        ijk = np.zeros((1, 3))
        ijk[0, cropped.dim_of(r.axis)] = r.index
        index = round(float(voxels.points(ijk)[0, source.dim_of(r.axis)]))
        records.append(
            {
                "object": r.object_id,
                "axis": r.axis.value,
                "index": index,
                "source": r.source.value,
                "predicted_iou": r.predicted_iou,
                "object_score": r.object_score,
            }
        )
    return records


def _state_of(path: Path) -> tuple[float, int]:
    """What changes when the file does; for a folder, when a file is added or removed."""
    if not path.exists():
        return 0.0, 0
    state = path.stat()
    return state.st_mtime, state.st_size


class _Clock:
    """Seconds per stage, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)

"""The log of results: every label map with the recipe that made it, kept until someone deletes it.

    FOLDER/<image>/<client>/<object>/<time>.json    recipe, report, versions
    FOLDER/<image>/<client>/<object>/<time>.nrrd    the label map

The JSON file is put in place last and in one step: what has one is complete.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from lib.errors import BadInput
from lib.files import write_json
from lib.pipeline import Outcome
from lib.recipe import Recipe
from lib.transforms.load import load_labelmap
from lib.transforms.save import save_labelmap

FORMAT = "sam2_ct result 1"
_UNDONE = "undone"


@dataclass(frozen=True)
class Key:
    """Whose result of what: client, image and object name."""

    client: str
    image: str
    label: str


@dataclass(frozen=True)
class Entry:
    """One logged result; `log` is its JSON file."""

    log: Path

    @property
    def labels_path(self) -> Path:
        """The label map."""
        return self.log.with_suffix(".nrrd")

    def labels(self) -> np.ndarray:
        """(X, Y, Z) on the grid of the volume."""
        return load_labelmap(self.labels_path)[0]

    def read(self) -> dict[str, object]:
        """The whole log."""
        return read_log(self.log)

    def recipe(self) -> Recipe:
        """What made the result."""
        return Recipe.read(self.read()["recipe"])


class Results:
    """Results in a folder, by key, newest first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def add(
        self,
        key: Key,
        task: str,
        recipe: Recipe,
        outcome: Outcome,
        label_names: dict[str, int],
    ) -> Entry:
        """Log a result."""
        with self._lock:
            place = self._place(key)
            place.mkdir(parents=True, exist_ok=True)
            now = datetime.now(timezone.utc)
            entry = Entry(place / f"{now:%Y%m%dT%H%M%S.%f}.json")
            save_labelmap(outcome.labels, outcome.grid, entry.labels_path)
            write_json(
                entry.log,
                {
                    "format": FORMAT,
                    "task": task,
                    "created": now.isoformat(timespec="milliseconds"),
                    "client": key.client,
                    "image": key.image,
                    "label": key.label,
                    "label_names": label_names,
                    "labels": entry.labels_path.name,
                    "labels_sha256": fingerprint(outcome.labels),
                    "threads": torch.get_num_threads(),
                    "recipe": recipe.describe(),
                    "report": outcome.report,
                },
            )
        return entry

    def entries(self, key: Key, task: str | None = None) -> list[Entry]:
        """All results of a key, newest first, of one task if it is named."""
        logs = sorted(self._place(key).glob("*.json"), reverse=True)
        entries = [Entry(log) for log in logs]
        return [e for e in entries if task is None or e.read()["task"] == task]

    def last(self, key: Key, task: str | None = None) -> Entry | None:
        """The newest result of a key."""
        return next(iter(self.entries(key, task)), None)

    def labels(self, client: str, image: str) -> list[str]:
        """Names of the objects that have results."""
        place = self._place(Key(client, image, "x")).parent
        newest = (max(p.glob("*.json"), default=None) for p in sorted(place.glob("*")))
        return [str(read_log(log)["label"]) for log in newest if log is not None]

    def undo(self, key: Key) -> Entry | None:
        """Set the newest result aside; the one before it, if any, is the newest then.

        Raises:
            BadInput: there is nothing to undo.
        """
        with self._lock:
            newest = self.last(key)
            if newest is None:
                raise BadInput(f"{key.label!r} has no result to undo")
            aside = newest.log.parent / _UNDONE
            aside.mkdir(exist_ok=True)
            newest.log.replace(aside / newest.log.name)  # first: without it the rest is not there
            newest.labels_path.replace(aside / newest.labels_path.name)
        return self.last(key)

    def _place(self, key: Key) -> Path:
        return self.folder / _slug(key.image) / _slug(key.client) / _slug(key.label)


def read_log(path: Path) -> dict[str, object]:
    """A log as `Results` writes it.

    Raises:
        BadInput: no such file, or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BadInput(f"{path} is not the log of a result: its format is not {FORMAT!r}")
    return content


def fingerprint(labels: np.ndarray) -> str:
    """SHA-256 of a label map's voxels, whatever its integer type."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<u2")).hexdigest()


def _slug(text: str) -> str:
    """A file name for any text: itself if that is safe, else something like it and a hash."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:64].lstrip(".") or "_"
    if safe == text and text != _UNDONE:
        return safe
    return f"{safe}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"

"""The log of results: every label map with the recipe that made it, kept until someone deletes it.

    FOLDER/<image>/<client>/<object>/<time>.json    recipe, report, versions
    FOLDER/<image>/<client>/<object>/<time>.nrrd    the label map

The JSON file is put in place last and in one step: what has one is complete.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lib.engine.bell import Bell
from lib.engine.migrations import FORMAT, SCHEMA, migrated
from lib.engine.reading import read_report
from lib.engine.recipe import Recipe
from lib.engine.report import Outcome, Report, fingerprint, to_json
from lib.errors import BadInput
from lib.files import read_json, write_json
from lib.models.precision import Precision
from lib.prompts.record import from_record
from lib.prompts.types import PromptSet
from lib.transforms.load import load_labelmap
from lib.transforms.save import save_labelmap

_UNDONE = "undone"
_TIME = "%Y%m%dT%H%M%S.%f"
_LOGS = "????????T??????.??????.json"


@dataclass(frozen=True)
class Key:
    """Whose result of what: client, image and object name."""

    client: str
    image: str
    label: str


@dataclass(frozen=True)
class Log:
    """What a log says; `content` is its JSON in today's schema.

    The report in it is as it was written: only what is needed to run the recipe again is brought
    up to date.
    """

    content: Mapping[str, Any]

    @property
    def task(self) -> str:
        """The task that made the result."""
        return str(self.content["task"])

    @property
    def created(self) -> str:
        """When, ISO 8601."""
        return str(self.content["created"])

    @property
    def label(self) -> str:
        """The object name it is filed under."""
        return str(self.content["label"])

    @property
    def key(self) -> Key:
        """Whose result of what."""
        return Key(str(self.content["client"]), str(self.content["image"]), self.label)

    @property
    def label_names(self) -> dict[str, int]:
        """Object names and their values in the label map."""
        return {str(k): int(v) for k, v in self.content["label_names"].items()}

    @property
    def labels_sha256(self) -> str:
        """Fingerprint of the label map."""
        return str(self.content["labels_sha256"])

    @property
    def report(self) -> Mapping[str, Any]:
        """JSON of the report."""
        return self.content["report"]

    @cached_property
    def told(self) -> Report:
        """The report, typed; its settings are the recipe's, which are in today's words.

        Raises:
            BadInput: it is damaged.
        """
        return read_report({**self.report, "settings": self.content["recipe"]["settings"]})

    @cached_property
    def prompts(self) -> PromptSet:
        """What was marked, on the volume's grid: a part of the recipe, and fast to read.

        Raises:
            BadInput: it is damaged.
        """
        return from_record(self.content["recipe"]["prompts"])

    @property
    def volume(self) -> Path:
        """Where the volume was."""
        return Path(self.report["volume"]["path"])

    @property
    def checkpoint(self) -> str:
        """The checkpoint's name."""
        return str(self.report["checkpoint"]["name"])

    @property
    def checkpoint_sha256(self) -> str:
        """The checkpoint's content."""
        return str(self.report["checkpoint"]["sha256"])

    @property
    def precision(self) -> Precision:
        """What it was computed with; logs from before there was a choice have float32."""
        return Precision.parse(str(self.report["checkpoint"].get("precision", "fp32")))

    @property
    def threads(self) -> int:
        """CPU threads it was made with."""
        return int(self.report["threads"])

    @cached_property
    def recipe(self) -> Recipe:
        """What made the result.

        Raises:
            BadInput: it is damaged.
        """
        return Recipe.read(self.content["recipe"])


@dataclass(frozen=True)
class Entry:
    """One logged result; `path` is its JSON file."""

    path: Path

    @property
    def labels_path(self) -> Path:
        """The label map."""
        return self.path.with_suffix(".nrrd")

    @property
    def time(self) -> datetime:
        """When it was made, or at least the order."""
        return datetime.strptime(self.path.stem, _TIME).replace(tzinfo=timezone.utc)

    def labels(self) -> NDArray[Any]:
        """(X, Y, Z) on the grid of the volume."""
        return load_labelmap(self.labels_path)[0]

    def read(self) -> Log:
        """The whole log."""
        return read_log(self.path)


class Results:
    """Results in a folder, by key, newest first.

    Attributes:
        changed: rings with the key of a result that was added or undone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changed: Bell[Key] = Bell()
        self._lock = threading.Lock()
        self._clients: dict[str, str] = {}  # by the name of their folder, where that is another

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
            newest = self.last(key)
            if newest is not None:  # the clock may have been set back
                now = max(now, newest.time + timedelta(microseconds=1))
            entry = Entry(place / f"{now:{_TIME}}.json")
            save_labelmap(outcome.labels, outcome.grid, entry.labels_path)
            write_json(
                entry.path,
                {
                    "format": FORMAT,
                    "schema": SCHEMA,
                    "task": task,
                    "created": now.isoformat(timespec="milliseconds"),
                    "client": key.client,
                    "image": key.image,
                    "label": key.label,
                    "label_names": label_names,
                    "labels": entry.labels_path.name,
                    "labels_sha256": fingerprint(outcome.labels),
                    "recipe": recipe.describe(),
                    "report": to_json(outcome.report),
                },
            )
        self.changed.ring(key)
        return entry

    def entries(self, key: Key, task: str | None = None) -> list[Entry]:
        """All results of a key, newest first, of one task if it is named."""
        logs = sorted(self._place(key).glob(_LOGS), reverse=True)
        entries = [Entry(log) for log in logs]
        return [e for e in entries if task is None or e.read().task == task]

    def last(self, key: Key, task: str | None = None) -> Entry | None:
        """The newest result of a key."""
        return next(iter(self.entries(key, task)), None)

    def labels(self, client: str, image: str) -> list[str]:
        """Names of the objects that have results."""
        place = self._place(Key(client, image, "x")).parent
        newest = (max(p.glob(_LOGS), default=None) for p in sorted(place.glob("*")))
        return [read_log(log).label for log in newest if log is not None]

    def of_clients(self, wanted: Callable[[str], bool]) -> list[Entry]:
        """Results of the clients that are `wanted` by name, newest first, of all images."""
        found: list[Path] = []
        for folder in self.folder.glob("*/*"):  # FOLDER/<image>/<client>
            name = self._client_of(folder)
            if name is not None and wanted(name):
                found += folder.glob(f"*/{_LOGS}")
        return [Entry(path) for path in sorted(found, key=lambda p: p.name, reverse=True)]

    def undo(self, key: Key, expected: Entry | None = None) -> Entry | None:
        """Set the newest result aside; the one before it, if any, is the newest then.

        Args:
            key: whose result of what.
            expected: the newest result, as far as whoever asks knows.

        Raises:
            BadInput: there is nothing to undo, or there is a newer one than `expected`.
        """
        with self._lock:
            newest = self.last(key)
            if newest is None:
                raise BadInput(f"{key.label!r} has no result to undo")
            if expected not in (None, newest):
                raise BadInput(f"{key.label!r} has a newer result by now: undo that one first")
            aside = newest.path.parent / _UNDONE
            aside.mkdir(exist_ok=True)
            newest.path.replace(aside / newest.path.name)  # first: without it the rest is not there
            newest.labels_path.replace(aside / newest.labels_path.name)
        self.changed.ring(key)
        return self.last(key)

    def _client_of(self, folder: Path) -> str | None:
        """The client whose folder it is; None if there is no result in it."""
        if "~" not in folder.name:
            return folder.name  # is the name itself, see `_slug`
        if folder.name not in self._clients:
            for path in folder.glob(f"*/{_LOGS}"):
                try:
                    self._clients[folder.name] = read_log(path).key.client
                    break
                except BadInput:  # one damaged log hides nobody's others
                    continue
        return self._clients.get(folder.name)

    def _place(self, key: Key) -> Path:
        return self.folder / _slug(key.image) / _slug(key.client) / _slug(key.label)


def read_log(path: Path) -> Log:
    """A log as `Results` writes it, or wrote it in an earlier version.

    Raises:
        BadInput: no such file, or something else.
    """
    content = read_json(path)
    try:
        log = Log(migrated(content, str(path)))
        _touch(log)
    except BadInput:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{path} is a damaged log of a result: {error!r}") from error
    return log


def _touch(log: Log) -> None:
    """Read what nobody checks when it is used."""
    _ = log.key, log.task, log.label_names, log.labels_sha256, log.volume, log.threads
    _ = log.checkpoint, log.checkpoint_sha256, log.precision
    _ = log.content["recipe"]["settings"], log.content["recipe"]["prompts"]
    datetime.fromisoformat(log.created)


def _slug(text: str) -> str:
    """A file name for any text: itself if that is safe, else something like it and a hash."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:64].lstrip(".") or "_"
    if safe == text and text != _UNDONE:
        return safe
    return f"{safe}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"

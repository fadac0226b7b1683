"""The newest results of whoever looks, as the page shows them: nothing but what their logs say."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path

from fastapi import HTTPException
from markupsafe import Markup

from lib.activelearning.next_slice import NextSlice, is_tracked
from lib.engine.log import Entry, Log, Results, read_log
from lib.engine.report import Report
from lib.errors import BadInput
from lib.pictures.along import along, plot
from lib.propagation.records import AbsentRange, ObjectEnds
from lib.serving.answers import public
from lib.serving.clients import Caller
from lib.serving.names import is_session, is_uid, without_ending

_GONE = "there is no such result of yours: it was undone, or the page is older than the server"


@dataclass(frozen=True)
class ObjectView:
    """One object of a result.

    Attributes:
        name: as the annotator knows it.
        voxels: in the result.
        millilitres: voxels times their size.
        ends: where it ends along each axis, and why.
        absent: slices within that the annotator emptied.
        suggested: slices that would help next, best first.
    """

    name: str
    voxels: int
    millilitres: float
    ends: tuple[ObjectEnds, ...]
    absent: tuple[AbsentRange, ...]
    suggested: tuple[NextSlice, ...]


@dataclass(frozen=True, eq=False)
class ResultView:
    """A result.

    Attributes:
        id: names it on the page, to its owner alone; says nothing of the patient.
        entry: its files.
        log: what the log says.
        is_newest: of its object, so that it can be undone.
    """

    id: str
    entry: Entry
    log: Log
    is_newest: bool

    @property
    def report(self) -> Report:
        """What is to be said of it."""
        return self.log.told

    @property
    def image(self) -> str:
        """What people know the image by, as far as the log knows."""
        image, path = self.log.key.image, self.log.volume
        if is_uid(image):
            return image
        # of an upload with the request nothing is left but the result
        if is_session(path.parent.name) or (path.name.startswith("upload-") and not path.exists()):
            return f"opened in the viewer ({image})"
        return without_ending(path.name)

    @property
    def created(self) -> datetime:
        """When, in the server's time zone."""
        return datetime.fromisoformat(self.log.created).astimezone()

    @property
    def names(self) -> dict[int, str]:
        """Label value → object name."""
        return {value: name for name, value in self.log.label_names.items()}

    @cached_property
    def objects(self) -> tuple[ObjectView, ...]:
        """What was found."""
        report = self.report
        voxel = math.prod(report.volume.spacing) / 1000
        return tuple(
            ObjectView(
                self._name(one.object_id),
                one.voxels,
                one.voxels * voxel,
                tuple(e for e in report.ends if e.object_id == one.object_id),
                tuple(a for a in report.absent if a.object_id == one.object_id),
                tuple(s for s in report.next_slices if s.object_id == one.object_id),
            )
            for one in report.objects
        )

    @cached_property
    def plots(self) -> tuple[Markup, ...]:
        """A drawing for each object and axis along which something was tracked."""
        prompts = self.log.prompts
        marked = {(p.object_id, p.axis, p.index) for p in prompts.prompts}
        tracked = [
            data
            for data in along(self.report, marked, prompts.grid)
            if any(map(is_tracked, data.slices))
        ]
        return tuple(
            # made by a library that escapes what is put into it
            Markup(plot(data, self._name(data.object_id), f"plot-{self.id}-{n}"))
            for n, data in enumerate(tracked)
        )

    @property
    def sentences(self) -> Mapping[str, tuple[str, ...]]:
        """What was decided for the user, and what the user must see."""
        told = {"Decided for you": self.report.decided, "Warnings": self.report.warnings}
        return {title: tuple(map(public, said)) for title, said in told.items() if said}

    @property
    def in_words(self) -> str:
        """The picture for those who do not see it."""
        axes: dict[str, set[int]] = {}
        for prompt in self.log.prompts.prompts:
            axes.setdefault(prompt.axis.value, set()).add(prompt.index)
        marked = "; ".join(f"{a} {', '.join(map(str, sorted(t)))}" for a, t in axes.items())
        return (
            f"{', '.join(o.name for o in self.objects)}, outlined in an axial, a coronal and a "
            f"sagittal plane. Prompted slices: {marked}."
        )

    def _name(self, object_id: int) -> str:
        return self.names.get(object_id, f"object {object_id}")


class ResultList:
    """Who may see which results, and under which names.

    Names are made from the place of a result and a secret that the server forgets when it stops:
    they tell nothing, and cannot be guessed.

    Args:
        results: the log.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self._secret = secrets.token_bytes(32)

    def recent(self, caller: Caller, limit: int) -> tuple[list[ResultView], int]:
        """The newest results of a caller, and how many of those cannot be read."""
        views, damaged = [], 0
        for entry in self.results.of_clients(caller.may_see)[:limit]:
            try:
                view = self._view(entry)
                _ = view.report, view.log.prompts  # a damaged one may not be readable
            except BadInput:
                damaged += 1
            else:
                views.append(view)
        return views, damaged

    def find(self, caller: Caller, result_id: str) -> ResultView:
        """The result of that name.

        Raises:
            HTTPException: 404, the caller has no such result.
        """
        entries = self.results.of_clients(caller.may_see)
        for entry in entries:
            if hmac.compare_digest(self._name(entry).encode(), result_id.encode(errors="replace")):
                return self._view(entry)
        raise HTTPException(404, _GONE)

    def _view(self, entry: Entry) -> ResultView:
        log = _log_of(entry.path)
        return ResultView(self._name(entry), entry, log, self.results.last(log.key) == entry)

    def _name(self, entry: Entry) -> str:
        place = entry.path.relative_to(self.results.folder).as_posix()
        return hmac.new(self._secret, place.encode(), hashlib.sha256).hexdigest()[:32]


@lru_cache(maxsize=32)
def _log_of(path: Path) -> Log:
    """A log is written once."""
    return read_log(path)

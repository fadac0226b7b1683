"""The studies, each with its state, in the order in which they are offered."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import Enum

from lib.serving.next_volume import note_of, unfinished
from lib.serving.studies import Studies

_KEPT = 30.0  # seconds: an image store tells nobody that something was added


class Stage(str, Enum):
    """How far a study is."""

    UNTOUCHED = "untouched"
    BEGUN = "begun"
    FINAL = "final"


@dataclass(frozen=True)
class Study:
    """A row of the list.

    Attributes:
        image: id in the datastore.
        stage: how far it is.
        confidence: mean predicted IoU of the newest result; None without any.
        patient: of a DICOM series whose images were fetched, else "".
        uid: StudyInstanceUID of such a series, else "".
    """

    image: str
    stage: Stage
    confidence: float | None
    patient: str = ""
    uid: str = ""


def studies_in_order(store: Studies) -> list[Study]:
    """Unfinished ones as `next_volume` offers them, then those with a final label by name.

    Nothing is marked as offered.
    """
    waiting = unfinished(store)
    rows = [_study(store, image, confidence, final=False) for image, confidence in waiting.items()]
    done = sorted(set(store.list_images()) - waiting.keys())
    return rows + [
        _study(store, image, note_of(store, image).get("confidence"), final=True) for image in done
    ]


def _study(store: Studies, image: str, confidence: float | None, *, final: bool) -> Study:
    begun = confidence is not None or bool(store.get_labels_by_image_id(image))
    info = store.get_image_info(image) or {}
    return Study(
        image,
        Stage.FINAL if final else Stage.BEGUN if begun else Stage.UNTOUCHED,
        confidence,
        str(info.get("PatientID", "")),
        str(info.get("StudyInstanceUID", "")),
    )


class StudyList:
    """The list, read once for all who look at it, and again when the studies change.

    To read that of an image store takes a request for each segmentation there.
    """

    def __init__(self, store: Studies) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._rows: list[Study] = []
        self._read_at: tuple[int, float] | None = None  # changes, and the time

    def rows(self) -> list[Study]:
        """The studies in order."""
        with self._lock:
            now = self.store.changed.rung, time.monotonic()
            known = self._read_at
            if known is None or known[0] != now[0] or now[1] - known[1] > _KEPT:
                self._rows, self._read_at = studies_in_order(self.store), now
            return self._rows

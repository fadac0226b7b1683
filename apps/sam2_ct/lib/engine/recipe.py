"""Everything that decides a result, in one value: what is run, logged, and can be run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.configs.options import Settings
from lib.errors import BadInput
from lib.geometry import Axis, Bounds
from lib.prompts.record import Record, from_record, pack, to_record, unpack
from lib.prompts.types import PromptSet
from lib.prompts.wiped import Wiped


@dataclass(frozen=True, eq=False)
class Recipe:
    """How to get a result from a volume and a checkpoint.

    Attributes:
        prompts: on the file's grid; their object ids are the values of the result.
        settings: what to do with them.
        roi: first voxel and the one after the last of the region of interest; a margin in plane
            is added. None: what the prompts say.
        crop: exactly this part of the file's grid is looked at, no more; None: what the prompts
            or `roi` say.
        each_slice_alone: prompted slices are segmented one by one, nothing is propagated.
        taken: (X, Y, Z) bool, voxels of other segments: the result leaves them alone, and they
            are kept out of the memory that tracks the object.
        wiped: slices the annotator emptied, treated alike.
        decided: what was decided for the user on the way to this recipe, a sentence each.
    """

    prompts: PromptSet
    settings: Settings
    roi: Bounds | None = None
    crop: Bounds | None = None
    each_slice_alone: bool = False
    taken: NDArray[Any] | None = None
    wiped: tuple[Wiped, ...] = ()
    decided: tuple[str, ...] = ()

    def describe(self) -> Record:
        """JSON-ready; `read` of it gives this recipe again."""
        return {
            "prompts": to_record(self.prompts),
            "settings": self.settings.describe(),
            "roi": _write_bounds(self.roi),
            "crop": _write_bounds(self.crop),
            "each_slice_alone": self.each_slice_alone,
            "taken": None if self.taken is None else pack(self.taken),
            "wiped": [
                {"object": w.object_id, "axis": w.axis.value, "slices": sorted(w.slices)}
                for w in self.wiped
            ],
            "decided": list(self.decided),
        }

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Recipe:
        """Inverse of `describe`.

        Raises:
            BadInput: not such a record.
        """
        try:
            taken = record["taken"]
            return cls(
                prompts=from_record(record["prompts"]),
                settings=Settings.parse(record["settings"]),
                roi=_read_bounds(record["roi"]),
                crop=_read_bounds(record["crop"]),
                each_slice_alone=bool(record["each_slice_alone"]),
                taken=None if taken is None else unpack(taken),
                wiped=tuple(
                    Wiped(int(w["object"]), Axis.parse(w["axis"]), frozenset(w["slices"]))
                    for w in record["wiped"]
                ),
                decided=tuple(record["decided"]),
            )
        except (KeyError, TypeError) as error:
            raise BadInput(f"not the log of a result: {error!r} is missing or odd") from error


def _write_bounds(bounds: Bounds | None) -> list[list[int]] | None:
    return None if bounds is None else [np.asarray(b).tolist() for b in bounds]


def _read_bounds(record: list[list[int]] | None) -> Bounds | None:
    return None if record is None else (np.array(record[0]), np.array(record[1]))

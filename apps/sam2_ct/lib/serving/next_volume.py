"""Which volume to open next."""

from __future__ import annotations

import time
from collections.abc import Mapping

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

#: Under this key the infer tasks leave their confidence with the image.
INFO_KEY = "sam2_ct"


class HardestFirst(Strategy):
    """Volumes nobody has finished: started ones by rising confidence, then the untouched ones."""

    def __init__(self) -> None:
        super().__init__("Unfinished volumes first, the least confident ones before the others")

    def __call__(self, request: Mapping[str, object], datastore: Datastore) -> dict | None:
        """The next image, or None if every one has a final label."""
        waiting = unfinished(datastore)
        if not waiting:
            return None
        chosen, confidence = next(iter(waiting.items()))
        noted = {**note_of(datastore, chosen), "offered": int(time.time())}
        datastore.update_image_info(chosen, {INFO_KEY: noted})
        return {"id": chosen, "weight": confidence}


def unfinished(datastore: Datastore) -> dict[str, float | None]:
    """Images without a final label in the order they are offered, with their confidence.

    That is the mean predicted IoU of the newest result on one, None if it has none.
    """
    known = {i: note_of(datastore, i).get("confidence") for i in datastore.get_unlabeled_images()}
    return dict(sorted(known.items(), key=lambda one: (2.0 if one[1] is None else one[1], one[0])))


def note_of(datastore: Datastore, image: str) -> dict:
    """What the server noted about an image: `confidence`, `offered`."""
    return (datastore.get_image_info(image) or {}).get(INFO_KEY, {})

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
        waiting = sorted(datastore.get_unlabeled_images())
        if not waiting:
            return None
        known = {i: (datastore.get_image_info(i) or {}).get(INFO_KEY, {}) for i in waiting}
        chosen = min(waiting, key=lambda i: (known[i].get("confidence", 2.0), i))
        datastore.update_image_info(
            chosen, {INFO_KEY: {**known[chosen], "offered": int(time.time())}}
        )
        return {"id": chosen, "weight": known[chosen].get("confidence")}

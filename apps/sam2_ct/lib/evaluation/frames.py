"""Stored results as a data frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from lib.evaluation.store import Record

SCORES = (
    "dice",
    "iou",
    "hd_mm",
    "hd_voxels",
    "hd_edge_mm",
    "hd95_mm",
    "nsd_2mm",
    "dice_unpainted",
    "dice_salient",
)

#: Of results in a whole volume (`metrics.Reach`).
REACH = ("object_slices", "slices_beyond", "ml_beyond", "slices_missed")


def as_frame(records: Iterable[Record]) -> pd.DataFrame:
    """A row per sample and configuration; scores and component seconds as columns."""
    rows = {}
    for r in records:
        rows[r["sample"], r["configuration"]] = {
            "sample": r["sample"],
            "case": r["case"],
            "class": r["class"],
            "key": r["configuration"],
            **{name: r["scores"][name] for name in SCORES},
            **{name: r["reach"][name] if "reach" in r else None for name in REACH},
            "empty": r["empty"],
            "device": r["device"],
            "slices": r["slices"],
            "seconds": r["seconds"],
            "tracked": r["tracked"],
            "encoded": r["encoded"],
            "tracking_ms": _tracking_ms(r["components"]),
            "auc_dice": r["auc"]["dice"] if "auc" in r else None,
            "auc_nsd_2mm": r["auc"]["nsd_2mm"] if "auc" in r else None,
            "components": r["components"],
            "rounds": r.get("rounds"),
        }
    frame = pd.DataFrame(list(rows.values()))
    if len(frame):
        numbers = [*SCORES, *REACH, "tracking_ms", "auc_dice", "auc_nsd_2mm"]
        frame[numbers] = frame[numbers].astype(float)
    return frame


def _tracking_ms(components: Mapping[str, Sequence[float]]) -> float | None:
    """Milliseconds to track one slice whose features are there: each part's mean call."""
    if "memory attention" not in components:
        return None
    parts = (of for name, of in components.items() if name != "image encoder")
    return 1000 * sum(seconds / calls for seconds, calls in parts)

"""A folder of results of every table, as a run leaves it, without a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.evaluation.configurations import BASE, UNPUBLISHED, rows_of
from lib.evaluation.frames import SCORES
from lib.evaluation.runner import describe_one
from lib.evaluation.store import FORMAT, ResultStore

CASES = {f"case_{n}/{kind}": kind for n in range(4) for kind in ("femur", "rib")}


#: The configuration that is said to have encoded the slices.
FIRST = rows_of("1", "builtin")[0].configuration.key

#: Of results in the whole volume.
REACH = {"object_slices": 20, "slices_beyond": 3, "ml_beyond": 0.25, "slices_missed": 1}


def result(sample, kind, key, dice):
    return {
        "sample": sample,
        "case": sample.split("/")[0],
        "class": kind,
        "configuration": key,
        "scores": {name: dice for name in SCORES} | {"dice_salient": None},
        "empty": False,
        "slices": 12,
        "device": "NVIDIA H100" if key.startswith("builtin") else None,
        "seconds": 0.5,
        "tracked": 9,
        "encoded": 24 if key == FIRST else 0,
        # two slices a call, as on a GPU
        "components": ({"image encoder": [0.24, 12]} if key == FIRST else {})
        | {"memory attention": [0.09, 9]},
        "marked": {"axial": [0, 6, 11]},
        **(
            {
                "rounds": [{"dice": dice, "nsd_2mm": dice}] * 6,
                "auc": {"dice": 5 * dice, "nsd_2mm": 4},
            }
            if "_5x" in key
            else {}
        ),
        **({"reach": REACH} if "_volume" in key else {}),
    }


def store_results(folder: Path, cases: dict[str, str] = CASES, **changed: object) -> ResultStore:
    """All tables with made-up scores; the model scales but the run's own are not there.

    Args:
        folder: where they go.
        cases: sample → class.
        changed: of `run.json`.
    """
    rows = [r for name in ("all", *UNPUBLISHED) for r in rows_of(name, "builtin")]
    configurations = {r.configuration.key: r.configuration for r in rows}
    keys = list(configurations)
    scales = {
        k: "checkpoint not fetched"
        for k in keys
        if k.startswith(("tiny", "small", "large", "base"))
    }
    run = {
        "format": FORMAT,
        "split_checksum": "c0ffee",
        "split_file": "split.json",
        "seed": 3,
        "per_class": 4,
        "classes": {"femur": 4, "rib": 4},
        "short": {},
        "excluded": ["case_9"],
        "samples": cases,
        "dataset": "made-up",
        "model": "builtin",
        "checkpoint_sha256": "ab" * 32,
        "trained": True,
        "zero_shot": False,
        "image_size": 128,
        "warnings": [],
        "device": "cpu (1 thread)",
        "processor": "any",
        "ray": None,
        "base": BASE.describe(),
        "configurations": [
            {"key": k, **describe_one(c)} for k, c in configurations.items() if k not in scales
        ],
        "rows": [r.as_json() for r in rows],
        "skipped": scales,
        "temporal_cosine": np.eye(7).tolist(),
        "versions": {"python": "3"},
    }
    store = ResultStore(folder)
    store.begin(run | changed)
    rng = np.random.default_rng(0)
    for key in keys:
        if key in scales:
            continue
        for sample, kind in cases.items():
            store.append(result(sample, kind, key, round(float(rng.uniform(0.5, 0.9)), 4)))
    image = np.zeros((2, 8, 8), dtype=np.uint8)
    mask = np.zeros((2, 8, 8), dtype=bool)
    mask[:, 2:5, 2:5] = True
    baseline = rows[1].configuration.key
    for sample in cases:
        store.put_view(
            sample,
            baseline,
            {"slices": np.array([2, 5]), "image": image, "truth": mask, "predicted": mask,
             "spacing": np.array([1.0, 2.0])},
        )  # fmt: skip
    store.close()
    return store

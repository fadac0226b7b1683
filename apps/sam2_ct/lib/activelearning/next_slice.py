"""Where one more painted slice would help most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_APART = 3


def next_slices(records: Iterable[Mapping[str, object]], count: int = 3) -> list[dict[str, object]]:
    """The slices the model is least sure of, far from what was painted.

    A slice weighs 1 − predicted IoU, times a factor from 0.5 next to a prompted slice to 1 at the
    slice farthest from any. Suggestions of one object lie at least three slices apart.

    Args:
        records: of the report, `slices`: object, axis, index, source, predicted_iou, object_score.
        count: suggestions per object.

    Returns:
        Best first per object: object, axis, index, weight.
    """
    stacks: dict[tuple[int, str], dict[int, Mapping[str, object]]] = {}
    for record in records:
        stack = stacks.setdefault((record["object"], record["axis"]), {})
        known = stack.get(record["index"])
        # two passes may have seen a slice: the less sure one speaks, a prompt before either
        if known is None or _order(record) < _order(known):
            stack[record["index"]] = record
    suggestions: dict[int, list[dict[str, object]]] = {}
    for (object_id, axis), stack in stacks.items():
        prompted = [i for i, r in stack.items() if r["source"] == "prompt"]
        tracked = {
            i: r for i, r in stack.items() if r["source"] != "prompt" and r["object_score"] > 0
        }
        far = {i: min((abs(i - p) for p in prompted), default=1) for i in tracked}
        farthest = max(far.values(), default=1)
        for index, record in tracked.items():
            weight = (1 - record["predicted_iou"]) * (0.5 + 0.5 * far[index] / farthest)
            suggestions.setdefault(object_id, []).append(
                {"object": object_id, "axis": axis, "index": index, "weight": round(weight, 4)}
            )
    return [s for found in suggestions.values() for s in _apart(found, count)]


def _order(record: Mapping[str, object]) -> tuple[bool, float]:
    return record["source"] != "prompt", record["predicted_iou"]


def _apart(found: list[dict[str, object]], count: int) -> list[dict[str, object]]:
    chosen: list[dict[str, object]] = []
    for one in sorted(found, key=lambda s: (-s["weight"], s["index"])):
        near = any(c["axis"] == one["axis"] and abs(c["index"] - one["index"]) < _APART
                   for c in chosen)  # fmt: skip
        if not near:
            chosen.append(one)
        if len(chosen) == count:
            break
    return chosen

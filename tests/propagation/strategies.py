"""What Hypothesis draws policies and situations from."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from lib.propagation.policy import RECENT_ROWS, MemoryPolicy, Query


@st.composite
def policies(draw: st.DrawFn) -> MemoryPolicy:
    """Any policy that may be asked for."""
    options: dict[str, object] = {
        "tau": draw(st.sampled_from([0.0, 0.1, 0.3, 0.65, 1.0])),
        "pointers": draw(st.sampled_from(["stock", "follow"])),
        "independent": draw(st.booleans()),
        "bracket": draw(st.booleans()),
    }
    if draw(st.booleans()):
        return MemoryPolicy(intelligent=True, **options)
    sliced = draw(st.integers(0, RECENT_ROWS))
    return MemoryPolicy(
        sliced=sliced,
        stride=draw(st.sampled_from([1, 2, 4])),
        gate=draw(st.integers(0, sliced)),
        confidence=draw(st.sampled_from(["iou", "score"])),
        **options,
    )


@st.composite
def passes(draw: st.DrawFn) -> tuple[int, tuple[int, ...], bool, list[float]]:
    """(length, prompted slices, reverse, confidence of every slice) of a pass."""
    length = draw(st.integers(2, 40))
    prompted = draw(st.sets(st.integers(0, length - 1), min_size=1, max_size=5))
    # few values, so that ties occur
    values = st.sampled_from([0.1, 0.5, 0.9])
    confidence = draw(st.lists(values, min_size=length, max_size=length))
    return length, tuple(sorted(prompted)), draw(st.booleans()), confidence


@st.composite
def situations(draw: st.DrawFn) -> Query:
    """Some slice of a pass, with everything before it still held."""
    length, prompted, reverse, confidence = draw(passes())
    start = prompted[-1] if reverse else prompted[0]
    order = range(start, -1, -1) if reverse else range(start, length)
    asked = [t for t in order if t not in prompted]
    assume(asked)
    t = draw(st.sampled_from(asked))
    before = [s for s in order[: order.index(t)] if s not in prompted]
    span = draw(st.sampled_from([None, prompted[-1] - prompted[0] + 1]))
    return Query(t, length, reverse, prompted, {s: confidence[s] for s in before}, span)

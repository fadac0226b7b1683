"""Which slices the memory holds while slice t is segmented, and with which temporal embedding.

Pure data and integers: no torch. A `MemoryPolicy` answers a `Query` with a `Plan`; the predictor
carries the plan out. Terms and readings: paper II-D, tables I and VI. SAM 2 owns seven temporal
rows: 0 to 5 for recent slices (row 0 = t−1 … row 5 = t−6), 6 for conditioning (prompted) slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from lib.errors import BadInput

CONDITIONING_ROW = 6
RECENT_ROWS = 6
MAX_POINTERS = 16


@dataclass(frozen=True)
class Query:
    """The situation when slice `t` of a pass is to be segmented.

    Attributes:
        t: slice index in the pseudo-video.
        num_slices: length of the pseudo-video.
        reverse: the pass runs towards slice 0.
        conditioning: prompted slices, ascending.
        tracked: confidence of every unprompted slice tracked in this pass and still held.
        span: the T that the threshold τ is a fraction of; `num_slices` unless given.
    """

    t: int
    num_slices: int
    reverse: bool
    conditioning: tuple[int, ...]
    tracked: Mapping[int, float] = field(default_factory=dict)
    span: int | None = None

    def distance(self, other: int) -> int:
        """Signed number of slices since `other` in the direction of the pass."""
        return (other - self.t) if self.reverse else (self.t - other)

    def within_stretch(self) -> Query:
        """The same situation, knowing nothing of beyond the prompt the pass met last."""
        behind = [d for c in self.conditioning if (d := self.distance(c)) >= 0]
        if not behind:
            return self
        wall = min(behind)
        known = {t: v for t, v in self.tracked.items() if self.distance(t) < wall}
        return replace(self, tracked=known)


@dataclass(frozen=True)
class Memory:
    """One spatial memory: the slice, the temporal row added to it, and which store it is in."""

    slice: int
    row: int
    conditioning: bool

    def __str__(self) -> str:
        return f"{'c' if self.conditioning else 'n'}{self.slice}@{self.row}"


@dataclass(frozen=True)
class Pointer:
    """One object pointer: the slice, its (signed) temporal distance, and which store it is in."""

    slice: int
    distance: int
    conditioning: bool


@dataclass(frozen=True)
class Plan:
    """What the memory attention sees for one slice, in the order SAM 2 concatenates it."""

    memories: tuple[Memory, ...]
    pointers: tuple[Pointer, ...]

    def __str__(self) -> str:
        return " ".join(map(str, self.memories))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BadInput(f"policy: {message}")


@dataclass(frozen=True)
class MemoryPolicy:
    """The paper's options, freely combined. The default is stock SAM 2, bit for bit.

    Attributes:
        tau: SPS. Keep conditioning slice c iff |t − c| / T ≤ tau; the nearest is always kept.
        intelligent: IS. Recents are t−1 with the first recent row and t−2 with the last.
        sliced: how many recent slots are used, nearest first (0–6).
        stride: take recents beyond t−1 from absolute multiples of this (1, 2, 4).
        gate: how many of the slots hold the most confident slices of the pass instead (0–6).
        confidence: what the gate ranks by: `iou` (predicted IoU) or `score` (object score).
        pointers: `stock`, or `follow`: object pointers only of slices in the memory.
        independent: recents and pointers of tracked slices never reach across a prompted slice in
            the direction of the pass: each stretch between prompts stands alone.
        bracket: the conditioning slices are the nearest prompt on either side (tau then acts on
            these two). With `independent` a slice depends on nothing but these two prompts.
    """

    tau: float = 1.0
    intelligent: bool = False
    sliced: int = RECENT_ROWS
    stride: int = 1
    gate: int = 0
    confidence: str = "iou"
    pointers: str = "stock"
    independent: bool = False
    bracket: bool = False

    def __post_init__(self) -> None:
        _require(0.0 <= self.tau <= 1.0, f"tau must lie between 0 and 1, got {self.tau}")
        _require(0 <= self.sliced <= RECENT_ROWS, f"sliced must be 0 to 6, got {self.sliced}")
        _require(self.stride in (1, 2, 4), f"stride must be 1, 2 or 4, got {self.stride}")
        _require(
            0 <= self.gate <= self.sliced,
            f"gate must be 0 to {self.sliced} (the slots in use), got {self.gate}",
        )
        _require(self.confidence in ("iou", "score"), "confidence must be iou or score")
        _require(self.pointers in ("stock", "follow"), "pointers must be stock or follow")
        _require(
            not self.intelligent or (self.sliced, self.stride, self.gate) == (RECENT_ROWS, 1, 0),
            "is fixes the recents to t-1 and t-2: not to be combined with sliced, stride, gate",
        )

    def plan(self, query: Query) -> Plan:
        """The memories and pointers for `query`.

        Raises:
            ValueError: there is no conditioning slice.
        """
        query = query.within_stretch() if self.independent else query
        kept = self.conditioning(query)
        recents = self._recents(query)
        memories = (
            *(Memory(c, CONDITIONING_ROW, conditioning=True) for c in kept),
            *(Memory(t, row, conditioning=False) for t, row in recents),
        )
        return Plan(memories, self._pointers(query, kept, {t for t, _ in recents}))

    def retained(self, query: Query) -> frozenset[int]:
        """Tracked slices that the plan for `query.t` or a later slice may still read."""
        query = query.within_stretch() if self.independent else query
        near = {t for t in query.tracked if 0 < query.distance(t) <= self.reach}
        return frozenset(near | set(self._most_confident(query)))

    def conditioning(self, query: Query) -> tuple[int, ...]:
        """The conditioning slices that the plan for `query` reads, ascending.

        Raises:
            ValueError: there is none.
        """
        if not query.conditioning:
            raise ValueError("a plan needs at least one conditioning slice")
        prompted = _bracket(query) if self.bracket else query.conditioning
        if self.tau >= 1.0:
            return prompted
        # a whisker of slack: 0.3 · 10 is 3 to a person, a little less to a computer
        limit = self.tau * (query.span or query.num_slices) + 1e-9
        kept = tuple(c for c in prompted if abs(query.t - c) <= limit)
        # of two equally near the one the pass comes from, so that both directions are alike
        return kept or (min(prompted, key=lambda c: (abs(query.t - c), query.distance(c) < 0)),)

    @property
    def reach(self) -> int:
        """How many slices back a plan may look, the gate's confident slices aside."""
        # pointers go back 15 slices; the sixth strided slot lies at most 5·stride + 1 back
        return max(MAX_POINTERS - 1, 5 * self.stride + 1)

    def _recents(self, query: Query) -> list[tuple[int, int]]:
        """(slice, row), oldest first as SAM 2 concatenates them."""
        if self.intelligent:
            # paper III-B: the first and the last recent row are the distinctive ones
            slots = [(_back(query, 1), 0), (_back(query, 2), RECENT_ROWS - 1)]
        elif self.gate:
            slots = self._gated(query)
        else:
            steps = _strided(query, self.stride)
            slots = [(next(steps), row) for row in range(self.sliced)]
        return [(t, row) for t, row in reversed(slots) if t in query.tracked]

    def _gated(self, query: Query) -> list[tuple[int, int]]:
        chosen = set(self._most_confident(query))
        rest = self.sliced - len(chosen)
        for t in _strided(query, self.stride):
            if rest == 0 or query.distance(t) > self.reach:
                break
            if t in query.tracked and t not in chosen:
                chosen.add(t)
                rest -= 1
        by_distance = sorted(chosen, key=query.distance)
        return [(t, row) for row, t in enumerate(by_distance)]

    def _most_confident(self, query: Query) -> list[int]:
        ranked = sorted(query.tracked, key=lambda t: (-query.tracked[t], query.distance(t)))
        return ranked[: self.gate]

    def _pointers(
        self, query: Query, kept: Iterable[int], recents: set[int]
    ) -> tuple[Pointer, ...]:
        # stock (2.1 configs): conditioning pointers of the past only, then up to 15 recents
        past = [c for c in kept if query.distance(c) >= 0]
        if self.pointers == "follow":
            near = sorted(recents, key=query.distance)
        else:
            reach = min(query.num_slices, MAX_POINTERS)
            near = [t for t in (_back(query, d) for d in range(1, reach)) if t in query.tracked]
        return (
            *(Pointer(c, query.distance(c), conditioning=True) for c in past),
            *(Pointer(t, query.distance(t), conditioning=False) for t in near),
        )


PRESETS: Mapping[str, MemoryPolicy] = {
    "baseline": MemoryPolicy(),
    "sps": MemoryPolicy(tau=0.3),
    "is": MemoryPolicy(intelligent=True),
    "is+sps": MemoryPolicy(intelligent=True, tau=0.3),
    "is+sps+stretches": MemoryPolicy(intelligent=True, tau=0.3, independent=True, bracket=True),
    "independent": MemoryPolicy(independent=True),
    "bracket": MemoryPolicy(bracket=True),
    "stretches": MemoryPolicy(independent=True, bracket=True),
    "is+stretches": MemoryPolicy(intelligent=True, independent=True, bracket=True),
    **{f"sliced{k}": MemoryPolicy(sliced=k) for k in range(RECENT_ROWS + 1)},
    **{f"stride{s}": MemoryPolicy(stride=s) for s in (1, 2, 4)},
    **{f"gate{k}": MemoryPolicy(gate=k) for k in range(RECENT_ROWS + 1)},
}


# options that are on or off have a preset each, shorter to write than `independent=true`
_FLAGS = {"intelligent": "is", "independent": "independent", "bracket": "bracket"}


def parse_policy(text: str) -> MemoryPolicy:
    """A preset (`is+sps`), options (`tau=0.2,sliced=3`) or presets joined (`stride2+sps`).

    Raises:
        BadInput: unknown name, option or value.
    """
    text = str(text).strip().lower()
    if text in PRESETS:
        return PRESETS[text]
    policy = MemoryPolicy()
    for part in text.replace("+", ",").split(","):
        policy = replace(policy, **_options(part.strip(), text))
    return policy


def describe(policy: MemoryPolicy) -> str:
    """The shortest text that `parse_policy` turns back into `policy`."""
    for name, preset in PRESETS.items():
        if preset == policy:
            return name
    default = MemoryPolicy()
    changed = {
        f.name: value
        for f in fields(policy)
        if (value := getattr(policy, f.name)) != getattr(default, f.name)
    }
    return ",".join(_FLAGS.get(name, f"{name}={value}") for name, value in changed.items())


def _options(part: str, text: str) -> dict[str, Any]:
    if part in PRESETS:
        default = MemoryPolicy()
        preset = PRESETS[part]
        return {
            f.name: getattr(preset, f.name)
            for f in fields(preset)
            if getattr(preset, f.name) != getattr(default, f.name)
        }
    name, _, value = part.partition("=")
    kinds = {f.name: type(getattr(MemoryPolicy(), f.name)) for f in fields(MemoryPolicy)}
    if name not in kinds or not value:
        raise BadInput(
            f"unknown policy {text!r}: use {', '.join(sorted(PRESETS))}, "
            f"or options like tau=0.2,sliced=3 ({', '.join(kinds)})"
        )
    try:
        kind = kinds[name]
        return {name: {"true": True, "false": False}[value] if kind is bool else kind(value)}
    except (KeyError, ValueError):
        raise BadInput(f"policy option {name} cannot be {value!r}") from None


def _back(query: Query, distance: int) -> int:
    return query.t + distance if query.reverse else query.t - distance


def _bracket(query: Query) -> tuple[int, ...]:
    """The nearest conditioning slice on either side of `t`, ascending."""
    before = [c for c in query.conditioning if c <= query.t]
    after = [c for c in query.conditioning if c > query.t]
    return (*before[-1:], *after[:1])


def _strided(query: Query, stride: int) -> Iterator[int]:
    """t−1, then the nearest absolute multiples of `stride` at least two slices back."""
    yield _back(query, 1)
    if query.reverse:
        t, step = -(-(query.t + 2) // stride) * stride, stride
    else:
        t, step = ((query.t - 2) // stride) * stride, -stride
    while True:
        yield t
        t += step

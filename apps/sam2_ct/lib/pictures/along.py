"""How sure a result is along an axis: a plot as SVG, drawn without a script or a style sheet.

Lines and letters have the colour of the text around them, so the plot is readable on light and
dark pages alike; the two colours besides stand out from both. Whatever is written in it is escaped
by the library that makes the XML.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from lib.activelearning.next_slice import NextSlice, is_tracked, stacks_of, uncertainty_of
from lib.engine.report import Report
from lib.geometry import Axis, Grid
from lib.propagation.records import ObjectEnds, SliceRecord, Source

#: At least three times as light or dark as white and as near black (WCAG's contrast for graphics).
PROMPTED, SUGGESTED = "#b07d00", "#0091b3"

_WIDTH, _HEIGHT = 480, 198
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 474, 24, 132
_MOST_TICKS = 8


@dataclass(frozen=True)
class Along:
    """One object along one axis.

    Attributes:
        object_id: its value in the label map.
        axis: slices are counted along it.
        slices: a record for each, in order.
        prompted: slices that somebody marked.
        suggested: slices that would help next, best first.
        ends: where it may be; None: nobody decided that.
        letters: what lies at the first and at the last slice: I and S, say.
    """

    object_id: int
    axis: Axis
    slices: tuple[SliceRecord, ...]
    prompted: tuple[int, ...]
    suggested: tuple[NextSlice, ...]
    ends: ObjectEnds | None
    letters: tuple[str, str]


def along(report: Report, marked: Collection[tuple[int, Axis, int]], grid: Grid) -> list[Along]:
    """Every object of a result along every axis it was tracked on.

    Args:
        report: of the result.
        marked: object, axis and slice of what somebody marked, in the file's indices.
        grid: the file's.
    """
    ends = {(e.object_id, e.axis): e for e in report.ends}
    found = []
    for (object_id, axis), stack in sorted(stacks_of(report.slices).items()):
        low, high = axis.letters
        found.append(
            Along(
                object_id,
                axis,
                tuple(stack[i] for i in sorted(stack)),
                tuple(sorted(t for o, a, t in marked if (o, a) == (object_id, axis))),
                tuple(s for s in report.next_slices if (s.object_id, s.axis) == (object_id, axis)),
                ends.get((object_id, axis)),
                (low, high) if grid.sign_of(axis) > 0 else (high, low),
            )
        )
    return found


def plot(data: Along, name: str, ident: str) -> str:
    """The plot as an SVG element, to be put into a page.

    Args:
        data: what is shown.
        name: of the object.
        ident: begins the ids in it, which must be unique on the page.
    """
    svg = Element(
        "svg",
        {
            "viewBox": f"0 0 {_WIDTH} {_HEIGHT}",
            "class": "along",
            "role": "img",
            "aria-labelledby": f"{ident}-title {ident}-desc",
            "font-size": "11",
            "fill": "currentColor",
        },
    )
    title = f"{name}: confidence and uncertainty along the {data.axis.value} axis"
    SubElement(svg, "title", {"id": f"{ident}-title"}).text = title
    SubElement(svg, "desc", {"id": f"{ident}-desc"}).text = describe(data)
    place = _Place(data)
    _frame(svg, data, place)
    _marks(svg, data, place)
    _values(svg, data, place)
    _legend(svg, data)
    return tostring(svg, encoding="unicode")


def describe(data: Along) -> str:
    """The plot in words."""
    tracked = [r for r in data.slices if is_tracked(r)]
    sentences = []
    if tracked:
        worst = min(tracked, key=lambda r: r.predicted_iou)
        best = max(tracked, key=lambda r: r.predicted_iou)
        sentences.append(
            f"{len(tracked)} slices were tracked, with a confidence from "
            f"{worst.predicted_iou:.2f} at slice {worst.index} to {best.predicted_iou:.2f} at "
            f"slice {best.index}."
        )
    if data.prompted:
        sentences.append(f"Prompted: {_list(data.prompted)}.")
    if data.suggested:
        sentences.append(f"Suggested next: {_list(s.index for s in data.suggested)}.")
    if data.ends is not None:
        sentences.append(f"The object may be on slices {data.ends.first} to {data.ends.last}.")
    return " ".join(sentences) or "Nothing was tracked."


class _Place:
    """From slices and values to the picture."""

    def __init__(self, data: Along) -> None:
        known = [r.index for r in data.slices]
        self.first, self.last = min(known), max(known)
        self.step = (_RIGHT - _LEFT) / max(1, self.last - self.first + 1)

    def x(self, index: float) -> float:
        return round(_LEFT + (index - self.first + 0.5) * self.step, 1)

    @staticmethod
    def y(value: float) -> float:
        return round(_BOTTOM - min(max(value, 0.0), 1.0) * (_BOTTOM - _TOP), 1)


def _frame(svg: Element, data: Along, place: _Place) -> None:
    """The axes, and what lies beyond the object's ends."""
    for value in (0, 0.5, 1):
        y = place.y(value)
        _line(svg, (_LEFT, y), (_RIGHT, y), {"stroke": "currentColor", "stroke-opacity": "0.25"})
        _text(svg, (_LEFT - 5, y + 4), f"{value:g}", "end")
    if data.ends is not None:
        beyond = (
            (_LEFT, place.x(data.ends.first - 0.5), data.ends.first, data.ends.first_why),
            (place.x(data.ends.last + 0.5), _RIGHT, data.ends.last, data.ends.last_why),
        )
        for start, stop, at, why in beyond:
            start, stop = max(start, _LEFT), min(stop, _RIGHT)
            if stop - start < 0.5:
                continue
            box = {"x": start, "y": _TOP, "width": stop - start, "height": _BOTTOM - _TOP}
            shade = SubElement(
                svg,
                "rect",
                {k: f"{v:.1f}" for k, v in box.items()}
                | {"class": "beyond", "fill-opacity": "0.1"},
            )
            reason = f": {why}" if why else ""
            SubElement(shade, "title").text = f"The object ends at slice {at}{reason}"
    for index in _ticks(place.first, place.last):
        _text(svg, (place.x(index), _BOTTOM + 26), str(index), "middle")
    _text(svg, (_LEFT, _BOTTOM + 40), data.letters[0], "start")
    _text(svg, ((_LEFT + _RIGHT) / 2, _BOTTOM + 40), f"{data.axis.value} slice", "middle")
    _text(svg, (_RIGHT, _BOTTOM + 40), data.letters[1], "end")


def _marks(svg: Element, data: Along, place: _Place) -> None:
    """Triangles under prompted slices; suggested ones dashed, with their rank."""
    for rank, one in enumerate(data.suggested, start=1):
        x = place.x(one.index)
        mark = SubElement(svg, "g", {"class": "suggested", "data-slice": str(one.index)})
        SubElement(mark, "title").text = f"Suggested next, number {rank}: slice {one.index}"
        dashes = {"stroke": SUGGESTED, "stroke-width": "1.5", "stroke-dasharray": "4 3"}
        _line(mark, (x, _TOP), (x, _BOTTOM), dashes)
        _text(mark, (x, _TOP - 4), str(rank), "middle", SUGGESTED)
    for index in data.prompted:
        x = place.x(index)
        mark = SubElement(svg, "g", {"class": "prompted", "data-slice": str(index)})
        SubElement(mark, "title").text = f"Prompted: slice {index}"
        _line(mark, (x, _TOP), (x, _BOTTOM), {"stroke": PROMPTED, "stroke-width": "1.5"})
        points = f"{x - 5:.1f},{_BOTTOM + 12} {x + 5:.1f},{_BOTTOM + 12} {x:.1f},{_BOTTOM + 2}"
        SubElement(mark, "polygon", {"points": points, "fill": PROMPTED})


def _values(svg: Element, data: Along, place: _Place) -> None:
    """Confidence as a line with points, uncertainty as an area."""
    for run in _runs(data.slices):
        base = f"{place.x(run[0].index)},{_BOTTOM} "
        tops = " ".join(f"{place.x(r.index)},{place.y(uncertainty_of(r))}" for r in run)
        area = f"{base}{tops} {place.x(run[-1].index)},{_BOTTOM}"
        SubElement(svg, "polygon", {"class": "uncertainty", "points": area, "fill-opacity": "0.25"})
        points = " ".join(f"{place.x(r.index)},{place.y(r.predicted_iou)}" for r in run)
        SubElement(
            svg,
            "polyline",
            {"class": "confidence", "points": points, "fill": "none", "stroke": "currentColor"},
        )
    for record in data.slices:
        if not is_tracked(record) and record.source is not Source.BEYOND:
            continue
        is_beyond = record.source is Source.BEYOND
        dot = SubElement(
            svg,
            "circle",
            {
                "cx": str(place.x(record.index)),
                "cy": str(place.y(record.predicted_iou)),
                "r": "2",
                "data-slice": str(record.index),
                **({"fill": "none", "stroke": "currentColor"} if is_beyond else {}),
            },
        )
        left_out = ", beyond the end and left out" if is_beyond else ""
        SubElement(dot, "title").text = (
            f"Slice {record.index}: confidence {record.predicted_iou:.2f}, "
            f"uncertainty {uncertainty_of(record):.2f}{left_out}"
        )


def _legend(svg: Element, data: Along) -> None:
    x = float(_LEFT)
    entries = [("line", "confidence"), ("area", "uncertainty")]
    entries += [("prompted", "prompted")] if data.prompted else []
    entries += [("suggested", "suggested next")] if data.suggested else []
    y = _BOTTOM + 56
    for kind, text in entries:
        if kind == "area":
            box = {"x": str(x), "y": str(y - 5), "width": "14", "height": "9"}
            SubElement(svg, "rect", box | {"fill-opacity": "0.25"})
        else:
            colour = {"prompted": PROMPTED, "suggested": SUGGESTED}.get(kind, "currentColor")
            dashes = {"stroke-dasharray": "4 3"} if kind == "suggested" else {}
            _line(svg, (x, y), (x + 14, y), {"stroke": colour, "stroke-width": "1.5", **dashes})
        _text(svg, (x + 18, y + 4), text, "start")
        x += 34 + 6.2 * len(text)


def _runs(slices: Sequence[SliceRecord]) -> list[list[SliceRecord]]:
    """Neighbouring slices on which the object is; prompted ones join what was tracked."""
    runs: list[list[SliceRecord]] = []
    for record in slices:
        if not (is_tracked(record) or record.source is Source.PROMPT):
            continue
        if runs and record.index == runs[-1][-1].index + 1:
            runs[-1].append(record)
        else:
            runs.append([record])
    return runs


def _ticks(first: int, last: int) -> list[int]:
    """Round numbers within a range, and few of them."""
    step = next(
        s * 10**e
        for e in range(7)
        for s in (1, 2, 5)
        if (last - first) / (s * 10**e) <= _MOST_TICKS
    )
    return list(range(-(-first // step) * step, last + 1, step))


def _line(
    parent: Element, start: tuple[float, float], stop: tuple[float, float], how: dict[str, str]
) -> None:
    ends = dict(zip(("x1", "y1", "x2", "y2"), map(str, (*start, *stop)), strict=True))
    SubElement(parent, "line", ends | how)


def _text(
    parent: Element, at: tuple[float, float], text: str, anchor: str, colour: str | None = None
) -> None:
    where = {"x": f"{at[0]:.1f}", "y": f"{at[1]:.1f}", "text-anchor": anchor}
    SubElement(parent, "text", where | ({"fill": colour} if colour else {})).text = text


def _list(slices: Iterable[int]) -> str:
    return ", ".join(map(str, slices))

"""The plot shows what the report says, in every page's colours, and runs nothing."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from lib.activelearning.next_slice import NextSlice
from lib.engine.report import Report
from lib.geometry import Axis, Grid
from lib.pictures.along import along, describe, plot
from lib.propagation.records import ObjectEnds, Rule, SliceRecord, Source
from tests.engine.reports import bare_report

SVG = "{http://www.w3.org/2000/svg}"
GRID = Grid((20, 20, 60), np.diag([1, 1, 3, 1]))


def record(
    index, source=Source.FORWARD, iou=0.8, score=5.0, uncertainty=0.2, **more
) -> SliceRecord:
    kind = {"object_id": 1, "axis": Axis.AXIAL, **more}
    return SliceRecord(kind["object_id"], kind["axis"], index, source, iou, score, uncertainty)


SLICES = (
    record(9, Source.BEYOND, 0.4),
    record(10, Source.PROMPT, 1.0, 10.0, 0.0),
    *(record(t, iou=0.9 - 0.05 * (t - 11)) for t in range(11, 15)),
    record(15, score=-3.0),
    *(record(t, iou=0.7) for t in range(16, 20)),
    record(20, Source.PROMPT, 1.0, 10.0, 0.0),
)
MARKED = {(1, Axis.AXIAL, 10), (1, Axis.AXIAL, 20)}


def said(**more) -> Report:
    given = {
        "slices": SLICES,
        "next_slices": (
            NextSlice(1, Axis.AXIAL, 17, 0.5),
            NextSlice(1, Axis.AXIAL, 13, 0.4),
        ),
        "ends": (
            ObjectEnds(
                *(1, Axis.AXIAL, 10, 20, Rule.AUTO_STOPPED, Rule.PAINTED),
                *("a small cap", "painted last"),
            ),
        ),
    }
    return bare_report(GRID, **(given | more))


def drawn(report=None, name="hip", grid=GRID):
    (data,) = along(report or said(), MARKED, grid)
    return ElementTree.fromstring(as_page_reads(plot(data, name, "p")))


def as_page_reads(svg: str) -> str:
    """Inside HTML an `svg` element needs no namespace; this parser does."""
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def slices(svg, kind: str) -> list[int]:
    return [int(g.get("data-slice")) for g in svg.iter(f"{SVG}g") if g.get("class") == kind]


def x_of(svg, kind: str) -> dict[int, float]:
    return {
        int(g.get("data-slice")): float(g.find(f"{SVG}line").get("x1"))
        for g in svg.iter(f"{SVG}g")
        if g.get("class") == kind
    }


def test_prompted_and_suggested_slices_are_those_of_the_report():
    svg = drawn()
    assert slices(svg, "prompted") == [10, 20]
    assert slices(svg, "suggested") == [17, 13]
    ranks = [
        g.find(f"{SVG}text").text for g in svg.iter(f"{SVG}g") if g.get("class") == "suggested"
    ]
    assert ranks == ["1", "2"]


def test_a_slice_lies_where_its_number_is():
    svg = drawn()
    places = x_of(svg, "prompted") | x_of(svg, "suggested")
    steps = np.diff([places[t] for t in (10, 13, 17, 20)]) / [3, 4, 3]
    np.testing.assert_allclose(steps, steps[0], atol=0.1)
    assert steps[0] > 0
    ticks = {t.text: float(t.get("x")) for t in svg.iter(f"{SVG}text") if t.text in ("10", "20")}
    assert ticks == pytest.approx({"10": places[10], "20": places[20]})


def heights(svg) -> dict[int, float]:
    """Slice → value between the lines at 0 and 1."""
    lines = [line for line in svg.iter(f"{SVG}line") if line.get("stroke-opacity")]
    zero, _, one = (float(line.get("y1")) for line in lines)
    return {
        int(dot.get("data-slice")): (zero - float(dot.get("cy"))) / (zero - one)
        for dot in svg.iter(f"{SVG}circle")
    }


def test_points_are_as_high_as_the_network_is_sure():
    found = heights(drawn())
    expected = {r.index: r.predicted_iou for r in SLICES if r.source is not Source.PROMPT}
    del expected[15]  # the object is not there
    assert found == pytest.approx(expected, abs=0.01)


def test_lines_break_where_the_object_is_not():
    runs = [line.get("points").split() for line in drawn().iter(f"{SVG}polyline")]
    assert [len(run) for run in runs] == [5, 5]  # 10 to 14, 16 to 20


def test_of_two_passes_the_less_sure_one_speaks():
    twice = (*SLICES, record(12, Source.BACKWARD, 0.3, uncertainty=0.9))
    assert heights(drawn(said(slices=twice)))[12] == pytest.approx(0.3, abs=0.01)


def test_beyond_the_ends_it_is_shaded_and_says_why():
    (before,) = (r for r in drawn().iter(f"{SVG}rect") if r.get("class") == "beyond")
    assert before.find(f"{SVG}title").text == "The object ends at slice 10: a small cap"
    assert drawn(said(ends=())).findall(f".//{SVG}rect[@class='beyond']") == []


def test_the_words_say_the_same():
    (data,) = along(said(), MARKED, GRID)
    assert describe(data) == (
        "8 slices were tracked, with a confidence from 0.70 at slice 16 to 0.90 at slice 11. "
        "Prompted: 10, 20. Suggested next: 17, 13. The object may be on slices 10 to 20."
    )


def test_a_screen_reader_finds_title_and_description():
    svg = drawn()
    assert svg.get("role") == "img"
    title, desc = (svg.find(f"{SVG}{kind}") for kind in ("title", "desc"))
    assert svg.get("aria-labelledby").split() == [title.get("id"), desc.get("id")]
    assert title.text == "hip: confidence and uncertainty along the axial axis"
    assert desc.text.startswith("8 slices were tracked")


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=1>', "a&b\u2028"]
)
def test_names_stay_text(name):
    (data,) = along(said(), MARKED, GRID)
    text = plot(data, name, "p")
    assert "<script" not in text
    assert "<img" not in text
    assert drawn(name=name).find(f"{SVG}title").text.startswith(name)


def test_nothing_in_it_needs_a_style_or_a_script():
    (data,) = along(said(), MARKED, GRID)
    text = plot(data, "hip", "p")
    assert not re.search(r"\sstyle=|<style|<script|\son\w+=|href", text)


def luminance(colour: str) -> float:
    parts = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_colours_stand_out_on_white_and_on_near_black():
    used = {v for e in drawn().iter() for k, v in e.attrib.items() if k in ("fill", "stroke")}
    own = used - {"none", "currentColor"}
    assert len(own) == 2
    for colour in own:
        for page in ("#ffffff", "#16181d"):
            light, dark = sorted((luminance(colour), luminance(page)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) > 3


@pytest.mark.parametrize(("flip", "letters"), [(1, ["I", "S"]), (-1, ["S", "I"])])
def test_the_ends_of_the_axis_are_named(flip, letters):
    grid = Grid(GRID.shape, np.diag([1, 1, 3 * flip, 1]))
    texts = [t.text for t in drawn(grid=grid).iter(f"{SVG}text")]
    assert [t for t in texts if t in ("I", "S")] == letters


def test_every_object_and_axis_has_its_plot():
    more = (record(3, object_id=2), record(3, axis=Axis.CORONAL))
    found = along(said(slices=(*SLICES, *more)), MARKED, GRID)
    assert sorted((a.object_id, a.axis.value) for a in found) == [
        (1, "axial"),
        (1, "coronal"),
        (2, "axial"),
    ]
    for data in found:
        ElementTree.fromstring(plot(data, "x", "y"))


def test_a_report_with_prompts_alone_can_be_drawn():
    report = replace(said(), slices=SLICES[1:2], next_slices=(), ends=())
    (data,) = along(report, {(1, Axis.AXIAL, 10)}, GRID)
    assert describe(data) == "Prompted: 10."
    assert slices(ElementTree.fromstring(as_page_reads(plot(data, "x", "y"))), "prompted") == [10]


def test_a_long_axis_has_few_ticks():
    report = said(slices=tuple(record(t) for t in range(0, 1800, 3)), next_slices=(), ends=())
    (data,) = along(report, (), GRID)
    texts = [
        t.text
        for t in ElementTree.fromstring(as_page_reads(plot(data, "x", "y"))).iter(f"{SVG}text")
    ]
    assert [t for t in texts if t.isdecimal() and int(t) > 1] == ["500", "1000", "1500"]

"""Requests as 3D Slicer and OHIF send them."""

import numpy as np
import pytest

from lib.configs.readers import prompt_slices
from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.labelmap import changed_slices, from_labelmap
from lib.prompts.types import Box, Points, PromptSet
from lib.prompts.viewers import Marks, first_item
from lib.prompts.viewers import from_clicks as clicks_of
from lib.prompts.viewers import from_scribbles as scribbles_of
from tests.geometry.grids import affine_of

SHAPE = (100, 80, 60)


def from_clicks(said, grid, **options):
    return clicks_of(Marks.parse(said), grid, **options)


def from_scribbles(said, labels, grid, **options):
    choice = prompt_slices(first_item(said.get("prompt_slices")) or "auto")
    return scribbles_of(Marks.parse(said), labels, grid, choice=choice, **options)


GRID = Grid(SHAPE, affine_of("LPS", (0.8, 0.8, 3)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(["is+sps", "sps"], "is+sps"), ("sps", "sps"), ([], None), (None, None), (3, 3), ((2,), 2)],
)
def test_first_item(value, expected):
    assert first_item(value) == expected


class TestClicks:
    def test_ohif(self):
        request = {
            "result_extension": ".nrrd",
            "foreground": [[78, 36, 43], [70, 30, 40]],
            "background": [[10, 11, 43]],
        }
        marked = from_clicks(request, GRID)
        below, above = marked.prompts.prompts
        assert marked.roi is None
        assert (below.index, above.index) == (40, 43)
        assert below.foreground.tolist() == [[70, 30]]
        assert (above.foreground.tolist(), above.background.tolist()) == ([[78, 36]], [[10, 11]])

    def test_slicer_with_a_descending_roi(self):
        request = {
            "label": "bone",
            "foreground": [[50, 40, 20]],
            "background": [],
            "roi": [70, 30, 60, 20, 25, 10],
            "slice": 20,
            "reset_state": True,
        }
        marked = from_clicks(request, GRID)
        start, stop = marked.roi
        assert start.tolist() == [30, 20, 10]
        assert stop.tolist() == [71, 61, 26]
        assert isinstance(marked.prompts.prompts[0], Points)

    def test_roi_alone_is_a_box_on_its_middle_slice_whatever_slice_says(self):
        marked = from_clicks({"roi": [30, 70, 20, 60, 10, 25], "slice": 512}, GRID)
        (box,) = marked.prompts.prompts
        assert isinstance(box, Box)
        assert (box.axis, box.index) == (Axis.AXIAL, 17)
        assert (box.low.tolist(), box.high.tolist()) == ([30, 20], [70, 60])

    def test_roi_is_clipped(self):
        start, stop = Marks.parse({"roi": [-5, 300, 79, 90, 0, -4]}).within(GRID)
        assert start.tolist() == [0, 79, 0]
        assert stop.tolist() == [100, 80, 1]

    @pytest.mark.parametrize("empty", [None, "", " ", "[]", "[[]]", [], [[]], [None]])
    def test_empty_fields(self, empty):
        request = {"foreground": [[1, 2, 3]], "background": empty, "roi": empty}
        marked = from_clicks(request, GRID)
        assert marked.roi is None
        assert marked.prompts.prompts[0].background.shape == (0, 2)
        with pytest.raises(BadInput, match="no point and no region of interest"):
            from_clicks({"foreground": empty}, GRID)

    def test_json_text(self):
        marked = from_clicks({"foreground": "[[1, 2, 3]]", "roi": "[0,9,0,9,0,9]"}, GRID)
        assert marked.prompts.prompts[0].index == 3
        assert marked.roi[1].tolist() == [10, 10, 10]

    def test_slices_are_those_of_the_file_when_it_is_not_axial(self):
        pir = Grid(SHAPE, affine_of("PIR"))
        (prompt,) = from_clicks({"foreground": [[1, 2, 3]]}, pir).prompts.prompts
        assert (prompt.axis, prompt.index) == (Axis.SAGITTAL, 3)
        (prompt,) = from_clicks({"foreground": [[1, 2, 3]]}, pir, axis=Axis.AXIAL).prompts.prompts
        assert (prompt.axis, prompt.index, prompt.foreground.tolist()) == (Axis.AXIAL, 2, [[1, 3]])

    @pytest.mark.parametrize(
        ("request_", "sentence"),
        [
            ({"foreground": "[[1, 2"}, "foreground is not a list"),
            ({"foreground": 7}, "foreground is not a list"),
            ({"foreground": [[1, 2]]}, "foreground must be a list of"),
            ({"foreground": [[1, 2, 60]]}, "outside the volume: axial slice 60"),
            ({"foreground": [[100, 2, 6]]}, "outside the volume"),
            ({"roi": [1, 2, 3, 4]}, "roi must be"),
            ({"roi": [110, 120, 0, 9, 0, 9]}, "region of interest .* lies outside the volume"),
        ],
    )
    def test_what_is_refused(self, request_, sentence):
        with pytest.raises(BadInput, match=sentence):
            from_clicks(request_, GRID)


def scribbles(**options) -> dict:
    info = [{"name": "rib", "id": 1}, {"name": "bone", "id": 2}]
    return {"roi": [], "label_info": info, "selected_label_name": "bone", **options}


def drawn() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[20:30, 20:30, [5, 30, 50]] = 2
    labels[60:70, 20:30, [6, 30]] = 1
    return labels


class TestScribbles:
    def test_the_selected_segment_only(self):
        prompts = from_scribbles(scribbles(), drawn(), GRID).prompts
        assert [(p.object_id, p.index) for p in prompts.prompts] == [(2, 5), (2, 30), (2, 50)]
        assert all(p.mask.sum() == 100 for p in prompts.prompts)

    def test_listed_slices(self):
        request = scribbles(prompt_slices="50, 5")
        assert [p.index for p in from_scribbles(request, drawn(), GRID).prompts.prompts] == [5, 50]

    @pytest.mark.parametrize("choice", ["auto", "changed", "", None, ["auto", "changed"]])
    def test_after_a_run_only_what_changed_and_what_was_drawn_before(self, choice):
        earlier = from_labelmap(drawn(), GRID, object_ids=[2])
        filled = np.zeros(SHAPE, bool)
        filled[20:30, 20:30, 5:51] = True  # the segment after the first run
        labels = drawn()
        labels[filled] = 2
        labels[25:30, 20:30, 40] = 0  # the annotator corrects two slices,
        labels[20:40, 20:30, 30] = 2  # one of them prompted before
        found = from_scribbles(
            scribbles(prompt_slices=choice), labels, GRID, previous=filled, earlier=earlier
        ).prompts
        assert [p.index for p in found.prompts] == [5, 30, 40, 50]
        assert [int(p.mask.sum()) for p in found.prompts] == [100, 200, 50, 100]

    def test_pressing_update_twice_gives_the_same_prompts(self):
        earlier = from_labelmap(drawn(), GRID, object_ids=[2])
        filled = drawn() == 2
        filled[20:30, 20:30, 5:51] = True
        found = from_scribbles(
            scribbles(), filled * np.uint8(2), GRID, previous=filled, earlier=earlier
        ).prompts
        assert [p.index for p in found.prompts] == [5, 30, 50]

    def test_a_prompted_slice_that_was_wiped_is_no_prompt_any_more(self):
        earlier = from_labelmap(drawn(), GRID, object_ids=[2])
        labels = drawn()
        labels[:, :, 50] = 0
        found = from_scribbles(scribbles(), labels, GRID, previous=drawn() == 2, earlier=earlier)
        assert [p.index for p in found.prompts.prompts] == [5, 30]
        assert not found.wiped

    def test_a_tracked_slice_that_was_wiped_does_not_hold_the_object(self):
        earlier = from_labelmap(drawn(), GRID, object_ids=[2])
        filled = np.zeros(SHAPE, bool)
        filled[20:30, 20:30, 5:51] = True
        labels = filled * np.uint8(2)
        labels[:, :, 40:43] = 0
        found = from_scribbles(scribbles(), labels, GRID, previous=filled, earlier=earlier)
        assert [p.index for p in found.prompts.prompts] == [5, 30, 50]
        assert found.wiped == {40, 41, 42}
        labels[20:30, 20:30, 41] = 2  # painted again; what was wiped before stays so
        again = from_scribbles(
            scribbles(), labels, GRID, previous=labels == 2, earlier=earlier, wiped={40, 41, 42}
        )
        assert again.wiped == {40, 42}

    def test_wiped_slices_are_forgotten_with_the_last_of_the_tracked_ones(self):
        earlier = from_labelmap(drawn(), GRID, object_ids=[2])
        found = from_scribbles(
            scribbles(), drawn(), GRID, previous=drawn() == 2, earlier=earlier, wiped={8, 40}
        )
        assert [p.index for p in found.prompts.prompts] == [5, 30, 50]
        assert not found.wiped

    @pytest.mark.parametrize("choice", ["auto", "changed"])
    def test_a_segment_begun_anew_is_no_correction_of_the_last_result(self, choice):
        earlier = from_labelmap(drawn(), GRID, object_ids=[2])
        filled = np.zeros(SHAPE, bool)
        filled[20:30, 20:30, 5:51] = True
        labels = drawn()  # the same slices, in an empty segment
        labels[25:30, 20:30, 40] = 2  # and one more
        found = from_scribbles(
            scribbles(prompt_slices=choice),
            labels,
            GRID,
            previous=filled,
            earlier=earlier,
            wiped={8},
        )
        assert [p.index for p in found.prompts.prompts] == [5, 30, 40, 50]
        assert not found.wiped

    def test_points_of_the_run_before_stay(self):
        click = Points(Axis.AXIAL, 30, 2, np.array([[25.0, 25.0]]), np.empty((0, 2)))
        earlier = PromptSet(GRID, (click,))
        labels = drawn()
        labels[0, 0, 5] = 2
        found = from_scribbles(
            scribbles(), labels, GRID, previous=drawn() == 2, earlier=earlier
        ).prompts
        assert [(type(p).__name__, p.index) for p in found.prompts] == [("Mask", 5), ("Points", 30)]

    def test_all_even_after_a_run(self):
        found = from_scribbles(
            scribbles(prompt_slices="all"), drawn(), GRID, previous=drawn() == 2
        ).prompts
        assert [p.index for p in found.prompts] == [5, 30, 50]

    def test_roi(self):
        marked = from_scribbles(scribbles(roi=[40, 10, 10, 40, 0, 59]), drawn(), GRID)
        assert marked.roi[0].tolist() == [10, 10, 0]
        assert marked.roi[1].tolist() == [41, 41, 60]

    @pytest.mark.parametrize(
        ("request_", "previous", "sentence"),
        [
            (scribbles(selected_label_name="hip"), None, r"segment 'hip' is not among.*'bone'"),
            ({}, None, "segment None is not among"),
            (scribbles(label_info=[{"name": "bone", "id": 9}]), None, "'bone' is empty: paint it"),
            (scribbles(prompt_slices="4"), None, "'bone': it is empty on slice 4"),
            (scribbles(prompt_slices="changed"), None, "no earlier result"),
            (scribbles(prompt_slices="some"), None, "unknown prompt_slices 'some'"),
            (scribbles(prompt_slices="3;4"), None, "unknown prompt_slices"),
            (scribbles(prompt_slices="-3"), None, "unknown prompt_slices"),
            (scribbles(), drawn() == 2, "segment 'bone': nothing was painted since"),
            (scribbles(), np.zeros((3, 3, 3), bool), "earlier result has shape"),
        ],
    )
    def test_what_is_refused(self, request_, previous, sentence):
        with pytest.raises(BadInput, match=sentence):
            from_scribbles(request_, drawn(), GRID, previous=previous)


def test_changed_slices_along_each_dimension():
    one = np.zeros((4, 5, 6), bool)
    two = one.copy()
    two[1, 2, 3] = True
    assert [changed_slices(one, two, d) for d in range(3)] == [{1}, {2}, {3}]


def test_prompt_slices():
    assert prompt_slices("77,3,40,3") == (3, 40, 77)
    assert prompt_slices(12) == (12,)
    assert prompt_slices(" All ") == "all"

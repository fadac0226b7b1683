"""Where an object ends, from scripted object scores."""

import pytest

from lib.errors import BadInput
from lib.propagation.ends import ChangePoint, Limit, end_detector, limits
from lib.propagation.extent import Extent, ExtentRule, SliceSignals
from lib.propagation.records import Rule

INNER = [SliceSignals(t, 6.0) for t in range(5, 10)]
PROMPTED = (0, 5, 10)
AREAS = {0: 10.0, 5: 100.0, 10: 80.0}


def outward(*scores, start=10, step=1):
    return [SliceSignals(start + step * n, s) for n, s in enumerate(scores, 1)]


def auto(outermost=10, prompted=PROMPTED, areas=AREAS):
    return end_detector(ExtentRule.AUTO, prompted, areas, outermost)


@pytest.mark.parametrize("rule", [ExtentRule.AUTO, ExtentRule.OPEN])
def test_ends_where_the_score_falls_though_it_stays_positive(rule):
    detector = end_detector(rule, PROMPTED, AREAS, 10)
    end = detector(outward(6, 6, 6, 2, 2, 2, 2), INNER, final=True)
    assert end.last == 13


def test_the_scale_of_the_scores_does_not_matter():
    scores = (5, 6, 4.5, 5, 1, 2, 1, 0.5)
    inner = [SliceSignals(t, 0.06) for t in range(5, 10)]
    small = auto()(outward(*(s / 100 for s in scores)), inner, final=True)
    assert small == auto()(outward(*scores), INNER, final=True)


def test_a_dip_does_not_end_it():
    end = auto()(outward(6, 6, 2, 6, 6, 6), INNER, final=True)
    assert end.last == 16


def test_goes_on_until_it_is_hopeless():
    detector = auto()
    scores = [6.0, 6.0]
    told = []
    while (end := detector(outward(*scores), INNER, final=False)) is None:
        told.append(scores[-1])
        scores.append(-6.0)
    assert end.last == 12
    assert len(scores) == 3, "a clear no ends it at once"
    scores = [6.0, 6.0, 3.0, 3.0]
    assert detector(outward(*scores), INNER, final=False) is None, "a weak no does not"


def test_an_answer_is_due_when_there_are_no_more_slices():
    end = auto()(outward(6, 6), INNER, final=True)
    assert end.last == 12
    assert "last slice" in end.reason


def test_the_prompt_at_the_edge_of_the_volume_is_the_end():
    assert auto()([], INNER, final=True).last == 10


def test_downwards():
    end = auto(0, areas={0: 90.0, 5: 100.0, 10: 80.0})(
        outward(6, 6, 1, 1, start=0, step=-1), INNER, final=True
    )
    assert end.last == -2


def test_empty_slices_speak_against_it_whatever_the_score():
    nothing = [SliceSignals(t, 6.0, empty=True) for t in (11, 12, 13)]
    assert auto()(nothing, INNER, final=True).last == 10


def test_in_doubt_several_painted_slices_end_it_and_one_does_not():
    # a little evidence only, for going on: 2 slices at 0.7 of the usual score
    weak = outward(4.2, 4.2, 0, 0)
    end = auto()(weak, INNER, final=True)
    assert end.last == 10
    assert "mark a slice further out" in end.reason
    assert end_detector(ExtentRule.OPEN, PROMPTED, AREAS, 10)(weak, INNER, final=True).last == 12
    one = end_detector(ExtentRule.AUTO, (10,), {10: 50.0}, 10)
    assert one(outward(6, 4.5, 4.5, 0, 0), [], final=True).last == 13


def test_a_small_cap_needs_more_evidence_to_go_on():
    some = outward(6, 3, 0, 0)
    assert auto()(some, INNER, final=True).last == 11
    assert auto(areas=AREAS | {10: 20.0})(some, INNER, final=True).last == 10


def test_beyond_the_longest_stretch_going_on_has_a_price():
    long = outward(*[5.0] * 30)
    assert auto()(long, INNER, final=True).last == 15
    assert end_detector(ExtentRule.OPEN, PROMPTED, AREAS, 10)(long, INNER, True).last == 40


@pytest.mark.parametrize("stretch", [5, 10, 20])
def test_a_look_alike_beyond_is_not_followed_without_end(stretch):
    prompted = (0, stretch, 2 * stretch)
    outermost = 2 * stretch
    detector = auto(outermost, prompted, dict.fromkeys(prompted, 80.0))
    alike = outward(*[6.0] * 200, start=outermost)
    end = detector(alike, INNER, final=True)
    assert outermost + stretch <= end.last < outermost + 4 * stretch
    assert detector(alike, INNER, final=False) == end, "and it is not tracked to the edge"


def test_without_slices_between_prompts_the_nearest_ones_are_the_measure():
    detector = end_detector(ExtentRule.AUTO, (10, 11), {}, 11)
    assert detector.stretch == 1
    end = ChangePoint(11)(outward(8, 8, 2, 2, start=11), [], final=True)
    assert end.last == 13


def test_scores_below_zero_where_the_object_is_do_not_turn_the_evidence_round():
    inner = [SliceSignals(t, -1.0) for t in range(5, 10)]
    assert auto()(outward(1, 1, -1, -1), inner, final=True).last == 12


@pytest.mark.parametrize(
    ("extent", "wiped", "low", "high"),
    [
        ("auto", (), Limit(0, None), Limit(29, None)),
        ("open", (), Limit(0, None), Limit(29, None)),
        ("whole", (), Limit(0, Rule.VOLUME), Limit(29, Rule.VOLUME)),
        ("painted", (), Limit(5, Rule.PAINTED), Limit(10, Rule.PAINTED)),
        ("3-20", (), Limit(3, Rule.RANGE), Limit(20, Rule.RANGE)),
        ("3-99", (), Limit(3, Rule.RANGE), Limit(29, Rule.RANGE)),
        # the wiped slices nearest to the prompts count; those between prompts do not
        ("auto", (1, 2, 7, 15, 20), Limit(3, Rule.WIPED), Limit(14, Rule.WIPED)),
        ("auto", (4, 11), Limit(5, Rule.WIPED), Limit(10, Rule.WIPED)),
        ("open", (7, 8), Limit(0, None), Limit(29, None)),
        ("3-20", (1, 15), Limit(3, Rule.RANGE), Limit(14, Rule.WIPED)),
        ("painted", (1, 15), Limit(5, Rule.PAINTED), Limit(10, Rule.PAINTED)),
    ],
)
def test_what_the_users_word_leaves_of_the_volume(extent, wiped, low, high):
    assert limits(Extent.parse(extent), (5, 10), wiped, 30) == (low, high)


@pytest.mark.parametrize(("extent", "slice"), [("6-20", "5"), ("0-9", "10")])
def test_a_mark_outside_the_range_is_refused(extent, slice):
    with pytest.raises(BadInput, match=f"slice {slice} is marked"):
        limits(Extent.parse(extent), (5, 10), (), 30)

"""Which painted slices count: every case on sets of numbers, and what holds for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import BadInput
from lib.prompts.corrections import Canvas, Decision, decide

NONE = frozenset()
SLICES = st.frozensets(st.integers(0, 15), max_size=10)


def after_a_run(**more) -> Canvas:
    """Prompts on 2, 5 and 8; the run filled 2 to 8."""
    known = {"painted": set(range(2, 9)), "filled": set(range(2, 9)), "prompted": {2, 5, 8}}
    return Canvas(**{**known, **more})


@pytest.mark.parametrize(
    ("canvas", "choice", "expected"),
    [
        pytest.param(Canvas({1, 4}), "auto", Decision(new={1, 4}), id="first run"),
        pytest.param(after_a_run(), "auto", Decision(kept={2, 5, 8}), id="update, nothing changed"),
        pytest.param(
            after_a_run(differs={4, 5}), "auto", Decision({2, 8}, {4, 5}), id="two corrected"
        ),
        pytest.param(
            after_a_run(painted={2, 3, 4, 5, 8}, differs={6, 7}),
            "auto",
            Decision({2, 5, 8}, NONE, {6, 7}),
            id="tracked ones wiped",
        ),
        pytest.param(
            after_a_run(painted={2, 3, 4, 5, 6, 7}, differs={8}),
            "auto",
            Decision({2, 5}),
            id="a prompt wiped is withdrawn",
        ),
        pytest.param(
            after_a_run(painted={2, 5, 9}, differs={3, 4, 6, 7, 8, 9}),
            "auto",
            Decision(new={2, 5, 9}),
            id="begun anew",
        ),
        pytest.param(after_a_run(), "all", Decision(new=set(range(2, 9))), id="all"),
        pytest.param(after_a_run(), (3, 7), Decision(new={3, 7}), id="listed"),
    ],
)
def test_decisions(canvas, choice, expected):
    assert decide(canvas, choice) == expected


@pytest.mark.parametrize(
    ("canvas", "choice", "sentence"),
    [
        (Canvas({1}), "changed", "no earlier result"),
        (Canvas({1}, filled={1}), "changed", "nothing was painted since"),
        (Canvas({1}), (1, 4, 6), "empty on slice 4"),
    ],
)
def test_what_is_refused(canvas, choice, sentence):
    with pytest.raises(BadInput, match=sentence):
        decide(canvas, choice)


@given(
    painted=SLICES.filter(bool),
    filled=SLICES,
    prompted=SLICES,
    redrawn=SLICES,
    wiped=SLICES,
    choice=st.sampled_from(["auto", "changed", "all"]),
)
def test_no_slice_is_two_things(painted, filled, prompted, redrawn, wiped, choice):
    # what is filled on one side only differs; of what is filled on both, some was redrawn
    differs = (painted ^ filled) | (redrawn & painted & filled)
    canvas = Canvas(painted, filled, prompted & filled, differs, wiped)
    try:
        decision = decide(canvas, choice)
    except BadInput:
        assert choice != "all"
        assert not painted & differs
        return
    prompts = decision.kept | decision.new
    assert prompts
    assert not decision.kept & decision.new
    assert prompts <= painted, "a prompt is painted"
    assert not decision.wiped & painted, "a slice the object is not on is empty"
    assert decision.kept <= prompted
    if choice != "all" and canvas.is_its_result:
        assert painted & differs <= decision.new, "no correction is lost"

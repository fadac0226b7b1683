"""The user's choice of how far an object may reach."""

import pytest

from lib.errors import BadInput
from lib.propagation.extent import Extent, ExtentRule


@pytest.mark.parametrize("text", ["auto", "painted", "open", "whole", "10-40", "0-0"])
def test_round_trip(text):
    assert Extent.parse(text).describe() == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Auto ", Extent()),
        ("10..40", Extent(ExtentRule.RANGE, 10, 40)),
        ("10 : 40", Extent(ExtentRule.RANGE, 10, 40)),
    ],
)
def test_what_people_type(text, expected):
    assert Extent.parse(text) == expected


@pytest.mark.parametrize("text", ["range", "", "40-10", "10-", "-3-4", "wide", "1.5-3"])
def test_nonsense_is_refused(text):
    with pytest.raises(BadInput, match="extent"):
        Extent.parse(text)


def test_rule_and_range_belong_together():
    with pytest.raises(BadInput, match="range"):
        Extent(ExtentRule.OPEN, 1, 2)
    with pytest.raises(BadInput, match="range"):
        Extent(ExtentRule.RANGE)

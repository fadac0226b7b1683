"""The user's choice of how far an object may reach."""

import nibabel as nib
import numpy as np
import pytest

from lib.errors import BadInput
from lib.geometry import Axis, Grid
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


@pytest.mark.parametrize("codes", ["RAS", "LPI", "PIR", "SAL"])
def test_a_range_follows_the_volume_into_another_orientation_and_back(codes):
    ras = Grid((30, 40, 50), np.diag([1.0, 2.0, 3.0, 1.0]))
    image = nib.Nifti1Image(np.zeros(ras.shape), ras.affine)
    to = nib.orientations.ornt_transform(
        nib.io_orientation(ras.affine), nib.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(to)
    other = Grid(turned.shape, turned.affine)
    for axis in Axis:
        extent = Extent(ExtentRule.RANGE, 3, 17)
        there = extent.on(axis, ras, other)
        slices = np.zeros(ras.shape, bool)
        np.moveaxis(slices, ras.dim_of(axis), 0)[3:18] = True
        moved = np.moveaxis(ras.map_to(other).array(slices, other.shape), other.dim_of(axis), 0)
        assert np.flatnonzero(moved.all((1, 2))).tolist() == list(
            range(there.first, there.last + 1)
        )
        assert there.on(axis, other, ras) == extent


def test_a_range_is_cut_off_by_a_crop_and_the_rules_are_not():
    whole = Grid((30, 40, 50), np.eye(4))
    affine = np.eye(4)
    affine[2, 3] = 10
    crop = Grid((30, 40, 20), affine)
    assert Extent.parse("5-15").on(Axis.AXIAL, whole, crop) == Extent.parse("0-5")
    assert Extent.parse("open").on(Axis.AXIAL, whole, crop) == Extent.parse("open")
    with pytest.raises(BadInput, match="widen it"):
        Extent.parse("40-45").on(Axis.AXIAL, whole, crop)
    with pytest.raises(BadInput, match="axial slices 0 to 49"):
        Extent.parse("5-50").on(Axis.AXIAL, whole, crop)

import numpy as np
import pytest

from lib.errors import BadInput
from lib.geometry import Axis, Grid
from tests.geometry.grids import AFFINES, SHAPE, affine_of, random_labels, reoriented, world


class TestAxis:
    @pytest.mark.parametrize("text", ["axial", " Axial ", "AXIAL"])
    def test_parse(self, text):
        assert Axis.parse(text) is Axis.AXIAL

    def test_unknown_lists_the_known(self):
        with pytest.raises(BadInput, match=r"unknown axis 'transverse'.*sagittal, coronal, axial"):
            Axis.parse("transverse")

    @pytest.mark.parametrize("axis", list(Axis))
    def test_dim_in_ras(self, axis):
        assert Grid(SHAPE, np.eye(4)).dim_of(axis) == axis.dim


class TestGrid:
    @pytest.mark.parametrize(
        ("codes", "axial"), [("RAS", 2), ("LPS", 2), ("PIR", 1), ("SLA", 0), ("IPL", 0)]
    )
    @pytest.mark.parametrize("degrees", [(0, 0, 0), (20, -15, 10)])
    def test_axial_dimension(self, codes, axial, degrees):
        grid = Grid(SHAPE, affine_of(codes, (1, 1, 3), degrees=degrees))
        assert grid.dim_of(Axis.AXIAL) == axial
        assert [grid.dim_of(grid.axis_of(d)) for d in range(3)] == [0, 1, 2]

    def test_spacing_of_an_oblique_grid(self):
        grid = Grid(SHAPE, affine_of("PIR", (0.7, 2.5, 1.3), degrees=(10, 20, 30)))
        assert grid.spacing == pytest.approx((0.7, 2.5, 1.3))

    def test_two_dimensions_are_refused(self):
        with pytest.raises(BadInput, match="three dimensions"):
            Grid((4, 4), np.eye(4))

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
    def test_broken_affine_is_refused(self, value):
        affine = np.eye(4)
        affine[1, 1] = value
        with pytest.raises(BadInput, match="singular or not finite"):
            Grid(SHAPE, affine)

    @pytest.mark.parametrize("affine", AFFINES)
    def test_same_as_survives_single_precision(self, affine):
        grid = Grid((512, 512, 300), affine)
        assert grid.same_as(Grid(grid.shape, affine.astype(np.float32)))

    def test_same_as_sees_half_a_voxel(self):
        moved = affine_of("RAS", (1, 1, 4))
        moved[2, 3] += 2
        assert not Grid(SHAPE, affine_of("RAS", (1, 1, 4))).same_as(Grid(SHAPE, moved))

    def test_same_as_sees_a_spacing_that_adds_up(self):
        one, two = (Grid((512, 512, 9), affine_of("RAS", (s, 1, 1))) for s in (1.0, 1.001))
        assert not one.same_as(two)

    def test_same_as_sees_the_shape(self):
        assert not Grid((3, 4, 5), np.eye(4)).same_as(Grid((3, 4, 6), np.eye(4)))


class TestMapTo:
    @pytest.mark.parametrize("affine", AFFINES)
    def test_array_equals_nibabel(self, affine):
        source, labels = Grid(SHAPE, affine), random_labels()
        target, expected = reoriented(source, labels)
        voxels = source.map_to(target)
        np.testing.assert_array_equal(voxels.array(labels, target.shape), expected)
        np.testing.assert_array_equal(target.map_to(source).array(expected, source.shape), labels)

    @pytest.mark.parametrize("affine", AFFINES)
    def test_points_keep_their_place_in_the_world(self, affine):
        source = Grid(SHAPE, affine)
        target, _ = reoriented(source, random_labels())
        ijk = np.array([[0, 0, 0], [3, 1, 2], [13, 10, 8], [2.5, 0.25, 7]])
        moved = source.map_to(target).points(ijk)
        np.testing.assert_allclose(world(target, moved), world(source, ijk), atol=1e-9)

    @pytest.mark.parametrize("affine", AFFINES)
    def test_dim_follows_the_anatomy(self, affine):
        source = Grid(SHAPE, affine)
        target, _ = reoriented(source, random_labels())
        for axis in Axis:
            assert source.map_to(target).dim(source.dim_of(axis)) == target.dim_of(axis)

    def test_crop_and_back_fills_outside(self):
        source, labels = Grid(SHAPE, affine_of("LPS", (1, 2, 3))), random_labels()
        ras, oriented = reoriented(source, labels)
        shifted = ras.affine.copy()
        shifted[:3, 3] = world(ras, [[2, 3, 1]])[0]
        crop = Grid((5, 4, 6), shifted)
        cut = source.map_to(crop).array(labels, crop.shape)
        np.testing.assert_array_equal(cut, oriented[2:7, 3:7, 1:7])
        back = crop.map_to(source).array(cut, source.shape, fill=200)
        _, back_ras = reoriented(source, back)
        np.testing.assert_array_equal(back_ras[2:7, 3:7, 1:7], cut)
        assert (back_ras == 200).sum() == labels.size - cut.size

    def test_disjoint_crop_is_all_fill(self):
        source = Grid((3, 3, 3), np.eye(4))
        far = np.eye(4)
        far[0, 3] = 50
        moved = source.map_to(Grid((3, 3, 3), far)).array(np.ones((3, 3, 3)), (3, 3, 3), fill=7)
        assert (moved == 7).all()

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda a: a @ np.diag([1, 1, 2, 1]), id="other spacing"),
            pytest.param(lambda a: a + half(a), id="half"),
            pytest.param(lambda a: affine_of("RAS", degrees=(5, 0, 0)), id="rotated"),
        ],
    )
    def test_other_grids_are_refused(self, change):
        affine = affine_of("RAS")
        with pytest.raises(BadInput, match="different grids: resample"):
            Grid(SHAPE, affine).map_to(Grid(SHAPE, change(affine)))


def half(affine: np.ndarray) -> np.ndarray:
    """Half a voxel along the first dimension."""
    shift = np.zeros((4, 4))
    shift[:3, 3] = affine[:3, 0] / 2
    return shift


@pytest.mark.parametrize("degrees", [40, 44.9, 45, 45.1, 50, 90, 135])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA"])
def test_axes_of_a_very_oblique_grid_agree_after_reorientation(degrees, codes):
    source = Grid(SHAPE, affine_of(codes, (0.8, 0.8, 2.0), degrees=(degrees, 0, 0)))
    target, _ = reoriented(source, random_labels())
    for axis in Axis:
        assert source.map_to(target).dim(source.dim_of(axis)) == target.dim_of(axis)

import numpy as np
import pytest

from lib.sample import shapes as sdf

SQUARE_PATH = [(-20, 0, 0), (20, 0, 0)]
#: Solid, a point on its surface, the way out of it.
SOLIDS = [
    pytest.param(lambda p: sdf.ball(p, (1, 2, 3), 5), (6, 2, 3), (1, 0, 0), id="ball"),
    pytest.param(lambda p: sdf.ellipsoid(p, (0, 0, 0), (9, 4, 6)), (0, 4, 0), (0, 1, 0), id="egg"),
    pytest.param(lambda p: sdf.box(p, (0, 0, 0), (9, 4, 6), 2), (0, 0, 6), (0, 0, 1), id="box"),
    pytest.param(lambda p: sdf.capsule(p, *SQUARE_PATH, 4), (24, 0, 0), (1, 0, 0), id="rod"),
    pytest.param(lambda p: sdf.tube(p, SQUARE_PATH, 4), (3, 0, -4), (0, 0, -1), id="tube"),
    pytest.param(
        lambda p: sdf.band(p, SQUARE_PATH, 4, 12, (0, 0, 1)), (0, 2, 0), (0, 1, 0), id="band"
    ),
    pytest.param(
        lambda p: sdf.cylinder(p, (0, 0, 0), 5, 8, 1), (0, 5, 2), (0, 1, 0), id="cylinder"
    ),
    pytest.param(
        lambda p: sdf.elliptic_cylinder(p, (0, 0, 0), (9, 5), 8), (9, 0, 2), (1, 0, 0), id="drum"
    ),
    pytest.param(
        lambda p: sdf.ruled_sheet(p, SQUARE_PATH, [(-20, 9, 0), (20, 9, 0)], 3),
        (1, 4, 1.5),
        (0, 0, 1),
        id="sheet",
    ),
]


@pytest.mark.parametrize(("solid", "surface", "outwards"), SOLIDS)
def test_sign_and_distance(solid, surface, outwards):
    for step in (-1.0, 0.0, 0.5, 1.5):
        point = np.array(surface, dtype=float) + step * np.array(outwards)
        assert solid(point) == pytest.approx(step, abs=0.35 * abs(step) + 1e-6)


@pytest.mark.parametrize(("solid", "surface", "outwards"), SOLIDS)
def test_vectorised_and_dtype(solid, surface, outwards):
    points = np.random.default_rng(0).uniform(-30, 30, (4, 5, 3))
    distances = solid(points)
    assert distances.shape == (4, 5)
    assert distances[2, 3] == pytest.approx(solid(points[2, 3]))
    assert solid(points.astype(np.float32)).dtype == np.float32


def test_round_end():
    assert sdf.capsule(np.array([23.0, 4.0, 0.0]), *SQUARE_PATH, 4) == pytest.approx(1.0)


def test_taper():
    ends = sdf.capsule(np.array([[-20.0, 9, 0], [20.0, 9, 0]]), *SQUARE_PATH, 6, 2)
    assert ends.tolist() == [3, 7]


def test_combining():
    a, b = np.array([-1.0, 2.0]), np.array([3.0, -4.0])
    assert sdf.union(a, b).tolist() == [-1, -4]
    assert sdf.intersection(a, b).tolist() == [3, 2]
    assert sdf.subtract(a, b).tolist() == [-1, 4]
    assert (sdf.smooth_union(a, a, 4) == a - 1).all()  # the crease is filled
    assert (sdf.smooth_union(a, b, 1) == sdf.union(a, b)).all()  # far from it nothing changes
    assert (sdf.smooth_subtract(a, b, 1) == sdf.subtract(a, b)).all()


def test_shell_and_coverage():
    depth = np.array([-3.0, -1.0, 0.0, 2.0])
    assert (sdf.shell(depth, 2.0) <= 0).tolist() == [False, True, True, False]
    assert sdf.coverage(depth, 4.0).tolist() == [1, 0.75, 0.5, 0]


def test_placing():
    turn = sdf.rotation(degrees_z=90)
    assert turn @ [1, 0, 0] == pytest.approx([0, 1, 0])
    local = sdf.to_local(np.array([5.0, 6.0, 7.0]), (5, 5, 7), turn)
    assert local == pytest.approx([1, 0, 0])


def test_wrong_paths():
    points = np.zeros((1, 3))
    with pytest.raises(ValueError, match="two points"):
        sdf.tube(points, [(0, 0, 0)], 1)
    with pytest.raises(ValueError, match="equal length"):
        sdf.ruled_sheet(points, SQUARE_PATH, [(0, 0, 0)], 1)

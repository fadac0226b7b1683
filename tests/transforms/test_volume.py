"""Numbers as they are stored give what the whole volume in float32 gave before."""

import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from lib.geometry import Axis, Grid
from lib.transforms.load import load_volume
from lib.transforms.percentiles import percentiles, slabs
from lib.transforms.volume import Volume
from lib.transforms.window import PRESETS, Window, parse_window
from lib.transforms.windowed import Windowed, unlike_ct
from tests.geometry.grids import AFFINES

SHAPE = (24, 21, 17)
NAMES = [*PRESETS, "300,700", "clahe+mr"]


def numbers(dtype, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 700, SHAPE).astype(dtype)
    low = max(-1024, np.iinfo(dtype).min)
    return rng.integers(low, min(3000, np.iinfo(dtype).max), SHAPE).astype(dtype)


def as_before(values: np.ndarray, window: Window) -> np.ndarray:
    """The mathematics of the first versions: all of the volume in float32, then cropped."""
    values = values.astype(np.float32)
    if window.level is not None:
        low, high = window.level - window.width / 2, window.level + window.width / 2
    elif window.percentiles == (0.0, 100.0):
        low, high = float(values.min()), float(values.max())
    else:
        low, high = map(float, np.percentile(values, window.percentiles))
    scaled = np.subtract(values, np.float32(low), dtype=np.float32)
    scaled /= np.float32(high - low)
    return np.clip(scaled, 0, 1)


@pytest.mark.parametrize("affine", AFFINES[:6])
@pytest.mark.parametrize("name", [n for n in NAMES if "clahe" not in n])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_a_part_is_what_the_whole_was(nifti, dtype, name, affine):
    values, window = numbers(dtype), parse_window(name)
    upright = load_volume(nifti(values, affine)).upright()
    expected = Grid(SHAPE, affine).map_to(upright.grid).view(as_before(values, window))
    bounds = np.array([2, 3, 4]), np.array([15, 14, 16])
    part = Windowed(upright, window).part(bounds, Axis.AXIAL)
    np.testing.assert_array_equal(part, expected[2:15, 3:14, 4:16])


@pytest.mark.parametrize("slope", [2.0, 0.37, -1.5])
@pytest.mark.parametrize("name", ["bone", "none", "mr"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
def test_slope_and_intercept(tmp_path, dtype, name, slope):
    image = nib.Nifti1Image(numbers(dtype), np.eye(4))
    image.header.set_slope_inter(slope, -900.0)
    nib.save(image, tmp_path / "ct.nii.gz")
    volume = load_volume(tmp_path / "ct.nii.gz")
    assert volume.stored.dtype == dtype
    values = np.asarray(nib.load(tmp_path / "ct.nii.gz").dataobj).astype(np.float32)
    window = PRESETS[name]
    whole = np.zeros(3, int), np.array(SHAPE)
    part = Windowed(volume, window).part(whole, Axis.AXIAL)
    np.testing.assert_allclose(part, as_before(values, window), atol=2e-6)
    assert volume.extremes == pytest.approx((values.min(), values.max()), abs=1e-3)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("size", [1, 2, 3, 1000, 4321])
def test_counted_percentiles_are_numpys_to_the_last_bit(dtype, size):
    values = numbers(dtype, seed=size).ravel()[:size]
    for wanted in [(0.5, 99.5), (0, 100), (33.3, 50), (12.5, 87.5)]:
        expected = np.percentile(values.astype(np.float32), wanted).tolist()
        assert percentiles(values, wanted) == expected


def test_percentiles_of_a_wide_range():
    values = np.array([-5_000_000, 0, 7, 9_000_000], dtype=np.int32)
    assert percentiles(values, (0, 50, 100)) == [-5_000_000, 3.5, 9_000_000]


@pytest.mark.parametrize("order", ["C", "F"])
def test_slabs_follow_the_memory_and_miss_nothing(order):
    values = np.asarray(numbers(np.int16), order=order)
    for view in (values, values[::-1, :, ::-1], np.transpose(values, (2, 0, 1))):
        parts = list(slabs(view, 500))
        assert len(parts) > 5
        assert all(np.shares_memory(part, values) for part in parts)
        assert sum(int(part.astype(np.int64).sum()) for part in parts) == values.sum(dtype=np.int64)
        spread = [max(p.strides, key=abs) for p in parts]
        assert {abs(s) for s in spread} == {max(map(abs, view.strides))}


@pytest.mark.parametrize(("name", "warns"), [("bone", True), ("mr", False), ("none", False)])
def test_warns_when_a_ct_window_meets_no_ct(name, warns):
    grid = Grid(SHAPE, np.eye(4))
    bright = Volume(numbers(np.int16) + np.int16(1024), grid)
    assert any("Hounsfield" in w for w in unlike_ct(bright, PRESETS[name])) is warns
    assert unlike_ct(Volume(numbers(np.int16), grid), PRESETS[name]) == ()


def test_nothing_but_the_part_becomes_floating_point(nifti):
    path = nifti(np.random.default_rng(0).integers(-1000, 2000, (128, 128, 96), dtype=np.int16))
    size = 128 * 128 * 96 * 2
    tracemalloc.start()
    try:
        upright = load_volume(path).upright()
        assert tracemalloc.get_traced_memory()[1] < 1.1 * size + (4 << 20)  # pieces of the file
        for name in ("bone", "mr", "none"):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            shown = Windowed(upright, PRESETS[name])
            shown.part((np.array([40, 40, 0]), np.array([60, 60, 96])), Axis.AXIAL)
            assert tracemalloc.get_traced_memory()[1] - before < size / 2, name
    finally:
        tracemalloc.stop()

import numpy as np
import pytest

from lib.errors import BadInput
from lib.transforms.window import PRESETS, Window, equalise, parse_window, scale

TEXTS = [*PRESETS, "300,700", "-600,1500.5", "0.125,1e-3", "clahe+lung", "clahe+mr", "clahe+12,34"]


def volume(*values) -> np.ndarray:
    return np.asarray(values, dtype=np.float32).reshape(-1, 1, 1)


class TestParse:
    @pytest.mark.parametrize("text", TEXTS)
    def test_round_trip(self, text):
        window = parse_window(text)
        assert parse_window(window.describe()) == window

    @pytest.mark.parametrize("name", list(PRESETS))
    def test_presets_keep_their_names(self, name):
        assert parse_window(f" {name.upper()} ").describe() == name

    @pytest.mark.parametrize(
        ("text", "name"),
        [("400,1800", "bone"), ("clahe+none", "clahe"), ("clahe+400,1800", "clahe+bone")],
    )
    def test_a_preset_in_other_words(self, text, name):
        assert parse_window(text).describe() == name

    @pytest.mark.parametrize("text", ["bones", "", "400", "1,2,3", "a,b", "bone+clahe", "clahe+"])
    def test_unknown_lists_the_known(self, text):
        with pytest.raises(BadInput, match=r"use bone, soft-tissue, .*clahe\+bone, LEVEL,WIDTH"):
            parse_window(text)

    @pytest.mark.parametrize("text", ["400,0", "400,-5", "nan,5", "400,inf"])
    def test_width_must_be_positive(self, text):
        with pytest.raises(BadInput, match="width must be positive"):
            parse_window(text)


class TestApply:
    @pytest.mark.parametrize(
        ("name", "low", "high"),
        [
            ("bone", -500, 1300),
            ("soft-tissue", -160, 240),
            ("lung", -1350, 150),
            ("brain", 0, 80),
            ("10,4", 8, 12),
        ],
    )
    def test_limits(self, name, low, high):
        quarter = low + (high - low) / 4
        out = parse_window(name).apply(volume(-5000, low, quarter, high, 5000))
        np.testing.assert_allclose(out.ravel(), [0, 0, 0.25, 1, 1], atol=1e-6)
        assert out.dtype == np.float32

    def test_none_is_minimum_to_maximum(self):
        out = parse_window("none").apply(volume(-20, 0, 60))
        np.testing.assert_allclose(out.ravel(), [0, 0.25, 1])

    def test_mr_leaves_out_the_tails(self):
        values = np.arange(2001, dtype=np.float32).reshape(-1, 1, 1)
        values[-1] = 1e6  # a bright vessel
        out = parse_window("mr").apply(values)
        assert out[1000, 0, 0] == pytest.approx(0.5, abs=1e-3)
        assert (out[:10] == 0).all()

    def test_mr_of_nearly_constant_values(self):
        values = np.zeros((100, 100, 1), np.float32)
        values[0, 0] = 1
        with pytest.raises(BadInput, match="nearly all voxels have the value 0"):
            parse_window("mr").apply(values)

    def test_input_is_left_alone(self):
        values = volume(-20, 0, 60)
        before = values.copy()
        for name in PRESETS:
            parse_window(name).apply(values)
        np.testing.assert_array_equal(values, before)

    def test_not_in_eight_bit(self):
        ramp = np.linspace(-500, 1300, 5000, dtype=np.float32).reshape(-1, 1, 1)
        assert len(np.unique(parse_window("bone").apply(ramp))) == 5000


class TestClahe:
    @pytest.fixture
    def scene(self):
        """Faint texture beside something bright, and an empty slice."""
        rng = np.random.default_rng(0)
        values = np.full((64, 64, 4), 100.0, np.float32)
        values += rng.normal(0, 8, values.shape).astype(np.float32)
        values[40:, 40:] += 900
        values[:, :, 3] = -1000
        return values

    @pytest.mark.parametrize("name", ["clahe", "clahe+bone", "clahe+soft-tissue"])
    def test_range_and_local_contrast(self, scene, name):
        out = parse_window(name).apply(scene)
        plain = parse_window(name.replace("clahe+", "") if "+" in name else "none").apply(scene)
        assert out.dtype == np.float32
        assert 0 <= out.min() <= out.max() <= 1
        corner = np.s_[:24, :24, :3]
        assert out[corner].std() > 2 * plain[corner].std()

    def test_empty_slice_stays_empty(self, scene):
        out = parse_window("clahe").apply(scene)
        assert np.isfinite(out).all()
        assert (out[:, :, 3] == 0).all()

    def test_slices_do_not_see_each_other(self, scene):
        window = Window(400, 1800, clahe=True)
        whole = window.apply(scene)
        alone = window.apply(scene[:, :, 1:2])
        np.testing.assert_array_equal(whole[:, :, 1:2], alone)

    def test_along_another_dimension(self, scene):
        window = Window(400, 1800, clahe=True)
        turned = scale(np.moveaxis(scene, 2, 0), window.limits(scene))
        equalise(turned, 0)
        np.testing.assert_array_equal(np.moveaxis(turned, 0, 2), window.apply(scene))

    def test_more_than_256_grey_levels(self):
        ramp = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64, 1)
        assert len(np.unique(parse_window("clahe").apply(ramp))) > 1000

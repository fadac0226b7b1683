"""Slices are encoded once, the store is bounded, and keys tell different videos apart."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.geometry import Axis, Grid
from lib.propagation.features import FeatureBank, SliceEncoder, SliceFeatures
from lib.propagation.video import PseudoVideo


def fake(floats=256):
    """Features of 4·`floats` bytes."""
    return SliceFeatures((torch.zeros(1, floats, 1, 1),), torch.zeros(()))


@pytest.fixture
def video(volume, grid, predictor):
    return PseudoVideo(volume, grid, Axis.AXIAL, predictor.image_size)


def encoder(predictor, video, bank=None, checkpoint="a", batch=1):
    return SliceEncoder(predictor, video, bank or FeatureBank(), checkpoint, batch)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.levels, b.levels, strict=True))


def test_a_slice_is_encoded_once(predictor, video):
    bank = FeatureBank()
    first = encoder(predictor, video, bank)
    ahead = [first(t) for t in range(4)]
    again = [first(t) for t in range(4)]
    assert first.encoded == 4
    second = encoder(predictor, video, bank)
    assert all(same(ahead[t], again[t]) and same(ahead[t], second(t)) for t in range(4))
    assert second.encoded == 0


def test_features_are_those_of_the_network(predictor, video):
    """What comes out of the bank is what stock SAM 2 computes of the frame."""
    with torch.inference_mode():
        out = predictor.forward_image(video.image(3)[None])
    expected = SliceFeatures(tuple(out["backbone_fpn"]), out["vision_pos_enc"][-1])
    subject = encoder(predictor, video)
    for _ in ("fresh", "held"):
        got = subject(3)
        assert same(got, expected)
        assert torch.equal(got.position, expected.position)


@pytest.mark.parametrize("batch", [3, 5])
def test_features_do_not_depend_on_the_first_slice_asked_for(predictor, video, batch):
    """Batches lie on a fixed raster; a batch of another make-up may round differently."""
    upwards, downwards = (encoder(predictor, video, batch=batch) for _ in range(2))
    forward = {t: upwards(t) for t in range(24)}
    backward = {t: downwards(t) for t in reversed(range(24))}
    assert upwards.encoded == downwards.encoded == 24
    assert all(same(forward[t], backward[t]) for t in range(24))
    one = encoder(predictor, video)
    assert all(
        torch.allclose(a, b, atol=1e-4)
        for t in (0, 7, 23)
        for a, b in zip(forward[t].levels, one(t).levels, strict=True)
    )


def test_the_bank_never_grows_above_its_bound(predictor, video):
    size = encoder(predictor, video)._encode(0).num_bytes
    bank = FeatureBank(max_bytes=3 * size + size // 2)
    subject = encoder(predictor, video, bank)
    for t in (*range(12), *range(11, -1, -1)):
        subject(t)
        assert bank.num_bytes <= bank.max_bytes
        assert bank.num_bytes == sum(f.num_bytes for f in bank._held._held.values())
    assert bank.num_bytes == 3 * size
    # forwards 12; backwards the last three are still there
    assert subject.encoded == 12 + 9


def test_the_least_recently_used_goes_first():
    bank = FeatureBank(max_bytes=3 * 1024)
    for t in range(3):
        bank.put("v", t, fake())
    assert bank.get("v", 0) is not None
    bank.put("v", 3, fake())
    assert bank.get("v", 1) is None
    assert all(bank.get("v", t) is not None for t in (0, 2, 3))


def test_replacing_counts_once_and_clearing_empties():
    bank = FeatureBank(max_bytes=4096)
    bank.put("v", 0, fake())
    bank.put("v", 0, fake(512))
    assert bank.num_bytes == 2048
    bank.clear()
    assert bank.num_bytes == 0
    assert bank.get("v", 0) is None


def test_a_bound_below_one_slice_keeps_the_slice_in_use():
    """Or every object on a slice would encode it again."""
    bank = FeatureBank(max_bytes=10)
    for t in range(3):
        bank.put("v", t, fake())
    assert bank.num_bytes == 1024
    assert bank.get("v", 2) is not None


def test_a_small_bank_with_batches_is_still_right(predictor, video):
    """A batch larger than the bank: the slice asked for is returned all the same."""
    roomy = encoder(predictor, video, batch=4)
    tight = encoder(predictor, video, FeatureBank(max_bytes=1), batch=4)
    assert all(same(roomy(t), tight(t)) for t in (0, 1, 7, 6))


def test_the_key_tells_videos_apart(predictor, video, grid):
    key = encoder(predictor, video).key
    brighter = video.volume.copy()
    brighter[3, 4, 5] += 1e-4
    thicker = Grid(grid.shape, grid.affine @ np.diag([1, 1, 2, 1]))
    square = np.ascontiguousarray(video.volume[:24, :24, :24])
    other = {
        "content": encoder(predictor, replace(video, volume=brighter)),
        "axis": encoder(predictor, replace(video, axis=Axis.CORONAL)),
        "spacing": encoder(predictor, replace(video, grid=thicker)),
        "size": encoder(predictor, replace(video, image_size=64)),
        "crop": encoder(predictor, replace(video, volume=square)),
        "checkpoint": encoder(predictor, video, checkpoint="b"),
        "batch": encoder(predictor, video, batch=2),
    }
    keys = {name: e.key for name, e in other.items()}
    assert len({key, *keys.values()}) == 1 + len(keys)
    assert encoder(predictor, replace(video, volume=video.volume.copy())).key == key


def test_axes_do_not_share_features(predictor):
    """A cube looks the same in size from every side; its slices do not."""
    noise = np.random.default_rng(2).random((12, 12, 12)).astype(np.float32)
    cube = Grid(noise.shape, np.eye(4))
    bank = FeatureBank()
    seen = []
    for axis in Axis:
        subject = encoder(predictor, PseudoVideo(noise, cube, axis, predictor.image_size), bank)
        seen.append(subject(4))
        assert subject.encoded == 1
    assert not same(seen[0], seen[1])
    assert not same(seen[1], seen[2])


def test_threads_do_not_corrupt_the_count():
    bank = FeatureBank(max_bytes=20 * 1024)
    wrong = []

    def work(seed):
        chance = np.random.default_rng(seed)
        for _ in range(400):
            t = int(chance.integers(60))
            if chance.random() < 0.5:
                bank.put("v", t, fake(int(chance.integers(1, 512))))
            elif (held := bank.get("v", t)) is not None and not held.levels:
                wrong.append(t)
            if bank.num_bytes > bank.max_bytes + 8 * 2048:
                wrong.append("too much")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert bank.num_bytes == sum(f.num_bytes for f in bank._held._held.values()) <= bank.max_bytes

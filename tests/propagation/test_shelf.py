"""Encoded slices outlive the process, within a bound, and damage costs only time."""

import logging
import os

import pytest
import torch

from lib.engine.disk import DiskCache
from lib.geometry import Axis
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.video import PseudoVideo

KB = 1 << 10


def tensors(value, floats=KB):
    return {"a": torch.full((floats,), float(value))}


@pytest.fixture
def video(volume, grid, predictor):
    return PseudoVideo(volume, grid, Axis.AXIAL, predictor.image_size)


def test_another_process_finds_what_was_kept(tmp_path):
    DiskCache(tmp_path, 100 * KB).put("x", tensors(3))
    found = DiskCache(tmp_path, 100 * KB).get("x")
    assert torch.equal(found["a"], tensors(3)["a"])
    assert DiskCache(tmp_path, 100 * KB).get("y") is None


def test_a_bank_from_disk_encodes_nothing_and_says_the_same(tmp_path, predictor, video):
    first = SliceEncoder(predictor, video, FeatureBank(disk=DiskCache(tmp_path, 1 << 30)), "a")
    again = SliceEncoder(predictor, video, FeatureBank(disk=DiskCache(tmp_path, 1 << 30)), "a")
    for t in (3, 7):
        fresh, kept = first(t), again(t)
        assert all(torch.equal(a, b) for a, b in zip(fresh.levels, kept.levels, strict=True))
        assert torch.equal(fresh.position, kept.position)
    assert (first.encoded, again.encoded) == (2, 0)
    other = SliceEncoder(predictor, video, again.bank, "other weights")
    other(3)
    assert other.encoded == 1


def test_the_least_recently_read_make_room(tmp_path):
    cache = DiskCache(tmp_path, 15 * KB)  # three of four and some
    for n, name in enumerate("abc"):
        cache.put(name, tensors(n))
        os.utime(tmp_path / f"{name}.safetensors", (n, n))
    assert cache.get("a") is not None  # read just now
    cache.put("d", tensors(3))
    assert {p.stem for p in tmp_path.iterdir()} == {"a", "c", "d"}
    assert cache.num_bytes == sum(p.stat().st_size for p in tmp_path.iterdir()) <= 15 * KB


def test_what_is_larger_than_the_bound_is_not_kept(tmp_path):
    cache = DiskCache(tmp_path, 2 * KB)
    cache.put("a", tensors(1))
    assert cache.get("a") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not tensors at all", b"\x08" + b"\0" * 40])
def test_a_damaged_file_is_said_and_removed(tmp_path, caplog, content):
    cache = DiskCache(tmp_path, 100 * KB)
    cache.put("a", tensors(1))
    (tmp_path / "a.safetensors").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert cache.get("a") is None
    assert "cannot be read and are removed" in caplog.text
    assert list(tmp_path.iterdir()) == []
    cache.put("a", tensors(1))
    assert cache.get("a") is not None

"""Random weights of the built-in architecture, and a small volume to track through."""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmarks.stock import see_objects
from lib.geometry import Axis, Grid
from lib.models.build import build_network, read_config
from lib.models.registry import BUILTIN, resolve
from lib.prompts.types import Mask, PromptSet
from lib.propagation.conditioning import condition
from lib.propagation.predictor import Decoded
from lib.propagation.stretches import stretches
from lib.propagation.tracking import LockStep, Track

SLICES = 24


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """The network is too small to share out: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_config():
    """The built-in architecture at a power of two, so that scaling clicks to and fro is exact."""
    config = read_config(resolve(BUILTIN))
    config.image_size = 128
    return config


@pytest.fixture(scope="session")
def predictor():
    return see_objects(build_network(small_config(), seed=1))


@pytest.fixture(scope="session")
def grid():
    return Grid((40, 40, SLICES), np.diag([1.5, 1.5, 3.0, 1.0]))


@pytest.fixture(scope="session")
def volume(grid):
    noise = np.random.default_rng(0).normal(size=grid.shape)
    smooth = ndimage.gaussian_filter(noise, 3)
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


def disc(object_id, index, centre=(18, 20), radius=7, axis=Axis.AXIAL, shape=(40, 40)):
    """A painted disc on one slice."""
    rows, columns = np.indices(shape)
    inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
    return Mask(axis, index, object_id, inside)


@pytest.fixture
def three_prompts(grid):
    return PromptSet(grid, tuple(disc(1, t, (16 + t // 4, 20)) for t in (0, 12, 23)))


@contextmanager
def heard(predictor):
    """Gathers what the network says of each slice (or batch) before it is remembered."""
    said, memorise = [], predictor.memorise

    def listen(top, decoded, *, drawn):
        said.append(decoded)
        return memorise(top, decoded, drawn=drawn)

    predictor.memorise = listen
    try:
        yield said
    finally:
        del predictor.memorise


@dataclass
class Pass:
    """One object, one direction, one stretch: what was said by slice, and the track."""

    said: dict[int, Decoded]
    track: Track


def run_pass(
    encoder, prompts, policy, *, reverse=False, start=None, carried=None, taken=None, rows=1
):
    """A whole pass through the engine's own loop."""
    length = len(encoder.video)
    with heard(encoder.predictor) as said:
        conditioning = condition(encoder, prompts)
        prompted = dict(zip(conditioning.prompted, said, strict=True))
        limit = 0 if reverse else length - 1
        (stretch,) = stretches(conditioning.prompted, limit, reverse=reverse, start=start)
        track = Track(stretch, conditioning, policy, length, carried)
        said.clear()
        LockStep(encoder, rows, taken).run([track], outward=True)
        tracked = dict(zip(stretch.slices, said, strict=True))
    order = range(stretch.start, -1, -1) if reverse else range(stretch.start, length)
    return Pass({t: (prompted | tracked)[t] for t in order}, track)

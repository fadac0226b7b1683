"""The way to a GPU and back: nothing in the loop waits for it, and the result is the same.

No GPU is here. Torch's "meta" device stands for one that refuses to be read: it has shapes and no
values, so reading a number or copying from it is an error. A lane on the CPU with the GPU's lag
shows that late reading changes nothing. Streams, events and pinned memory are stood in for, in the
order in which they are used.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from lib.geometry import Axis
from lib.models.build import build_network
from lib.models.precision import Numerics, put_to_work
from lib.prompts.types import PromptSet
from lib.propagation import lanes
from lib.propagation.conditioning import Conditioning, PromptedSlice, condition
from lib.propagation.extent import Extent
from lib.propagation.features import FeatureBank, SliceEncoder
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.kept import Store
from lib.propagation.lanes import GpuLane, Lane
from lib.propagation.memory import Remembered
from lib.propagation.policy import PRESETS
from lib.propagation.settings import Propagation, PropagationSettings
from lib.propagation.stretches import stretches
from lib.propagation.tracking import LockStep, Track
from lib.propagation.video import PseudoVideo
from tests.propagation.conftest import SLICES, disc, see_objects, small_config

META = torch.device("meta")


class Late(Lane):
    """A CPU that is read as late as a GPU; remembers how far tracking was at each reading."""

    def __init__(self, lag):
        super().__init__(torch.device("cpu"))
        self.lag = lag
        self.given, self.read = 0, []

    def fetch(self, tensor):
        number = self.given = self.given + 1
        values = tensor.clone()

        def numbers():
            self.read.append(self.given - number)
            return values.tolist()

        return numbers


@pytest.fixture
def video(volume, grid, predictor):
    return PseudoVideo(volume, grid, Axis.AXIAL, predictor.image_size)


@pytest.fixture(scope="module")
def on_meta():
    with torch.device("cpu"):
        network = build_network(small_config()).to(META)
    put_to_work(network, Numerics("bf16", "a test"))
    return network


def unreadable(network, prompted):
    """Prompted slices whose memories are on a device that cannot be read."""
    side = network.image_size // 16
    slices = {
        t: PromptedSlice(
            memory=Remembered(
                torch.zeros(1, network.mem_dim, side, side, device=META, dtype=torch.bfloat16),
                torch.zeros(1, network.hidden_dim, device=META),
            ),
            voxels=np.zeros((40, 40), np.float16),
            predicted_iou=1.0,
            object_score=10.0,
            digest=str(t),
        )
        for t in prompted
    }
    return Conditioning(slices, {}, {})


@pytest.mark.parametrize("name", ["baseline", "is+sps+stretches", "stride4"])
@pytest.mark.parametrize("taken", [False, True])
def test_tracking_reads_nothing_from_the_device(on_meta, video, grid, name, taken):
    conditioning = unreadable(on_meta, (2, 12))
    policy = PRESETS[name]
    parts = stretches((2, 12), SLICES - 1, reverse=False, independent=policy.independent)
    tracks = [Track(part, conditioning, policy, SLICES) for part in parts]
    foreign = np.ones(grid.shape, bool) if taken else None
    encoder = SliceEncoder(on_meta, video, FeatureBank(), "test", 8)
    LockStep(encoder, 2, foreign).run(tracks, outward=True)
    assert [t.left for t in tracks] == [0] * len(tracks)
    with pytest.raises((NotImplementedError, RuntimeError)):
        tracks[0].tracked()  # all of it is copied here, at once, and this device refuses


def test_a_policy_that_ranks_by_confidence_reads_and_is_the_only_one(on_meta, video):
    conditioning = unreadable(on_meta, (2,))
    (stretch,) = stretches((2,), 9, reverse=False)
    encoder = SliceEncoder(on_meta, video, FeatureBank(), "test", 8)
    with pytest.raises((NotImplementedError, RuntimeError)):
        LockStep(encoder).run(
            [Track(stretch, conditioning, PRESETS["gate3"], SLICES)], outward=True
        )


@pytest.mark.parametrize("last", [7, 12, 17, SLICES])
def test_an_end_that_is_read_late_is_the_same_end(predictor, video, last):
    said = {}
    for lag in (0, 8):
        encoder = SliceEncoder(predictor, video, FeatureBank(), "test")
        encoder.lane = lane = Late(lag)
        (stretch,) = stretches((5,), SLICES - 1, reverse=False)
        track = Track(stretch, condition(encoder, [disc(1, 5)]), PRESETS["is+sps"], SLICES)
        track.goes_on = lambda signals: signals.t < last
        LockStep(encoder).run([track], outward=True)
        said[lag] = track.tracked()
        assert said[lag].slices == tuple(range(6, min(last, SLICES - 1) + 1))
        assert set(track.recollection().memories) <= set(said[lag].slices)
        tracked_beyond = lane.given - len(said[lag].slices)
        assert tracked_beyond == min(lag, SLICES - 1 - min(last, SLICES - 1))
        # late enough that the device is past it, but for the last ones of the volume
        early = [late for late in lane.read if late < lag]
        assert len(early) <= (lag if last > SLICES - 1 - lag else 0)
    assert np.array_equal(said[0].voxels, said[8].voxels)
    assert np.array_equal(said[0].object_score, said[8].object_score)


@pytest.mark.parametrize("way", [Propagation.SINGLE, Propagation.FORWARD_BACKWARD])
def test_a_whole_request_with_a_lag_says_the_same(monkeypatch, predictor, volume, grid, way):
    prompts = PromptSet(grid, (disc(1, 9), disc(1, 14), disc(2, 10, (28, 12), 4)))
    settings = PropagationSettings(propagation=way, extent=Extent.parse("open"))
    results = []
    for lane in (Lane(torch.device("cpu")), Late(8)):
        monkeypatch.setattr("lib.propagation.features.lane_of", lambda _device, lane=lane: lane)
        infer = PseudoVideoInferer(predictor, "test", FeatureBank(), rows=4, store=Store())
        results.append(infer(volume, prompts, settings))
    at_once, late = results
    assert at_once.ends == late.ends
    assert at_once.slices == late.slices
    assert all(np.array_equal(at_once.logits[i], late.logits[i]) for i in (1, 2))


class Gpu:
    """Stands for streams, events and pinned memory; keeps a log of what happens in which stream."""

    def __init__(self, monkeypatch):
        gpu = self
        self.log, self.stream, self.events = [], "main", 0

        class Stream:
            def __init__(self, name="side"):
                self.name = name

            def wait_stream(self, other):
                gpu.log.append(f"{self.name} waits for all of {other.name}")

            def wait_event(self, event):
                gpu.log.append(f"{self.name} waits for {event.name}")

        class Event:
            def __init__(self):
                gpu.events += 1
                self.name = f"event {gpu.events}"

            def record(self):
                gpu.log.append(f"{self.name} in {gpu.stream}")

            def synchronize(self):
                gpu.log.append(f"host waits for {self.name}")

        @contextmanager
        def within(stream):
            gpu.stream = stream.name
            yield
            gpu.stream = "main"

        monkeypatch.setattr(torch.cuda, "Stream", lambda _device: Stream())
        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "stream", within)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream(gpu.stream))
        monkeypatch.setattr(lanes, "pinned", lambda tensor: tensor)
        monkeypatch.setattr(
            torch.Tensor, "record_stream", lambda _self, s: gpu.log.append(f"kept for {s.name}")
        )
        self.lane = GpuLane(torch.device("cpu"))
        monkeypatch.setattr("lib.propagation.features.lane_of", lambda _device: self.lane)


def test_two_buffers_take_turns(monkeypatch):
    gpu = Gpu(monkeypatch)
    for value in range(4):
        frames = [torch.full((1, 2, 2), float(value))] * 3
        assert gpu.lane.upload(frames).eq(value).all()
    waits = [line for line in gpu.log if line.startswith("host")]
    assert waits == [f"host waits for event {n}" for n in (1, 2, 1, 2)]
    first = gpu.log.index("event 1 in main")
    assert gpu.log.index("host waits for event 1", first) > gpu.log.index("event 2 in main")


def test_slices_are_encoded_ahead_in_their_own_stream_and_waited_for_there(
    monkeypatch, predictor, video
):
    gpu = Gpu(monkeypatch)
    where = []
    encode = predictor.forward_image

    def watched(images):
        where.append((gpu.stream, tuple(images.shape)))
        return encode(images)

    monkeypatch.setattr(predictor, "forward_image", watched)
    encoder = SliceEncoder(predictor, video, FeatureBank(), "test", 5)
    assert gpu.log == ["side waits for all of main"]
    encoder.ahead(7)
    encoder.ahead(9)  # of the same batch
    assert where == [("side", (5, 3, 128, 128))]
    gpu.log.clear()
    features = encoder(7)
    assert len(where) == 1
    (wait, *kept) = gpu.log
    assert wait.startswith("main waits for event")
    assert kept == ["kept for main"] * 4
    encoder(23)  # the last batch has 4 slices and is filled up
    assert where[-1] == ("side", (5, 3, 128, 128))
    plain = SliceEncoder(predictor, video, FeatureBank(), "other", 5)
    plain.lane = Lane(torch.device("cpu"))
    for ours, theirs in zip(features.levels, plain(7).levels, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)


def test_tracking_asks_for_the_next_batch_before_it_needs_it(monkeypatch, predictor, video):
    gpu = Gpu(monkeypatch)
    encoder = SliceEncoder(predictor, video, FeatureBank(), "test", 4)
    asked, order = [], []
    ahead = encoder.ahead
    monkeypatch.setattr(encoder, "ahead", lambda t: (asked.append(t), ahead(t)))
    images = encoder._images
    monkeypatch.setattr(encoder, "_images", lambda s: (order.append(s.start), images(s))[1])
    (stretch,) = stretches((0,), SLICES - 1, reverse=False)
    track = Track(stretch, condition(encoder, [disc(1, 0)]), PRESETS["is+sps"], SLICES)
    stepped = []
    lock = LockStep(encoder, advanced=lambda t: stepped.append((t.next, list(order))))
    lock.run([track], outward=True)
    assert order == sorted(set(order)) == list(range(0, SLICES, 4))
    # when a slice was tracked, the batch of the slice after the next was already on its way
    assert all(n - n % 4 in known for n, known in stepped if n is not None and n > 4)
    assert asked == list(range(6, SLICES))
    assert not [line for line in gpu.log if line.startswith("host") and "event 1 " in line]


def test_a_request_on_a_gpu_says_the_same(monkeypatch, predictor, volume, grid):
    prompts = PromptSet(grid, (disc(1, 3), disc(1, 12)))
    settings = PropagationSettings(extent=Extent.parse("open"))
    plain = PseudoVideoInferer(predictor, "test", FeatureBank())(volume, prompts, settings)
    Gpu(monkeypatch)
    infer = PseudoVideoInferer(predictor, "test", FeatureBank(), 5)
    found = infer(volume, prompts, settings)
    assert [e.last for e in found.ends] == [e.last for e in plain.ends]
    apart = np.abs(found.logits[1].astype(np.float32) - plain.logits[1])
    assert apart[np.abs(plain.logits[1]) < 500].max() < 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="streams of a GPU, and there is none")
def test_streams_of_a_gpu_say_the_same(volume, grid):
    device = torch.device("cuda", 0)
    prompts = PromptSet(grid, (disc(1, 3), disc(1, 12)))
    settings = PropagationSettings(extent=Extent.parse("open"))
    found = {}
    for where in (torch.device("cpu"), device):
        network = see_objects(build_network(small_config(), seed=1)).to(where)
        found[where] = PseudoVideoInferer(network, "test")(volume, prompts, settings)
    apart = np.abs(
        found[device].logits[1].astype(np.float32) - found[torch.device("cpu")].logits[1]
    )
    assert np.median(apart) < 0.05

"""Training: batches that depend on seed and step only, steps that learn, runs that resume."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.propagation.policy import MemoryPolicy
from tools.train_builtin import CLICKED, Trainer, write_phantom
from tools.training.curriculum import CURRICULUM, Phase, learning_rate, phase_at, total_steps
from tools.training.export import export
from tools.training.losses import frame_loss, iou
from tools.training.network import build, multiplied_attention
from tools.training.run import run_sequence
from tools.training.sequences import Sequences, Volume, cut, place
from tools.training.timeline import Timeline, draw_timeline

TINY = (
    Phase("tiny", 3, (1e-4, 1e-4), batch=2, objects=2, tracked=1, slices=(8, 10), image_size=64),
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    return [write_phantom(seed, folder) for seed in (3, 7)]


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_schedule_is_found_by_step():
    assert phase_at(0) == (CURRICULUM[0], 0)
    assert phase_at(CURRICULUM[0].steps) == (CURRICULUM[1], 0)
    assert phase_at(total_steps() - 1)[0] is CURRICULUM[-1]
    with pytest.raises(IndexError):
        phase_at(total_steps())
    assert learning_rate(0) < learning_rate(100)
    assert learning_rate(total_steps() - 1) < learning_rate(1000)


@pytest.mark.parametrize("phase", CURRICULUM, ids=lambda p: p.name)
def test_timelines_are_sound(phase):
    rng = np.random.default_rng(0)
    for _ in range(200):
        line = draw_timeline(rng, phase)
        assert 1 <= len(line.tracked) <= phase.tracked
        assert len(set(line.frames)) == len(line.frames)
        assert all(0 <= t < line.length for t in line.prompted)
        assert all(line.prompted[0] < t < line.tracked[0] for t in line.history)


def test_the_last_phases_run_past_the_end_of_the_object():
    rng = np.random.default_rng(0)
    lines = [draw_timeline(rng, CURRICULUM[-1]) for _ in range(400)]
    past = [line for line in lines if line.beyond]
    assert 0.3 < len(past) / len(lines) < 0.6
    assert any(min(line.tracked) < line.length for line in past)  # across the end
    assert any(min(line.tracked) > line.length for line in past)  # well beyond it
    assert any(max(line.history, default=0) >= line.length for line in past)
    assert any(line.prompted[-1] < line.length - 1 for line in past)  # inner prompts
    assert any(line.prompted[-1] == line.length - 1 for line in past)  # the end is painted


def test_what_is_remembered_is_the_served_plan():
    rng = np.random.default_rng(0)
    policies = set()
    for _ in range(300):
        line = draw_timeline(rng, CURRICULUM[-1])
        policies.add((line.policy.independent, line.policy.bracket))
        first = line.tracked[0]
        everything = [t for t in range(line.prompted[0] + 1, first) if t not in line.prompted]
        served = line.plan(first, everything)
        assert line.plan(first, line.history).memories == served.memories
        if line.policy.independent:
            wall = max(c for c in line.prompted if c < first)
            assert all(t > wall for t in line.history if t < first)
        if line.policy.bracket:
            assert sum(m.conditioning for m in served.memories) <= 2
    assert policies == {(a, b) for a in (False, True) for b in (False, True)}


def tower() -> Volume:
    """Three boxes of labels 1 to 3, one above the other, 8 slices each, 4 slices apart."""
    labels = np.zeros((40, 40, 32), np.uint8)
    for k in range(3):
        labels[12:28, 12:28, k * 12 : k * 12 + 8] = k + 1
    boxes = {k + 1: (*2 * (slice(12, 28),), slice(k * 12, k * 12 + 8)) for k in range(3)}
    hu = np.where(labels > 0, 600, 40).astype(np.int16)
    return Volume(hu, labels, np.array([1.0, 1.0, 1.0]), boxes)


BEYOND = Timeline(8, (2, 4), (), (7, 8, 9, 10, 12, 14), MemoryPolicy())


def test_objects_are_shown_where_the_volume_goes_on_beyond_their_end():
    rng, volume = np.random.default_rng(0), tower()
    seen = set()
    for _ in range(100):
        label, depth = place(rng, volume, BEYOND, 2)
        seen.add((label, bool(depth[-1] > depth[0])))
        assert 0 <= depth.min() <= depth.max() <= 31
    # the outer boxes are left inwards only, the middle one both ways
    assert seen == {(1, True), (2, True), (2, False), (3, False)}
    alone = Volume(volume.hu, volume.labels, volume.spacing, {3: volume.boxes[3]})
    far = Timeline(8, (4,), (), (40,), MemoryPolicy())
    assert place(rng, alone, far, 2) is None


def test_beyond_its_end_the_object_is_absent_and_its_neighbour_in_the_picture():
    volume, cuts = tower(), []
    rng = np.random.default_rng(0)
    while len(cuts) < 20:
        pair = cut(rng, volume, BEYOND, 64, 1)
        if pair is not None:
            cuts.append(pair)
    along_z = 0
    for image, masks in cuts:
        assert masks[:3].flatten(1).any(dim=1).all()  # both prompts, the object's last slice
        assert not masks[3:].any()
        inside = image[:2][masks[:2, 0] > 0].mean()
        beyond = image[-1][masks[0, 0] > 0].mean()  # four slices on the next box begins
        along_z += bool((beyond - inside).abs() < 0.05)
    assert along_z > 10


def test_multiplied_attention_is_attention():
    torch.manual_seed(0)
    parts = [torch.randn(2, 3, n, 8, requires_grad=True) for n in (5, 7, 7)]

    def taught() -> list[torch.Tensor]:
        out = torch.nn.functional.scaled_dot_product_attention(*parts)
        return [out, *torch.autograd.grad(out.square().sum(), parts)]

    stock = taught()
    with multiplied_attention():
        ours = taught()
    for a, b in zip(stock, ours, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_a_run_goes_on_from_a_shipped_checkpoint(tmp_path):
    before = Trainer("cpu", TINY)
    export(before.average, tmp_path / "shipped.safetensors", {"steps": "2"})
    after = Trainer("cpu", TINY, seed=1)
    after.begin(tmp_path / "shipped.safetensors")
    assert after.step == 2
    for key, value in before.average.items():
        assert torch.allclose(after.model.state_dict()[key], value, atol=2e-3), key
        assert torch.equal(after.average[key], after.model.state_dict()[key]), key


def test_a_batch_depends_on_seed_and_step_only(paths):
    first, again = (Sequences(paths, 5, TINY)[1] for _ in range(2))
    assert first.timeline == again.timeline
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    frames = len(first.timeline.frames)
    assert first.images.shape == (frames, 1, 3, 64, 64)
    assert first.masks.shape == (frames, 2, 1, 64, 64)
    assert set(first.masks.unique().tolist()) <= {0.0, 1.0}
    assert first.masks[0, 0].any()  # the prompted slice shows the object
    assert not torch.equal(first.images, Sequences(paths, 6, TINY)[1].images[:frames])


def test_losses_reward_the_right_mask():
    target = torch.zeros(2, 1, 32, 32)
    target[0, :, 8:24, 8:24] = 1  # the second slice does not show the object
    right = torch.nn.functional.avg_pool2d(target, 4) * 20 - 10
    wrong = -right
    candidates = torch.cat([right, wrong, wrong], dim=1)
    truth = iou(torch.nn.functional.interpolate(candidates, 32), target)
    assert truth[0].tolist() == pytest.approx([1, 0, 0], abs=0.02)
    scores = torch.tensor([[5.0], [-5.0]])
    good, figures = frame_loss((candidates, truth, None, scores), target)
    bad, _ = frame_loss((wrong.expand(-1, 3, -1, -1), truth, None, -scores), target)
    assert good < bad
    assert figures["dice"] == pytest.approx(1, abs=0.02)
    assert figures["kept"] == figures["ended"] == 1


def test_absence_counts_as_much_as_it_is_said_to():
    target = torch.zeros(2, 1, 32, 32)
    target[0, :, 8:24, 8:24] = 1
    logits = (torch.nn.functional.avg_pool2d(target, 4) * 20 - 10).expand(-1, 3, -1, -1)

    def loss(absent: float, score: float, guess: float) -> float:
        scores = torch.tensor([[5.0], [score]])
        ious = torch.tensor([[1.0] * 3, [guess] * 3])
        return float(frame_loss((logits, ious, None, scores), target, absent)[0])

    missed = [loss(absent, 5.0, 0.0) for absent in (0.0, 0.2, 1.0)]
    assert missed == sorted(missed)
    assert missed[2] > missed[0] + 1
    assert loss(1.0, -5.0, 0.0) < loss(1.0, -5.0, 0.9)  # where nothing is, no mask is right


def test_a_resumed_run_equals_an_unbroken_one(paths, tmp_path, one_thread):
    data = Sequences(paths, 5, TINY)
    unbroken = Trainer("cpu", TINY)
    figures = [unbroken.train_step(data[step]) for step in range(2)]
    assert all(np.isfinite(f["loss"]) for f in figures)

    first = Trainer("cpu", TINY)
    first.train_step(data[0])
    first.save(tmp_path / "last.pt")
    second = Trainer("cpu", TINY)
    second.load(tmp_path / "last.pt")
    second.train_step(data[1])
    assert second.step == unbroken.step == 2
    for key, value in unbroken.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key]), key
        assert torch.equal(unbroken.average[key], second.average[key]), key


def test_where_clicks_are_taught_alone_the_rest_stays_as_it_is(paths, one_thread):
    alone = (replace(TINY[0], alone=True), TINY[0])
    trainer = Trainer("cpu", alone)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    data = Sequences(paths, 5, alone)
    trainer.train_step(data[0])
    now = dict(trainer.model.named_parameters())
    moved = {name for name, p in now.items() if not torch.equal(p, before[name])}
    assert moved
    assert all(name.startswith(CLICKED) for name in moved)
    trainer.step = alone[0].steps
    trainer.train_step(data[trainer.step])  # and then everything learns again
    assert not torch.equal(now["maskmem_tpos_enc"], before["maskmem_tpos_enc"])


def test_history_of_its_own_takes_no_gradients_away(one_thread):
    """It is run without gradients, under autocast; what is tracked after it still teaches all."""
    timeline = Timeline(
        length=12, prompted=(0, 11), history=(3, 4), tracked=(5,), policy=MemoryPolicy()
    )
    images = torch.randn(5, 1, 3, 64, 64)
    masks = torch.zeros(5, 2, 1, 64, 64)
    masks[..., 20:40, 20:40] = 1
    taught = []
    for rollout in (0.0, 1.0):
        model, generator = build(64), torch.Generator().manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            _, tracked, _ = run_sequence(
                model, images, masks, timeline, "mask", generator, rollout=rollout
            )
        tracked[0].sum().backward()
        taught.append({name for name, p in model.named_parameters() if p.grad is not None})
    assert taught[0] == taught[1]
    assert any(name.startswith("memory_attention") for name in taught[1])


def test_clicks_are_put_on_the_tracked_slices_that_hold_their_object(one_thread):
    timeline = Timeline(
        length=12, prompted=(0, 11), history=(), tracked=(5, 6), policy=MemoryPolicy()
    )
    images = torch.randn(4, 1, 3, 64, 64)
    masks = torch.zeros(4, 2, 1, 64, 64)
    masks[..., 20:40, 20:40] = 1
    masks[3, 1] = 0  # the second object is not on the last slice
    model, generator = build(64), torch.Generator().manual_seed(0)
    assert run_sequence(model, images, masks, timeline, "mask", generator)[2] is None
    _, tracked, (found, truth) = run_sequence(
        model, images, masks, timeline, "mask", generator, clicked=True
    )
    assert len(tracked[0]) == 4
    assert len(found[0]) == len(truth) == 3
    assert truth.flatten(1).any(dim=1).all()
    found[0].sum().backward()
    assert any(e.weight.grad.any() for e in model.sam_prompt_encoder.point_embeddings)

"""A batch through `track_step`: sequences, and clicks on single frames."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tools.training.marks import simulate_prompt, spoil_masks
from tools.training.network import TrainableSAM2
from tools.training.timeline import Timeline

Frame = dict[str, torch.Tensor | list[torch.Tensor]]
Decoded = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

# Clicked slices beside a sequence: enough to keep what was learnt, few enough to be cheap.
CLICKS = 8


def part(out: Frame, k: int, batch: int) -> Frame:
    """The ``k``-th frame of an output that ran several frames as one batch."""
    rows = slice(k * batch, (k + 1) * batch)
    return {
        "maskmem_features": out["maskmem_features"][rows],
        "maskmem_pos_enc": [p[rows] for p in out["maskmem_pos_enc"]],
        "obj_ptr": out["obj_ptr"][rows],
    }


def encode_frames(
    model: TrainableSAM2, images: torch.Tensor, batch: int, memory: dict, length: int
) -> Callable[..., Frame]:
    """Encodes (F, G, 3, S, S) frames as one batch; returns a function that runs some of them.

    Its rows are the F · ``batch`` objects of the frames, frame by frame; ``memory`` is the output
    dictionary of `track_step` and ``length`` its number of frames.
    """
    encoded = model.forward_image(images.flatten(0, 1))
    _, features, positions, sizes = model._prepare_backbone_features(encoded)
    objects = batch // images.shape[1]
    features = [f.repeat_interleave(objects, dim=1) for f in features]
    positions = [p.repeat_interleave(objects, dim=1) for p in positions]

    def step(
        number: int,
        rows: slice | torch.Tensor = slice(None),
        remember: bool = True,
        **prompts: object,
    ) -> Frame:
        return model.track_step(
            frame_idx=number,
            is_init_cond_frame=bool(prompts),
            current_vision_feats=[f[:, rows] for f in features],
            current_vision_pos_embeds=[p[:, rows] for p in positions],
            feat_sizes=sizes,
            point_inputs=prompts.get("points"),
            mask_inputs=prompts.get("masks"),
            output_dict=memory,
            num_frames=length,
            run_mem_encoder=remember,
        )

    return step


def click(
    model: TrainableSAM2,
    step: Callable[..., Frame],
    masks: torch.Tensor,
    generator: torch.Generator,
    most: int | None = None,
) -> tuple[Decoded, torch.Tensor] | None:
    """Prompts encoded frames with clicks or boxes, each frame on its own.

    Args:
        model: the network.
        step: of `encode_frames`.
        masks: (F, B, 1, S, S) of the same frames.
        generator: draws what is clicked where.
        most: take so many at random.

    Returns:
        The decoder's outputs where the object is, and its masks (N, 1, S, S); None if nowhere.
    """
    truth = masks.flatten(0, 1)
    there = truth.flatten(1).any(dim=1).nonzero()[:, 0]
    there = there[torch.randperm(len(there), generator=generator)[:most].to(there.device)]
    if len(there) == 0:
        return None
    kind = "points" if float(torch.rand((), generator=generator)) < 0.5 else "box"
    points = simulate_prompt(kind, truth[there].cpu(), generator)
    points = {k: v.to(masks.device) for k, v in points.items()}
    step(0, there, remember=False, points=points)
    return model.decoded, truth[there]


def run_clicks(
    model: TrainableSAM2, images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator
) -> tuple[Decoded, torch.Tensor] | None:
    """Clicks and boxes on frames (F, G, 3, S, S) that are encoded without gradients (`click`)."""
    with torch.no_grad():
        step = encode_frames(model, images, masks.shape[1], {}, 1)
    return click(model, step, masks, generator, most=24)


def run_sequence(
    model: TrainableSAM2,
    images: torch.Tensor,
    masks: torch.Tensor,
    timeline: Timeline,
    prompt: str,
    generator: torch.Generator,
    mistaken: float = 0.0,
    rollout: float = 0.0,
    clicked: bool = False,
) -> tuple[Decoded, Decoded, tuple[Decoded, torch.Tensor] | None]:
    """Runs a batch of sequences through `track_step`.

    Args:
        model: the network.
        images: (F, G, 3, S, S), frames in the order of ``timeline.frames``.
        masks: (F, B, 1, S, S); B / G objects for each of the G crops.
        timeline: what to prompt, to remember and to track.
        prompt: "mask", "points" or "box".
        generator: draws history masks and clicks.
        mistaken: see `spoil_masks`.
        rollout: chance that history is what the network tracks, not what `spoil_masks` makes.
        clicked: the tracked frames are also prompted with clicks or boxes, each on its own. They
            are encoded already, so this costs little and teaches what rare prompts do not.

    Returns:
        The decoder's outputs (mask logits (N, M, S/4, S/4), IoU (N, M), tokens, object score
        (N, 1)) of the prompted frames and of the tracked frames, frame by frame; and of the
        clicked ones that hold their object, with their masks (N, 1, S, S), if there are any.
    """
    batch = masks.shape[1]
    model.timeline = timeline
    prompted, history = len(timeline.prompted), len(timeline.history)
    first = prompted + history
    memory: dict[str, dict[int, Frame]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def encode(part_of_images: torch.Tensor) -> Callable[..., Frame]:
        return encode_frames(model, part_of_images, batch, memory, timeline.shown)

    # What is only remembered is run without gradients, which cost more than they teach.
    on_tracks = encode(images[first:])
    with torch.set_grad_enabled(prompt != "mask"):
        on_prompts = encode(images[:prompted])
    given = masks[:prompted].flatten(0, 1)
    if prompt == "mask":
        out = on_prompts(0, masks=given)
    else:
        points = simulate_prompt(prompt, given.cpu(), generator)
        out = on_prompts(0, points={k: v.to(images.device) for k, v in points.items()})
    of_prompted = model.decoded
    for k, frame in enumerate(timeline.prompted):
        memory["cond_frame_outputs"][frame] = part(out, k, batch)
    if history and float(torch.rand((), generator=generator)) < rollout:
        with torch.no_grad():
            on_history = encode(images[prompted:first])
            for k, frame in enumerate(timeline.history):
                out = on_history(frame, slice(k * batch, (k + 1) * batch))
                memory["non_cond_frame_outputs"][frame] = part(out, 0, batch)
    elif history:
        earlier = spoil_masks(
            masks[prompted:first].cpu(),
            generator,
            objects=batch // images.shape[1],
            mistaken=mistaken,
        ).flatten(0, 1)
        with torch.no_grad():
            out = encode(images[prompted:first])(0, masks=earlier.to(images.device))
        for k, frame in enumerate(timeline.history):
            memory["non_cond_frame_outputs"][frame] = part(out, k, batch)
    of_tracked = []
    for k, frame in enumerate(timeline.tracked):
        out = on_tracks(frame, slice(k * batch, (k + 1) * batch))
        memory["non_cond_frame_outputs"][frame] = part(out, 0, batch)
        of_tracked.append(model.decoded)
    of_tracked = tuple(torch.cat(v) for v in zip(*of_tracked, strict=True))
    clicks = click(model, on_tracks, masks[first:], generator, most=CLICKS) if clicked else None
    return of_prompted, of_tracked, clicks

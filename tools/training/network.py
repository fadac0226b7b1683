"""SAM 2 in training: the package's own model, with the memory a timeline asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch.nn import functional

from tools.training.timeline import Memory, Timeline

CONFIG = Path(__file__).parents[2] / "apps" / "sam2_ct" / "model" / "sam2_ct_builtin.yaml"

Frame = dict[str, torch.Tensor | list[torch.Tensor]]


class TrainableSAM2(SAM2Base):
    """`SAM2Base` that remembers what a `Memory` says, with gradients.

    Kept in eval mode throughout: what training must see is what the predictor will do. Raw
    decoder outputs (before masks of absent objects are blanked) are left in ``decoded``.
    """

    memory = Memory()
    decoded: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

    def watch(self) -> TrainableSAM2:
        """Starts recording decoder outputs; returns itself."""
        self.sam_mask_decoder.register_forward_hook(
            lambda _module, _args, output: setattr(self, "decoded", output)
        )
        return self

    def _prepare_memory_conditioned_features(
        self,
        frame_idx,
        is_init_cond_frame,
        current_vision_feats,
        current_vision_pos_embeds,
        feat_sizes,
        output_dict,
        num_frames,
        track_in_reverse=False,
    ):
        """As the base class, except that `memory` chooses the slices and their rows."""
        if is_init_cond_frame:
            return super()._prepare_memory_conditioned_features(
                frame_idx,
                True,
                current_vision_feats,
                current_vision_pos_embeds,
                feat_sizes,
                output_dict,
                num_frames,
                track_in_reverse,
            )
        batch = current_vision_feats[-1].size(1)
        height, width = feat_sizes[-1]
        prompted, recent = output_dict["cond_frame_outputs"], output_dict["non_cond_frame_outputs"]
        chosen = self.memory.conditioning(frame_idx, tuple(prompted), num_frames)
        used = [(prompted[c], self.num_maskmem - 1) for c in chosen]
        used += [
            (recent[f], row) for f, row in reversed(self.memory.recents(frame_idx)) if f in recent
        ]
        features, positions = [], []
        for out, row in used:
            features.append(out["maskmem_features"].flatten(2).permute(2, 0, 1))
            position = out["maskmem_pos_enc"][-1].flatten(2).permute(2, 0, 1)
            positions.append(position + self.maskmem_tpos_enc[row])

        limit = min(num_frames, self.max_obj_ptrs_in_encoder)
        pointers = [(frame_idx - c, prompted[c]["obj_ptr"]) for c in chosen if c <= frame_idx]
        pointers += [
            (d, recent[frame_idx - d]["obj_ptr"])
            for d in range(1, limit)
            if frame_idx - d in recent
        ]
        count = 0
        if pointers:
            stacked = torch.stack([p for _, p in pointers])
            distance = torch.tensor([float(d) for d, _ in pointers]) / (limit - 1)
            code = get_1d_sine_pe(distance.to(stacked.device), dim=self.hidden_dim)
            code = self.obj_ptr_tpos_proj(code)[:, None].expand(-1, batch, self.mem_dim)
            pieces = self.hidden_dim // self.mem_dim
            stacked = stacked.reshape(-1, batch, pieces, self.mem_dim)
            features.append(stacked.permute(0, 2, 1, 3).flatten(0, 1))
            positions.append(code.repeat_interleave(pieces, dim=0))
            count = features[-1].shape[0]
        fused = self.memory_attention(
            curr=current_vision_feats,
            curr_pos=current_vision_pos_embeds,
            memory=torch.cat(features),
            memory_pos=torch.cat(positions),
            num_obj_ptr_tokens=count,
        )
        return fused.permute(1, 2, 0).view(batch, self.hidden_dim, height, width)


@contextmanager
def full_precision_attention() -> Iterator[None]:
    """Attention in float32 within bfloat16 autocast.

    The backward pass of CPU attention in bfloat16 takes twice as long where the processor has no
    matrix unit (AMX), which is a quarter of a training step.
    """
    stock = functional.scaled_dot_product_attention

    def attend(query, key, value, **options):
        with torch.autocast(query.device.type, enabled=False):
            out = stock(query.float(), key.float(), value.float(), **options)
        return out.to(query.dtype)

    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = stock


def build(
    image_size: int = 128, device: str = "cpu", *, config: Path = CONFIG, cls: type = TrainableSAM2
) -> TrainableSAM2:
    """A fresh network from the shipped configuration, initialised so that it learns."""
    settings = OmegaConf.load(config).model
    settings.image_size = image_size
    settings._target_ = f"{cls.__module__}.{cls.__qualname__}"
    model = instantiate(settings, _recursive_=True)
    with torch.no_grad():
        # Objects are there until learnt otherwise, and a mask prompt starts as SAM's logits.
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
        model.mask_downsample.weight.fill_(20.0 / 16)
        model.mask_downsample.bias.fill_(-10.0)
    return model.eval().to(device).watch()


def spoil_masks(
    masks: torch.Tensor, generator: torch.Generator, *, objects: int = 1, mistaken: float = 0.0
) -> torch.Tensor:
    """(F, B, 1, S, S) masks as a tracker might have drawn them: smoothed, swollen, moved.

    An object is spoilt alike on all its frames, since a tracker's mistakes persist, with a little
    of each frame's own. An object that would vanish is left alone. With the chance ``mistaken`` it
    is taken for another of the ``objects`` of its crop, which only the prompts can put right.
    """

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    out = masks.clone()
    for b in range(masks.shape[1]):
        if draw(0, 10) < 3:
            continue
        taken = b
        if float(torch.rand((), generator=generator)) < mistaken:
            taken = b // objects * objects + (b + draw(1, max(2, objects))) % objects
        width, level = draw(0, 6) * 2 + 1, 0.25 + 0.05 * draw(0, 11)
        shift = draw(-3, 4), draw(-3, 4)
        for f in range(masks.shape[0]):
            soft = functional.avg_pool2d(masks[f, taken], width, stride=1, padding=width // 2)
            own = shift[0] + draw(-1, 2), shift[1] + draw(-1, 2)
            spoilt = torch.roll((soft > level).float(), own, dims=(1, 2))
            if spoilt.any():
                out[f, b] = spoilt
    return out


def simulate_prompt(
    kind: str, masks: torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Clicks or a box on (N, 1, S, S) ``masks``, in `track_step`'s form (x, y in pixels)."""
    number, _, _, size = masks.shape
    coords, labels = [], []
    clicks = int(torch.randint(1, 4, (), generator=generator))
    for k in range(number):
        mask = masks[k, 0]
        inside = mask.nonzero().flip(1).float()
        if len(inside) == 0:  # a neighbour that is not on this slice: anything will do
            inside = torch.full((1, 2), size / 2)
        if kind == "box":
            low, high = inside.min(0).values, inside.max(0).values + 1
            wobble = (torch.rand((2, 2), generator=generator) - 0.5) * 0.1
            span = high - low
            corners = torch.stack([low + wobble[0] * span, high + wobble[1] * span])
            coords.append(corners.clamp(0, size - 1))
            labels.append(torch.tensor([2, 3], dtype=torch.int32))
            continue
        # The deepest point of the mask comes first, as a person clicks.
        depth = functional.avg_pool2d(masks[k : k + 1], 9, stride=1, padding=4)[0, 0] * mask
        first = int(depth.argmax())
        points = [torch.tensor([first % size, first // size]).float()]
        signs = [1]
        near = functional.max_pool2d(masks[k : k + 1], 21, stride=1, padding=10)[0, 0]
        around = ((near > 0) & (mask == 0)).nonzero().flip(1).float()
        for _ in range(clicks - 1):
            positive = bool(torch.rand((), generator=generator) < 0.5) or len(around) == 0
            pool = inside if positive else around
            points.append(pool[int(torch.randint(len(pool), (), generator=generator))])
            signs.append(int(positive))
        coords.append(torch.stack(points))
        labels.append(torch.tensor(signs, dtype=torch.int32))
    return {"point_coords": torch.stack(coords), "point_labels": torch.stack(labels)}


Decoded = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


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
    model.memory = timeline.memory
    prompted, history = len(timeline.prompted), len(timeline.history)
    first = prompted + history
    memory: dict[str, dict[int, Frame]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def encode(part_of_images: torch.Tensor) -> Callable[..., Frame]:
        return encode_frames(model, part_of_images, batch, memory, timeline.length)

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
    clicks = click(model, on_tracks, masks[first:], generator) if clicked else None
    return of_prompted, of_tracked, clicks

"""What an annotator and an imperfect tracker draw, made from true masks."""

from __future__ import annotations

import torch
from torch.nn import functional


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


def _widen(masks: torch.Tensor, by: int) -> torch.Tensor:
    """(N, 1, S, S) masks grown by a square of ``by`` pixels: rows, then columns, is far cheaper."""
    rows = functional.max_pool2d(masks, (2 * by + 1, 1), stride=1, padding=(by, 0))
    return functional.max_pool2d(rows, (1, 2 * by + 1), stride=1, padding=(0, by))


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
        near = _widen(masks[k : k + 1], 10)[0, 0]
        around = ((near > 0) & (mask == 0)).nonzero().flip(1).float()
        for _ in range(clicks - 1):
            positive = bool(torch.rand((), generator=generator) < 0.5) or len(around) == 0
            pool = inside if positive else around
            points.append(pool[int(torch.randint(len(pool), (), generator=generator))])
            signs.append(int(positive))
        coords.append(torch.stack(points))
        labels.append(torch.tensor(signs, dtype=torch.int32))
    return {"point_coords": torch.stack(coords), "point_labels": torch.stack(labels)}

"""SAM 2's losses: mask (focal and Dice), predicted IoU, object score."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Logits come at a quarter of the input; judged at half of it, they are told all a finer target
# could tell, at a quarter of the cost.
COARSER = 2


def mask_losses(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """20 · focal + Dice of (N, M, S, S) ``logits`` against (N, 1, S, S) ``target``: (N, M)."""
    target = target.expand_as(logits)
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    chance = logits.sigmoid()
    right = chance * target + (1 - chance) * (1 - target)
    weight = 0.25 * target + 0.75 * (1 - target)
    focal = (2 * weight * (1 - right) ** 2 * cross).mean(dim=(2, 3))
    overlap = 2 * (chance * target).sum(dim=(2, 3)) + 1
    dice = 1 - overlap / (chance.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)
    return 20 * focal + dice


def iou(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """IoU of thresholded (N, M, S, S) ``logits`` and (N, 1, S, S) ``target``: (N, M)."""
    mask, target = logits > 0, target.expand_as(logits) > 0.5
    both = (mask & target).sum(dim=(2, 3)).float()
    return both / (mask | target).sum(dim=(2, 3)).clamp(min=1)


def frame_loss(
    decoded: tuple[torch.Tensor, ...], target: torch.Tensor, absent: float = 0.2
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of decoded frames.

    The best of the M masks bears the mask loss; the others a part of it, so that a wrong choice
    among them costs little. Frames without the object teach the object score, and that whatever
    mask they get overlaps nothing.

    Args:
        decoded: the decoder's outputs: mask logits (N, M, S/4, S/4), predicted IoU (N, M), tokens,
            object score logits (N, 1).
        target: (N, 1, S, S) true masks, 0 or 1.
        absent: weight of frames without the object. An object given up by mistake is lost for
            good where tracking goes on from its own results; one kept too long runs into others.

    Returns:
        The loss and figures for the log.
    """
    logits, ious, _, scores = decoded
    there = target.flatten(1).any(dim=1)
    target = F.avg_pool2d(target, COARSER)
    full = F.interpolate(logits.float(), target.shape[-2:], mode="bilinear", align_corners=False)
    each = mask_losses(full, target)
    mask = 0.75 * each.min(dim=1).values + 0.25 * each.mean(dim=1)
    mask = (mask * there).sum() / there.sum().clamp(min=1)
    weight = torch.where(there, 1.0, absent)
    with torch.no_grad():
        truth = iou(full, target)
    guess = ((ious.float() - truth).abs().mean(dim=1) * weight).sum() / weight.sum()
    score = F.binary_cross_entropy_with_logits(scores.float()[:, 0], there.float(), weight)
    with torch.no_grad():
        chosen = truth.gather(1, ious.argmax(dim=1, keepdim=True))[:, 0]
        dice = 2 * chosen / (1 + chosen)
        figures = {
            "mask": mask.item(),
            "iou": guess.item(),
            "score": score.item(),
            "dice": float((dice * there).sum() / there.sum().clamp(min=1)),
        }
        seen = scores[:, 0] > 0
        if there.any():
            figures["kept"] = float(seen[there].float().mean())
        if not there.all():
            figures["ended"] = float((~seen[~there]).float().mean())
    return mask + guess + 0.5 * score, figures

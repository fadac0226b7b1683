"""From a training state to the file that ships."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file


def to_half(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Floating-point weights in half precision, refusing any that it cannot hold."""
    out = {}
    for key, value in weights.items():
        value = value.detach().cpu().contiguous()
        if value.is_floating_point():
            half = value.half()
            if not torch.isfinite(half).all():
                raise ValueError(f"{key} does not fit half precision: {value.abs().max():g}")
            value = half
        out[key] = value
    return out


def export(weights: Mapping[str, torch.Tensor], path: Path, about: Mapping[str, str]) -> str:
    """Writes ``path`` (.safetensors) and ``path``.sha256; returns the SHA-256.

    Args:
        weights: a state dict.
        path: where to.
        about: kept in the file's header.
    """
    save_file(to_half(weights), path, metadata=dict(about))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{sha256}  {path.name}\n")
    return sha256

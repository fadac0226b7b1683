"""Reading weights from a file without trusting it."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from lib.errors import BadInput
from lib.models.hashing import sha256_of
from lib.models.registry import Checkpoint, recognise, resolve

#: What torch.load raises on damaged files, seen by cutting and corrupting real ones.
_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    struct.error,
    OSError,
)


@dataclass(frozen=True)
class Weights:
    """The content of a checkpoint file.

    Attributes:
        path: The file.
        sha256: Of the whole file.
        tensors: Parameter name → tensor, on the CPU.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, torch.Tensor]


def read_weights(path: Path, *, expected: Checkpoint | None = None) -> Weights:
    """Read a state dict from a torch file (``{"model": …}`` or bare) or a safetensors file.

    Torch files are unpickled with ``weights_only``, so a file cannot run code.

    Args:
        path: The file.
        expected: If given and pinned, the file must be this one; checked before it is parsed.

    Raises:
        BadInput: The file is missing, damaged, not the expected one, or holds something
            else than named tensors.
    """
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise BadInput(f"cannot read checkpoint {path}: {error.strerror}") from error
    if expected is not None and expected.sha256 not in (None, sha256):
        remedy = "remove it and it is downloaded again" if expected.url else "restore it"
        raise BadInput(
            f"{path} is damaged or another file than checkpoint '{expected.name}' "
            f"(SHA-256 {sha256}, expected {expected.sha256}): {remedy}"
        )
    content = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    tensors = content.get("model", content) if isinstance(content, Mapping) else None
    if (
        not isinstance(tensors, Mapping)
        or not tensors
        or not all(
            isinstance(key, str) and isinstance(value, torch.Tensor)
            for key, value in tensors.items()
        )
    ):
        raise BadInput(f"{path} holds no weights: a state dict, bare or under 'model', is expected")
    return Weights(path, sha256, dict(tensors))


def architecture_of(path: Path, sha256: str, model: str) -> Checkpoint:
    """Which registered checkpoint a user's own file is, or is shaped like.

    Args:
        path: The file, for messages.
        sha256: Its hash; a known one settles the matter.
        model: What the user said (``auto`` for nothing): names the architecture of a file
            that is not known.

    Raises:
        BadInput: Neither the hash nor ``model`` says it, or they contradict each other.
    """
    known = recognise(sha256)
    if known is None and model == "auto":
        raise BadInput(
            f"{path} is no checkpoint known by its SHA-256 ({sha256}): say with --model which "
            "architecture it has (tiny, small, base_plus, large, …)"
        )
    named = None if model == "auto" else resolve(model)
    if known is not None and named is not None and known.config != named.config:
        raise BadInput(
            f"{path} is the checkpoint '{known.name}', but the model asked for is "
            f"'{model}': leave out one of the two"
        )
    return known or named


def put_into(module: torch.nn.Module, weights: Weights, architecture: str) -> None:
    """Load ``weights`` into ``module``, all of them.

    Raises:
        BadInput: Names or shapes differ; the message summarises how.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - weights.tensors.keys())
    unexpected = sorted(weights.tensors.keys() - own.keys())
    misshapen = sorted(
        key
        for key in own.keys() & weights.tensors.keys()
        if own[key].shape != weights.tensors[key].shape
    )
    problems = [
        f"{len(keys)} {what} (such as {keys[0]})"
        for keys, what in (
            (missing, "missing"),
            (unexpected, "unexpected"),
            (misshapen, "of another shape"),
        )
        if keys
    ]
    if problems:
        raise BadInput(
            f"{weights.path} does not fit the architecture '{architecture}': parameters "
            f"{', '.join(problems)}; choose the right one with --model"
        )
    module.load_state_dict(weights.tensors)


def _is_safetensors(path: Path) -> bool:
    """By content, since names lie: eight bytes of header length, then a JSON object."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise BadInput(f"{path} is a damaged safetensors file ({error}): copy it again") from error


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        refused = isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error)
        why = (
            "it holds more than weights, perhaps code, and was not opened"
            if refused
            else "it is no PyTorch or safetensors file, or a truncated one"
        )
        raise BadInput(f"cannot use checkpoint {path}: {why}") from error

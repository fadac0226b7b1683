"""The checkpoints this app knows by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.errors import BadInput
from lib.places import APP, downloads

#: The built-in checkpoint, and whatever else the person who set up the app put beside it.
MODEL_DIR = APP / "model"

#: SHA-256 of model/sam2_ct_builtin.safetensors. Whoever trains a new one edits this line
#: (`sha256sum` prints it; a test compares). None: not pinned, any content is taken.
BUILTIN_SHA256: str | None = "b79785e912a59517ab652cf4f98a0117f1391a67200ca10d13339b659229c432"

BUILTIN = "builtin"

_SAM21 = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"
_SAM20 = "https://dl.fbaipublicfiles.com/segment_anything_2/072824/"


@dataclass(frozen=True)
class Checkpoint:
    """One set of weights.

    Attributes:
        name: What a person types after ``--model``.
        file: File name.
        config: A configuration of the ``sam2`` package (``configs/…``), or the name of a
            file in `MODEL_DIR`.
        url: Where it can be downloaded; None for one that comes with the app.
        sha256: Its SHA-256; None if it is not pinned.
        size: Bytes, None if not known.
    """

    name: str
    file: str
    config: str
    url: str | None
    sha256: str | None
    size: int | None = None


def _meta(
    name: str, prefix: str, file: str, config: str, sha256: str, size: int | None = None
) -> Checkpoint:
    return Checkpoint(name, file, config, prefix + file, sha256, size)


# Meta's checkpoints (Apache-2.0).
_ALL = (
    Checkpoint(
        BUILTIN, "sam2_ct_builtin.safetensors", "sam2_ct_builtin.yaml", None, BUILTIN_SHA256
    ),
    _meta(
        "tiny",
        _SAM21,
        "sam2.1_hiera_tiny.pt",
        "configs/sam2.1/sam2.1_hiera_t.yaml",
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        156008466,
    ),
    _meta(
        "small",
        _SAM21,
        "sam2.1_hiera_small.pt",
        "configs/sam2.1/sam2.1_hiera_s.yaml",
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        184416285,
    ),
    _meta(
        "base_plus",
        _SAM21,
        "sam2.1_hiera_base_plus.pt",
        "configs/sam2.1/sam2.1_hiera_b+.yaml",
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        323606802,
    ),
    _meta(
        "large",
        _SAM21,
        "sam2.1_hiera_large.pt",
        "configs/sam2.1/sam2.1_hiera_l.yaml",
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        898083611,
    ),
    _meta(
        "sam2.0-tiny",
        _SAM20,
        "sam2_hiera_tiny.pt",
        "configs/sam2/sam2_hiera_t.yaml",
        "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
    ),
    _meta(
        "sam2.0-small",
        _SAM20,
        "sam2_hiera_small.pt",
        "configs/sam2/sam2_hiera_s.yaml",
        "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
    ),
    _meta(
        "sam2.0-base_plus",
        _SAM20,
        "sam2_hiera_base_plus.pt",
        "configs/sam2/sam2_hiera_b+.yaml",
        "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
    ),
    _meta(
        "sam2.0-large",
        _SAM20,
        "sam2_hiera_large.pt",
        "configs/sam2/sam2_hiera_l.yaml",
        "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
    ),
)

CHECKPOINTS: dict[str, Checkpoint] = {checkpoint.name: checkpoint for checkpoint in _ALL}


def resolve(name: str) -> Checkpoint:
    """The checkpoint called ``name``.

    Raises:
        BadInput: There is none of that name; the message lists those there are.
    """
    try:
        return CHECKPOINTS[name]
    except KeyError:
        known = ", ".join(CHECKPOINTS)
        raise BadInput(f"unknown model '{name}': choose one of auto, {known}") from None


def place_of(checkpoint: Checkpoint, folder: Path | None = None) -> Path:
    """Where the file of a checkpoint is or, if it is nowhere, belongs.

    Args:
        checkpoint: One of the registry.
        folder: The only place to look at; None: `MODEL_DIR`, then the user's own folder, where
            downloads go.
    """
    if folder is None:
        ours = checkpoint.url is None or (MODEL_DIR / checkpoint.file).exists()
        folder = MODEL_DIR if ours else downloads()
    return folder / checkpoint.file


def recognise(sha256: str) -> Checkpoint | None:
    """The known checkpoint whose file has this SHA-256, or None."""
    for checkpoint in CHECKPOINTS.values():
        if checkpoint.sha256 == sha256:
            return checkpoint
    return None

"""From a name or a file to a predictor ready to track."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from sam2.sam2_video_predictor import SAM2VideoPredictor

from lib.errors import BadInput, Unavailable
from lib.models.checkpoint import Weights, architecture_of, put_into, read_weights
from lib.models.compilation import Compile, choose_compilation
from lib.models.compiled import Compiled
from lib.models.download import Patience, fetch
from lib.models.precision import Numerics, Precision, abilities, choose, put_to_work
from lib.models.registry import BUILTIN, MODEL_DIR, Checkpoint, place_of, resolve

#: What ``--model auto`` prefers.
PREFERRED = "small"

POLICY_PREDICTOR = "lib.propagation.predictor.PolicyVideoPredictor"
STOCK_PREDICTOR = "sam2.sam2_video_predictor.SAM2VideoPredictor"

#: The settings `sam2.build_sam.build_sam2_video_predictor` lays over every configuration.
#: They are part of stock behaviour. Its hole filling (fill_hole_area=8) is not: it needs the
#: CUDA extension, without which stock warns and skips it too.
_STOCK_OVERRIDES = {
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
    "binarize_mask_from_pts_for_mem_enc": True,
    "fill_hole_area": 0,
}


@dataclass(frozen=True)
class LoadedModel:
    """A predictor and where it comes from.

    Attributes:
        predictor: In evaluation mode, on ``device``.
        name: Of the checkpoint, or ``NAME:FILE`` for a user's file of that architecture.
        sha256: Of the checkpoint file; stands for the weights in cache keys and reports.
        image_size: Side of the square input, pixels.
        device: Where it runs.
        numerics: What it computes with.
        trained: False for random weights.
        compiled: Its compiled parts, if there are any.
        why_not_compiled: A sentence for the report, where that is worth one.
        warnings: Sentences the user must see; showing them is the caller's part.
    """

    predictor: SAM2VideoPredictor
    name: str
    sha256: str
    image_size: int
    device: torch.device
    numerics: Numerics
    trained: bool = True
    compiled: Compiled | None = None
    why_not_compiled: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """What tells features of this network from those of another, or in other numbers."""
        compiled = " compiled" if self.compiled else ""
        return f"{self.sha256} {self.numerics.name}{compiled}"


def load_predictor(
    model: str = "auto",
    checkpoint: Path | None = None,
    device: str = "auto",
    precision: Precision = Precision.AUTO,
    *,
    folder: Path | None = None,
    patience: Patience | None = None,
) -> LoadedModel:
    """Build the predictor for a model name or a checkpoint file.

    Args:
        model: A name of the registry, or ``auto``: the checkpoint `PREFERRED` if it is here
            or can be downloaded, otherwise the built-in one with a warning.
        checkpoint: A user's own file. Its architecture is known from its SHA-256, otherwise
            from ``model``.
        device: ``auto`` (CUDA if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: What to compute with; ``fp32`` is stock SAM 2, bit for bit.
        folder: Where checkpoints lie and downloads go, see `place_of`.
        patience: Time limits of a download.

    Raises:
        BadInput: Unknown model or device, an unusable checkpoint file, a precision that the
            device has no instructions for.
        Unavailable: A checkpoint asked for by name cannot be downloaded.
    """
    place = choose_device(device)  # first: it costs nothing and may refuse
    choose(precision, abilities(place))
    if checkpoint is not None:
        weights = read_weights(checkpoint)
        kind = architecture_of(checkpoint, weights.sha256, model)
        name = kind.name if weights.sha256 == kind.sha256 else f"{kind.name}:{checkpoint.name}"
        return _assemble(kind, weights, place, precision, folder, name=name)

    warnings: list[str] = []
    if model == "auto":
        model, reason = _preferred_or_builtin(folder, patience)
        warnings += reason
    chosen = resolve(model)
    path = place_of(chosen, folder)
    if chosen.url is not None:
        path = fetch(chosen, folder, patience=patience)
    elif not path.exists():
        return _untrained(chosen, place, precision, folder, warnings)
    weights = read_weights(path, expected=chosen)
    return _assemble(chosen, weights, place, precision, folder, warnings=warnings)


def with_compiled_parts(model: LoadedModel, asked: Compile) -> LoadedModel:
    """The same model, parts of it compiled where that is worth it; they need a rehearsal."""
    chosen = choose_compilation(asked, model.device, model.numerics)
    compiled = Compiled(model.predictor) if chosen.is_on else None
    return replace(model, compiled=compiled, why_not_compiled=chosen.why_not)


def choose_device(device: str) -> torch.device:
    """``auto | cpu | cuda | cuda:N`` as a torch device.

    Raises:
        BadInput: Another word, or a CUDA device that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not (kind == "cuda" and index.isdecimal())):
        raise BadInput(f"unknown device '{device}': choose auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise BadInput("device 'cuda' asked for, but PyTorch finds no CUDA GPU: use cpu or auto")
    if index and int(index) >= torch.cuda.device_count():
        raise BadInput(
            f"device '{device}' asked for, but there are {torch.cuda.device_count()} CUDA GPUs"
        )
    return torch.device(device)


def choose_devices(device: str) -> tuple[torch.device, ...]:
    """The devices of a server: each has a queue and a copy of the network.

    Args:
        device: ``auto`` or ``cuda`` for every GPU there is (``auto``: the CPU without one), or
            names for `choose_device`, comma-separated.

    Raises:
        BadInput: see `choose_device`; or one device named twice.
    """
    chosen = [choose_device(name.strip()) for name in device.split(",")]
    if len(chosen) == 1 and chosen[0] == torch.device("cuda"):
        chosen = [torch.device("cuda", n) for n in range(torch.cuda.device_count())]
    if len(set(chosen)) < len(chosen) or (len(chosen) > 1 and torch.device("cuda") in chosen):
        raise BadInput(f"device '{device}': name each device once, like cuda:0,cuda:1")
    return tuple(chosen)


def read_config(checkpoint: Checkpoint, folder: Path | None = None) -> DictConfig:
    """The ``model`` part of a checkpoint's configuration, as its YAML file has it.

    Read directly rather than through Hydra's compose, whose search path is one global
    per process. The files use nothing of Hydra but ``_target_``.
    """
    if checkpoint.config.startswith("configs/"):
        text = (importlib.resources.files("sam2") / checkpoint.config).read_text(encoding="utf-8")
        return OmegaConf.create(text).model
    # The app's own configuration is looked for beside the app when ``folder`` is elsewhere.
    for place in (folder or MODEL_DIR, MODEL_DIR):
        if (place / checkpoint.config).exists():
            return OmegaConf.load(place / checkpoint.config).model
    raise Unavailable(f"the configuration {MODEL_DIR / checkpoint.config} is missing: restore it")


def build_network(
    config: DictConfig, predictor_class: str = POLICY_PREDICTOR, *, seed: int = 0
) -> SAM2VideoPredictor:
    """A predictor of this configuration with random weights, on the CPU, in evaluation mode.

    Weights depend on ``seed`` alone, and the caller's random state is left as it was.
    """
    settings = OmegaConf.merge(config, _STOCK_OVERRIDES, {"_target_": predictor_class})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return instantiate(settings, _recursive_=True).eval()


def _preferred_or_builtin(folder: Path | None, patience: Patience | None) -> tuple[str, list[str]]:
    preferred = resolve(PREFERRED)
    try:
        fetch(preferred, folder, patience=patience)
    except Unavailable as error:
        warning = (
            f"checkpoint '{PREFERRED}' is not available, the small built-in one stands in "
            f"and is much less accurate. {error}"
        )
        return BUILTIN, [warning]
    return PREFERRED, []


def _assemble(
    kind: Checkpoint,
    weights: Weights,
    device: torch.device,
    precision: Precision,
    folder: Path | None,
    *,
    name: str | None = None,
    warnings: Sequence[str] = (),
) -> LoadedModel:
    predictor = build_network(read_config(kind, folder))
    put_into(predictor, weights, kind.name)
    loaded = _at_work(predictor, name or kind.name, weights.sha256, device, precision)
    return replace(loaded, warnings=tuple(warnings))


def _untrained(
    kind: Checkpoint,
    device: torch.device,
    precision: Precision,
    folder: Path | None,
    warnings: Sequence[str],
) -> LoadedModel:
    """Random weights in place of the built-in checkpoint, said loudly."""
    config = read_config(kind, folder)
    warning = (
        f"UNTRAINED NETWORK: {place_of(kind, folder)} is missing, so random weights are used and "
        "every mask and Dice value means nothing"
    )
    # Not a file's hash, but as distinct: caches are keyed by it.
    sha256 = hashlib.sha256(f"untrained, seed 0\n{OmegaConf.to_yaml(config)}".encode()).hexdigest()
    loaded = _at_work(build_network(config), "untrained", sha256, device, precision)
    return replace(loaded, trained=False, warnings=(*warnings, warning))


def _at_work(
    predictor: SAM2VideoPredictor,
    name: str,
    sha256: str,
    device: torch.device,
    precision: Precision,
) -> LoadedModel:
    """A predictor with its weights, on its device, computing as chosen."""
    numerics = choose(precision, abilities(device), predictor.hidden_dim)
    put_to_work(predictor.to(device), numerics)
    return LoadedModel(predictor, name, sha256, predictor.image_size, device, numerics)

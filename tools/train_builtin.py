"""Trains the built-in checkpoint on phantoms.

python tools/train_builtin.py -o build/builtin            # the schedule in training/curriculum.py
python tools/train_builtin.py -o build/builtin --resume   # goes on after an interruption
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct")]

from lib.propagation.policy import describe
from tools.phantoms.generate import generate
from tools.training.curriculum import CURRICULUM, Phase, learning_rate, phase_at, total_steps
from tools.training.export import export
from tools.training.losses import frame_loss
from tools.training.network import build, multiplied_attention
from tools.training.run import run_clicks, run_sequence
from tools.training.sequences import Batch, Sequences

SEED = 20260323
EMA = 0.995
# The temporal rows start near zero beside a positional code of about one, and would stay unread.
ROW_PACE = 30.0
SAVE_EVERY = 120.0  # seconds
# What learns from clicks where nothing else is taught.
CLICKED = ("sam_mask_decoder", "sam_prompt_encoder")


def write_phantom(seed: int, folder: Path) -> Path:
    """Generates the phantom of that seed into ``folder`` unless it is there."""
    path = folder / f"{seed:06d}.npz"
    if not path.exists():
        phantom = generate(seed)
        part = path.with_suffix(".part.npz")
        np.savez(part, hu=phantom.hu, labels=phantom.labels, spacing=phantom.spacing)
        os.replace(part, path)
    return path


def write_phantoms(folder: Path, count: int, workers: int) -> list[Path]:
    """The training phantoms, seeds 0 … ``count`` − 1."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        ProcessPoolExecutor(workers) as pool,
        Progress(TextColumn("phantoms"), BarColumn(), MofNCompleteColumn()) as bar,
    ):
        jobs = pool.map(write_phantom, range(count), [folder] * count, chunksize=4)
        return list(bar.track(jobs, total=count))


class Trainer:
    """Model, averaged model, optimiser and the step they stand at."""

    def __init__(self, device: str, curriculum: tuple[Phase, ...] = CURRICULUM, seed: int = SEED):
        torch.manual_seed(seed)
        self.device, self.curriculum, self.seed = device, curriculum, seed
        # bfloat16 pays where the machine has instructions for it.
        self.half = device != "cpu" or torch.cpu._is_avx512_bf16_supported()
        self.step = 0
        self.model = build(curriculum[0].image_size, device)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimizer = self._optimizer()

    def _optimizer(self) -> torch.optim.AdamW:
        rows = self.model.maskmem_tpos_enc
        rest = [p for p in self.model.parameters() if p is not rows]
        groups = [{"params": rest, "pace": 1.0}, {"params": [rows], "pace": ROW_PACE}]
        return torch.optim.AdamW(groups, lr=1e-4, weight_decay=0.01, betas=(0.9, 0.98), fused=True)

    def _fit_size(self, size: int) -> None:
        """Moves the weights into a network of another input size."""
        if self.model.image_size == size:
            return
        weights, state = self.model.state_dict(), self.optimizer.state_dict()
        self.model = build(size, self.device)
        self.model.load_state_dict(weights)
        self.optimizer = self._optimizer()
        self.optimizer.load_state_dict(state)

    def _share_gradients(self) -> None:
        """Averages gradients over the processes; each has seen its own part of the batch."""
        if not dist.is_initialized():
            return
        learning = [p for p in self.model.parameters() if p.requires_grad]
        for parameter in learning:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in learning]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One step; returns figures for the log."""
        phase, _ = phase_at(self.step, self.curriculum)
        self._fit_size(phase.image_size)
        rate = learning_rate(self.step, self.curriculum)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["pace"]
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(not phase.alone or name.startswith(CLICKED))
        loss, figures = self._loss(batch, phase)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._share_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimizer.step()
        decay = min(EMA, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            weights = self.model.state_dict()
            torch._foreach_lerp_(
                [self.average[k] for k in weights], list(weights.values()), 1 - decay
            )
        self.step += 1
        return {
            "step": self.step,
            "phase": phase.name,
            "loss": float(loss.detach()),
            "lr": rate,
            "norm": float(norm),
            "prompt": batch.prompt,
            "policy": describe(batch.timeline.policy),
            "beyond": batch.timeline.beyond,
            **figures,
        }

    @contextmanager
    def _precision(self) -> Iterator[None]:
        attention = multiplied_attention if self.device == "cpu" else nullcontext
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half), attention():
            yield

    def _loss(self, batch: Batch, phase: Phase) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss of a batch, and figures for the log."""
        generator = torch.Generator().manual_seed(self.seed + self.step)
        images, masks = batch.images.to(self.device), batch.masks.to(self.device)
        if phase.alone:
            with self._precision():
                clicked = run_clicks(self.model, images[:5], masks[:5], generator)
            loss, found = frame_loss(*clicked)
            return loss, found
        timeline = batch.timeline
        with self._precision():
            prompted, tracked, clicked = run_sequence(
                self.model,
                images,
                masks,
                timeline,
                batch.prompt,
                generator,
                phase.mistaken,
                phase.rollout,
                phase.clicked,
            )
        first = len(timeline.prompted) + len(timeline.history)
        loss, figures = frame_loss(tracked, masks[first:].flatten(0, 1), phase.absent)
        given = masks[: len(timeline.prompted)].flatten(0, 1)
        extra, shown = frame_loss(prompted, given, phase.absent)
        loss = loss + (0.2 if batch.prompt == "mask" else 1.0) * extra
        figures["prompt_dice"] = shown["dice"]
        if clicked is not None:
            extra, found = frame_loss(*clicked)
            loss = loss + extra
            figures["clicked_dice"] = found["dice"]
        return loss, figures

    def save(self, path: Path) -> None:
        """Writes everything needed to go on."""
        part = path.with_suffix(".part")
        torch.save(
            {
                "step": self.step,
                "model": self.model.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
            },
            part,
        )
        os.replace(part, path)

    def begin(self, path: Path) -> None:
        """Goes on from an exported checkpoint: its weights, its step, a fresh optimiser."""
        with safe_open(path, "pt") as file:
            self.step = int(file.metadata()["steps"])
            weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        self.model.load_state_dict(weights)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def load(self, path: Path) -> None:
        """Goes on where `save` left off."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def ship(state: Path, target: Path) -> str:
    """Writes the averaged weights of a saved run as the checkpoint that ships; its SHA-256."""
    saved = torch.load(state, map_location="cpu", weights_only=True)
    about = {"made by": "tools/train_builtin.py", "steps": str(saved["step"])}
    return export(saved["average"], target, about)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the run")
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT/last.pt")
    parser.add_argument("--start", type=Path, help="go on from a shipped checkpoint's weights")
    parser.add_argument("--steps", type=int, help="stop after this step (default: all)")
    parser.add_argument("--phantoms", type=int, default=1500, help="training volumes")
    parser.add_argument("--cache", type=Path, help="where they lie (default: OUTPUT/phantoms)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--processes",
        type=int,
        default=2,
        help="share the batch among so many (on a CPU: one thread each)",
    )
    parser.add_argument(
        "--ship", type=Path, help="train nothing: write OUTPUT/last.pt to this file"
    )
    args = parser.parse_args()
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.device == "cuda":
        args.processes = 1
    return args


def train(rank: int, args: argparse.Namespace, paths: list[Path]) -> None:
    """One process of the run; the first one writes log and checkpoints."""
    if args.processes > 1:
        # Small tensors: two processes of one thread do twice what one process of two does.
        torch.set_num_threads(1)
        store = dist.FileStore(str(args.output / "rendezvous"), args.processes)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=args.processes)
    trainer = Trainer(args.device, seed=args.seed)
    last = args.output / "last.pt"
    if args.resume and last.exists():
        trainer.load(last)
    elif args.start:
        trainer.begin(args.start)
    end = min(args.steps or total_steps(), total_steps())
    data = Sequences(paths, args.seed, rank=rank, processes=args.processes)
    columns = (
        TextColumn("{task.fields[note]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    begun = saved = time.time()
    with Progress(*columns, disable=rank > 0) as bar, (args.output / "log.jsonl").open("a") as log:
        task = bar.add_task("train", total=end, completed=trainer.step, note="")
        for step in range(trainer.step, end):
            figures = trainer.train_step(data[step])
            if rank > 0:
                continue
            figures["seconds"] = round(time.time() - begun, 1)
            log.write(json.dumps(figures) + "\n")
            log.flush()
            bar.update(task, advance=1, note=f"{figures['phase']} dice {figures['dice']:.2f}")
            if time.time() - saved > SAVE_EVERY or trainer.step == end:
                trainer.save(last)
                saved = time.time()


def main() -> int:
    """Runs the schedule."""
    args = arguments()
    if args.ship:
        print(ship(args.output / "last.pt", args.ship))
        return 0
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "rendezvous").unlink(missing_ok=True)
    cache = args.cache or args.output / "phantoms"
    paths = write_phantoms(cache, args.phantoms, os.cpu_count() or 1)
    if args.processes > 1:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # take the others along
        mp.spawn(train, (args, paths), nprocs=args.processes, daemon=True)
    else:
        train(0, args, paths)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

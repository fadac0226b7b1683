"""What a request costs: ours as served, the stock SAM 2 loop and MONAI Label's `sam_3d`.

    python benchmarks/speed.py --model tiny --image-size 512 --slices 24
        [--objects 3] [--both-directions] [--peer sam_3d] [--threads 1] [--device cpu|cuda]
        [--policy is+sps] [--precision fp32] [--compile off] [--rounds 3] [--json OUT]

Side by side in one process, on the same random weights (speed does not depend on them); median of
the rounds. On a CPU in seconds of processor time, so that a busy machine does not blur the ratios;
on a GPU in seconds by the clock, the device waited for, and in frames per second.

* stock: `SAM2VideoPredictor` fed the same frames from memory, first, middle and last slice painted.
* stock compiled, on a GPU: `SAM2VideoPredictorVOS`, which compiles its parts, under bfloat16
  autocast and with TF32, as Meta measures it; compiled before anything is timed.
* sam_3d: `Sam2InferTask` from request to result file, one click on the first slice of a bone that
  spans the middle third of the volume. It knows no masks, and tracks on to the volume's end.
* ours: a volume that was never seen, from file to label map ("first"); one more painted slice at a
  quarter of the range ("correction"); three painted slices on the bone of a third ("third"), with
  `extent painted`: random weights see no end of a bone.

The image encoder's share of the machine is told beside: its arithmetic per second against the
fastest bfloat16 matrix product found here.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct")]

import nibabel as nib
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import lib  # noqa: F401  before torch: it says how waiting threads behave
from benchmarks.sam_3d import Sam3d
from benchmarks.stock import see_objects, stock_masks
from lib.configs.options import Settings
from lib.engine.pipeline import Pipeline
from lib.engine.recipe import Recipe
from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.models.build import (
    POLICY_PREDICTOR,
    STOCK_PREDICTOR,
    LoadedModel,
    build_network,
    choose_device,
    read_config,
    with_compiled_parts,
)
from lib.models.compilation import Compilation, Compile, choose_compilation
from lib.models.precision import Numerics, Precision, abilities, choose, put_to_work
from lib.models.registry import resolve
from lib.prompts.types import Mask, PromptSet
from lib.propagation.extent import Extent
from lib.propagation.video import PseudoVideo

COMPILED_PREDICTOR = "sam2.sam2_video_predictor.SAM2VideoPredictorVOS"
LEAST_ROUNDS = 3
TRACKING = ("encode", "track", "merge")  # stages of a request
SIDE = 160
GEMM_SHAPES = ((2048, 2048, 2048), (4096, 1024, 1024), (4096, 384, 1536), (16384, 192, 768))


class Clock:
    """Seconds of work: of the processor, or by the clock where a GPU does it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.gpu = device.type == "cuda"
        self.name = "wall" if self.gpu else "processor"

    def __call__(self, work: Callable[[], object]) -> float:
        """Seconds that `work` takes."""
        now = time.perf_counter if self.gpu else time.process_time
        started = now()
        work()
        if self.gpu:
            torch.cuda.synchronize(self.device)
        return now() - started


class Subject:
    """The volume, what is painted in it, and the networks that get it."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.folder = folder
        self.device = torch.device(arguments.device)
        self.both = arguments.both_directions
        self.compile = Compile.parse(arguments.compile)
        self.config = read_config(resolve(arguments.model))
        if arguments.image_size:
            self.config.image_size = arguments.image_size
        self.numerics = choose(
            Precision.parse(arguments.precision),
            abilities(self.device),
            self.config.memory_attention.d_model,
        )
        self.settings = Settings.parse(
            {
                "policy": arguments.policy,
                "propagation": "forward-backward" if self.both else "single",
                "axis": "axial",
                "input": "own",  # which --image-size has set
            }
        )
        slices = self.slices = arguments.slices
        noise = np.random.default_rng(0).integers(-200, 1200, (SIDE, SIDE, slices), np.int16)
        self.path = folder / "ct.nii"
        nib.save(nib.Nifti1Image(noise, np.eye(4)), self.path)
        self.grid = Grid(noise.shape, np.eye(4))
        self.frames = PseudoVideo(
            ((noise + 200) / 1400).astype(np.float32), self.grid, Axis.AXIAL, self.config.image_size
        )
        self.objects = arguments.objects
        self.first = self.painted((0, slices // 2, slices - 1))
        self.corrected = self.first.merged(self.painted((slices // 4,)).prompts)
        self.bone = slices // 3, slices // 2, slices - 1 - slices // 3
        self.third = self.painted(self.bone)

    def painted(self, slices: tuple[int, ...]) -> PromptSet:
        """A square per object on each of these slices."""
        masks = []
        for t in slices:
            for n in range(self.objects):
                mask = np.zeros((SIDE, SIDE), bool)
                mask[40:80, 20 + 40 * n : 55 + 40 * n] = True
                masks.append(Mask(Axis.AXIAL, t, n + 1, mask))
        return PromptSet(self.grid, tuple(masks))

    def network(self, kind: str):
        """The same random weights, as ours or as stock."""
        return see_objects(build_network(self.config, kind, seed=1)).to(self.device)

    @cached_property
    def ours(self) -> LoadedModel:
        """The network at work as served: on a GPU compiled, and rehearsed."""
        network = self.network(POLICY_PREDICTOR)
        put_to_work(network, self.numerics)
        plain = LoadedModel(
            network, "random", "random", network.image_size, self.device, self.numerics
        )
        model = with_compiled_parts(plain, self.compile)
        Pipeline(model).rehearse(self.settings, [self.objects])
        return model


@dataclass(frozen=True)
class Measured:
    """Medians of the rounds.

    Attributes:
        seconds: by row.
        tracking: of `ours/first`, the part that Meta counts: no file is read or written in it.
        compiled: our network was.
    """

    seconds: dict[str, float]
    tracking: float
    compiled: bool


def measure(subject: Subject, rounds: int, peer: bool) -> Measured:
    """Every row, as many times; the first round warms up and is not counted."""
    clock = Clock(subject.device)
    stock, ours = subject.network(STOCK_PREDICTOR), subject.ours
    rows: dict[str, Callable[[], object]] = {}
    tracking: list[float] = []

    def of_stock(network, prompts: PromptSet, compiled: bool = False) -> Callable[[], None]:
        def run() -> None:
            with as_meta_measures() if compiled else tf32(False):
                for _, logits in stock_masks(
                    network, subject.frames, prompts, both_directions=subject.both
                ):
                    (logits > 0).cpu()

        return run

    def of_ours(engine: Pipeline, prompts: PromptSet) -> Callable[[], object]:
        settings = subject.settings
        if prompts is subject.third:
            settings = replace(settings, extent=Extent.parse("painted"))
        recipe = Recipe(prompts, settings)

        def run() -> None:
            outcome = engine.carry_out(engine.open(subject.path, subject.settings), recipe)
            if prompts is subject.first:
                spent = outcome.report.seconds
                tracking.append(sum(spent[stage] for stage in TRACKING))

        return run

    rows["stock/first"] = of_stock(stock, subject.first)
    rows["stock/correction"] = of_stock(stock, subject.corrected)
    if stock_is_compiled(subject.device).is_on:
        compiled = subject.network(COMPILED_PREDICTOR)
        rows["stock compiled/first"] = of_stock(compiled, subject.first, True)
        rows["stock compiled/correction"] = of_stock(compiled, subject.corrected, True)
    if peer:
        sam_3d = Sam3d(subject.folder, subject.config, stock)
        rows["sam_3d"] = lambda: sam_3d(
            subject.path, (60, 37, subject.bone[0]), subject.device.type
        )

    times: dict[str, list[float]] = {}
    for round_ in range(rounds + 1):
        engine, other = Pipeline(ours), Pipeline(ours)  # with nothing remembered
        rows["ours/first"] = of_ours(engine, subject.first)
        rows["ours/correction"] = of_ours(engine, subject.corrected)  # by the same engine, later
        rows["ours/third"] = of_ours(other, subject.third)
        for name, work in rows.items():
            seconds = clock(work)
            if round_:
                times.setdefault(name, []).append(seconds)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    return Measured(seconds, statistics.median(tracking[1:]), ours.compiled is not None)


def stock_is_compiled(device: torch.device) -> Compilation:
    """Whether SAM 2's own compiled predictor is measured, too."""
    return choose_compilation(Compile.AUTO, device, Numerics(Precision.BF16.value, "as Meta"))


@contextmanager
def as_meta_measures() -> Iterator[None]:
    """What SAM 2's own benchmark sets before it counts frames."""
    with tf32(True), torch.autocast("cuda", dtype=torch.bfloat16):
        yield


@contextmanager
def tf32(matmul: bool) -> Iterator[None]:
    """Torch's own setting (convolutions only), or for all products; ours may have set another."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def encoder_rate(subject: Subject) -> dict[str, float]:
    """Arithmetic of one slice through the image encoder, and how fast ours does it.

    Attention counts in full; what is computed once per network (positional encodings) does not.
    """
    clock = Clock(subject.device)
    network = subject.ours.predictor
    image = subject.frames.image(0)[None].to(subject.device)
    batch = Pipeline(subject.ours).inferer.batch
    images = image.expand(batch, -1, -1, -1).contiguous()
    with torch.inference_mode():
        meta = build_network(subject.config, STOCK_PREDICTOR, seed=1)
        with FlopCounterMode(display=False) as counted:
            meta.forward_image(image.cpu())
        work = counted.get_total_flops() + attention_flops(meta, image.shape[-1])
        encode = lambda: network.forward_image(images)  # noqa: E731
        encode()
        seconds = min(clock(encode) for _ in range(5)) / batch
        peak = max(gemm_rate(clock, shape, subject.device) for shape in GEMM_SHAPES)
    return {"gflop": work / 1e9, "gflop/s": work / seconds / 1e9, "gemm gflop/s": peak / 1e9}


def attention_flops(network, side: int) -> float:
    """Scores and weighted sums of the trunk's attention, which torch does not count on a CPU."""
    total = 0.0

    def count(block, inputs, _output) -> None:
        nonlocal total
        windows, rows, columns, _ = inputs[0].shape
        keys = rows * columns
        queries = keys // 4 if block.q_pool is not None else keys
        total += 4.0 * windows * queries * keys * block.dim_out

    hooks = [b.attn.register_forward_hook(count) for b in network.image_encoder.trunk.blocks]
    network.image_encoder.trunk(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return total


def gemm_rate(clock: Clock, shape: tuple[int, int, int], device: torch.device) -> float:
    """Operations per second of a bfloat16 matrix product, the best of several."""
    rows, inner, columns = shape
    left = torch.randn(rows, inner, device=device).bfloat16()
    right = torch.randn(columns, inner, device=device).bfloat16()
    product = lambda: torch.nn.functional.linear(left, right)  # noqa: E731
    product()
    return 2.0 * rows * inner * columns / min(clock(product) for _ in range(20))


def ratios(seconds: dict[str, float]) -> dict[str, float]:
    """How many times longer the others take, by what is compared."""
    pairs = {
        "stock/first": "ours/first",
        "stock/correction": "ours/correction",
        "stock compiled/first": "ours/first",
        "stock compiled/correction": "ours/correction",
        "sam_3d": "ours/third",
    }
    names = {"sam_3d": "sam_3d/first"}
    return {
        names.get(theirs, theirs): round(seconds[theirs] / seconds[ours], 2)
        for theirs, ours in pairs.items()
        if theirs in seconds
    }


def frames_per_second(measured: Measured, slices: int) -> dict[str, float]:
    """Slices of a first request by the second, whatever the number of objects on them."""
    found = {
        name.removesuffix("/first"): slices / seconds
        for name, seconds in measured.seconds.items()
        if name.endswith("/first")
    }
    found["ours, no files"] = slices / measured.tracking
    return {name: round(value, 1) for name, value in found.items()}


def machine(device: torch.device) -> dict[str, object]:
    """What the figures were measured on."""
    found = {
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
    }
    if Clock(device).gpu:
        found["card"] = torch.cuda.get_device_name(device)
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def table(result: dict[str, object]) -> str:
    """Markdown."""
    seconds, ratio, encoder = result["seconds"], result["ratios"], result["encoder"]
    frames = result.get("frames_per_second", {})
    lines = [
        f"| {result['clock']} s | first | correction | a bone of a third |",
        "|---|---|---|---|",
    ]
    for name, cells in (
        ("stock SAM 2 loop", ("stock/first", "stock/correction", None)),
        ("stock compiled", ("stock compiled/first", "stock compiled/correction", None)),
        ("sam_3d", (None, None, "sam_3d")),
        ("ours", ("ours/first", "ours/correction", "ours/third")),
    ):
        shown = [f"{seconds[c]:.2f}" if c in seconds else "" for c in cells]
        if any(shown):
            lines.append(f"| {name} | {' | '.join(shown)} |")
    for name, cells in (
        ("faster than stock", ("stock/first", "stock/correction", None)),
        ("than stock compiled", ("stock compiled/first", "stock compiled/correction", None)),
        ("than sam_3d", (None, None, "sam_3d/first")),
    ):
        shown = [f"×{ratio[c]}" if c in ratio else "" for c in cells]
        if any(shown):
            lines.append(f"| {name} | {' | '.join(shown)} |")
    share = encoder["gflop/s"] / encoder["gemm gflop/s"]
    lines.append(
        f"\nencoder: {encoder['gflop']:.3g} GFLOP a slice at {encoder['gflop/s']:.0f} GFLOP/s, "
        f"{share:.0%} of the bfloat16 matrix product's {encoder['gemm gflop/s']:.0f}"
    )
    if why_not := result.get("stock_compiled"):
        lines.append(f"stock compiled: {why_not}")
    if frames:
        told = ", ".join(f"{name} {value}" for name, value in frames.items())
        lines.append(f"frames per second on {result['machine']['card']}: {told}")
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Everything measured, JSON-ready."""
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(arguments, Path(folder))
        measured = measure(subject, arguments.rounds, arguments.peer == "sam_3d")
        result = {
            "model": arguments.model,
            "image_size": subject.config.image_size,
            "slices": arguments.slices,
            "objects": arguments.objects,
            "both_directions": arguments.both_directions,
            "policy": subject.settings.describe()["policy"],
            "precision": subject.numerics.name,
            "compiled": measured.compiled,
            "clock": Clock(subject.device).name,
            "rounds": arguments.rounds,
            "seconds": {name: round(value, 4) for name, value in measured.seconds.items()},
            "ratios": ratios(measured.seconds),
            "encoder": encoder_rate(subject),
            "machine": machine(subject.device),
            "versions": {
                "python": platform.python_version(),
                **{p: version(p) for p in ("torch", "sam2", "monai", "monailabel", "numpy")},
            },
        }
        if Clock(subject.device).gpu:
            if why_not := stock_is_compiled(subject.device).why_not:
                result["stock_compiled"] = why_not
            result["frames_per_second"] = frames_per_second(measured, subject.slices)
        return result


def rounds(text: str) -> int:
    """A number of rounds that has a median."""
    if not text.isdecimal() or int(text) < LEAST_ROUNDS:
        raise argparse.ArgumentTypeError(f"a median needs {LEAST_ROUNDS} rounds or more")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--model", default="builtin", help="builtin, tiny, small, base_plus, large")
    made.add_argument("--image-size", type=int, help="side of the network's input; its own if left")
    made.add_argument("--slices", type=int, default=24)
    made.add_argument("--objects", type=int, default=1, choices=(1, 2, 3))
    made.add_argument("--both-directions", action="store_true", help="each slice forward and back")
    made.add_argument("--peer", choices=("sam_3d",), help="MONAI Label's task as well")
    made.add_argument("--policy", help="as served if left")
    made.add_argument("--precision", default="auto", choices=[p.value for p in Precision])
    made.add_argument("--compile", default="auto", choices=[c.value for c in Compile])
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    made.add_argument(
        "--rounds", type=rounds, default=LEAST_ROUNDS, help="timed, after one that warms up"
    )
    made.add_argument("--json", type=Path, metavar="OUT")
    return made


def main() -> None:
    """Measure and print."""
    its_parser = parser()
    arguments = its_parser.parse_args()
    try:
        choose_device(arguments.device)
    except BadInput as error:
        its_parser.error(str(error))
    result = run(arguments)
    both = ", both directions" if arguments.both_directions else ""
    print(
        f"{arguments.model}, {result['image_size']}², {arguments.slices} slices, "
        f"{arguments.objects} objects{both}, {result['policy']}, {result['precision']}, "
        f"{arguments.threads} threads\n"
    )
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Peak memory: of the engine on short and long volumes, and of whole requests on a large one.

    python benchmarks/memory.py [--slices 100 800] [--cache-mb 8] [--policy baseline] [--json OUT]

First the engine alone, the volumes themselves taken off: each length runs in a process of its own,
on random weights of the built-in architecture. The feature cache is kept small enough that even the
short volume fills it; otherwise it, being allowed to, would grow up to its bound. Then what
`large.py` measures of 512 × 512 × 800 voxels, through the command line and the server. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct")]

LARGE = (512, 512, 800)
MB = 1 << 20


def measure(slices: int, side: int, cache_mb: float, policy: str) -> dict[str, float]:
    """One request on a volume of `slices` slices; megabytes and seconds."""
    import numpy as np
    import torch

    from lib.geometry import Axis, Grid
    from lib.models.build import build_network, read_config
    from lib.models.registry import BUILTIN, resolve
    from lib.prompts.types import Mask, PromptSet
    from lib.propagation.features import FeatureBank
    from lib.propagation.inferer import PseudoVideoInferer
    from lib.propagation.policy import parse_policy
    from lib.propagation.settings import PropagationSettings

    torch.set_num_threads(1)
    predictor = build_network(read_config(resolve(BUILTIN)), seed=1)
    volume = np.random.default_rng(0).random((side, side, slices), dtype=np.float32)
    grid = Grid(volume.shape, np.eye(4))
    mask = np.zeros((side, side), bool)
    mask[side // 4 : side // 2, side // 4 : side // 2] = True
    prompts = tuple(Mask(Axis.AXIAL, t, 1, mask) for t in (0, slices // 2, slices - 1))
    settings = PropagationSettings(policy=parse_policy(policy))
    bank = FeatureBank(int(cache_mb * MB))
    before = peak_mb()
    started = time.perf_counter()
    result = PseudoVideoInferer(predictor, "random", bank)(
        volume, PromptSet(grid, prompts), settings
    )
    return {
        "slices": slices,
        "peak": peak_mb(),
        "before": before,
        "input": volume.nbytes / MB,
        "output": sum(v.nbytes for v in result.logits.values()) / MB,
        "cache": bank.num_bytes / MB,
        "seconds": time.perf_counter() - started,
    }


def peak_mb() -> float:
    """Peak resident memory of this process."""
    return megabytes(resource.getrusage(resource.RUSAGE_SELF))


def megabytes(used: resource.struct_rusage) -> float:
    """Peak resident memory (Linux counts kilobytes, macOS bytes)."""
    return used.ru_maxrss / MB if sys.platform == "darwin" else used.ru_maxrss / 1024


def in_own_process(slices: int, arguments: argparse.Namespace) -> dict[str, float]:
    """`measure` of one length, and what is left of its peak without the volumes."""
    command = [sys.executable, __file__, "--child", str(slices), "--side", str(arguments.side)]
    command += ["--cache-mb", str(arguments.cache_mb), "--policy", arguments.policy]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    m = json.loads(done.stdout.splitlines()[-1])
    return m | {"rest": m["peak"] - m["input"] - m["output"]}


def table(rows: list[dict[str, float]]) -> str:
    """Markdown."""
    lines = [
        "| slices | peak MB | input MB | output MB | peak − volumes MB | cache MB | s |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {m['slices']} | {m['peak']:.0f} | {m['input']:.0f} | {m['output']:.0f} "
        f"| {m['rest']:.0f} | {m['cache']:.1f} | {m['seconds']:.1f} |"
        for m in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure each length in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, nargs="+", default=[100, 800])
    parser.add_argument("--side", type=int, default=192, help="in-plane voxels")
    parser.add_argument("--cache-mb", type=float, default=8)
    parser.add_argument("--policy", default="baseline")
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        options = arguments.side, arguments.cache_mb, arguments.policy
        print(json.dumps(measure(arguments.child, *options)))
        return
    rows = [in_own_process(slices, arguments) for slices in arguments.slices]
    print(table(rows) + "\n", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    from benchmarks import large  # not in the processes that are measured

    large.report(LARGE, *large.measure(LARGE))


if __name__ == "__main__":
    main()

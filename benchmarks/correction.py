"""What a correction costs against the first request, and both against the stock SAM 2 loop.

    python benchmarks/correction.py [--model builtin] [--image-size 512] [--slices 60] [--rounds 3]

One process and thread, side by side, random weights (speed does not depend on them); the median
of the rounds, in seconds of processor time, so that a busy machine does not blur the ratios. Stock
is `SAM2VideoPredictor` fed the same frames from memory. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "sam2_ct")]

from benchmarks.stock import stock_state
from lib.geometry import Axis, Grid
from lib.models.build import (
    POLICY_PREDICTOR,
    STOCK_PREDICTOR,
    build_network,
    read_config,
)
from lib.models.registry import resolve
from lib.prompts.types import Mask, PromptSet
from lib.propagation.features import FeatureBank
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.policy import parse_policy
from lib.propagation.settings import PropagationSettings
from lib.propagation.video import PseudoVideo

SIDE = 160


def seconds(work: Callable[[], object]) -> float:
    """Processor time of `work`: what it costs, however busy the machine is."""
    started = time.process_time()
    work()
    return time.process_time() - started


def stock_request(network, video: PseudoVideo, prompts: PromptSet) -> None:
    """The stock loop with the same masks, from scratch as a request to a stock server is."""
    state = stock_state(network, video)
    for p in prompts.prompts:
        network.add_new_mask(state, p.index, p.object_id, p.mask.T[::-1].copy())
    for _ in network.propagate_in_video(state):
        pass


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--image-size", type=int, help="side of the network's input")
    parser.add_argument("--slices", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = read_config(resolve(arguments.model))
    if arguments.image_size:
        config.image_size = arguments.image_size
    ours, stock = (
        build_network(config, kind, seed=1) for kind in (POLICY_PREDICTOR, STOCK_PREDICTOR)
    )

    slices = arguments.slices
    volume = np.random.default_rng(0).random((SIDE, SIDE, slices), dtype=np.float32)
    grid = Grid(volume.shape, np.eye(4))
    video = PseudoVideo(volume, grid, Axis.AXIAL, ours.image_size)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[SIDE // 4 : SIDE // 2, SIDE // 4 : SIDE // 2] = True
    first = PromptSet(
        grid, tuple(Mask(Axis.AXIAL, t, 1, mask) for t in (0, slices // 2, slices - 1))
    )
    corrected = first.merged([Mask(Axis.AXIAL, slices // 4, 1, mask)])

    times: dict[tuple[str, str], list[float]] = {}
    stock_request(stock, video, first)  # warm up
    for _ in range(arguments.rounds):
        for name in ("stock", "baseline", "is+sps"):
            if name == "stock":
                pair = [
                    seconds(lambda p=p: stock_request(stock, video, p)) for p in (first, corrected)
                ]
            else:
                engine = PseudoVideoInferer(ours, "random", FeatureBank())
                settings = PropagationSettings(policy=parse_policy(name))
                pair = [
                    seconds(lambda p=p: engine(volume, p, settings))  # noqa: B023
                    for p in (first, corrected)
                ]
            for request, value in zip(("first", "correction"), pair, strict=True):
                times.setdefault((name, request), []).append(value)

    median = {key: statistics.median(values) for key, values in times.items()}
    print(f"{arguments.model}, {ours.image_size}², {slices} slices, {arguments.threads} threads\n")
    print(
        "| CPU s | first | correction | correction / first | stock / first | stock / correction |"
    )
    print("|---|---|---|---|---|---|")
    for name in ("stock", "baseline", "is+sps"):
        one, two = median[name, "first"], median[name, "correction"]
        print(
            f"| {name} | {one:.2f} | {two:.2f} | {two / one:.2f} "
            f"| {median['stock', 'first'] / one:.2f} | {median['stock', 'correction'] / two:.2f} |"
        )


if __name__ == "__main__":
    main()

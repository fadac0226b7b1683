"""`sam2-ct demo`: from three painted slices to a bone, through the real server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lib.errors import BadInput
from lib.lean import load_monai


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="folder for the results")] = Path(
        "out/demo"
    ),
    ct: Annotated[Path | None, typer.Option(help="your CT instead of the sample")] = None,
    prompts: Annotated[Path | None, typer.Option(help="your painted slices, a label map")] = None,
    truth: Annotated[Path | None, typer.Option(help="the whole bone, to measure Dice")] = None,
    model: Annotated[str, typer.Option(help="which checkpoint")] = "builtin",
) -> None:
    """Segment the sample CT (or yours) through the real server: mask, picture, report."""
    if (ct is None) != (prompts is None):
        raise BadInput("give both --ct and --prompts, or neither for the sample CT")

    load_monai()
    from lib.demo.run import run_demo

    run_demo(output, ct, prompts, truth, model)

"""`sam2-ct serve`: keep the server up on a folder of volumes, and say how to connect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lib.commands.server import (
    LOOPBACK,
    check_free,
    run_server,
    server_command,
    server_environment,
)
from lib.errors import BadInput

Port = Annotated[int, typer.Option(min=1, max=65535)]
ModelName = Annotated[str, typer.Option(help="auto, builtin, tiny, small, base_plus, large")]
LabelNames = Annotated[str, typer.Option(help="names of segments, like femur,tibia")]


def serve(
    studies: Annotated[Path, typer.Option(help="folder with NIfTI or NRRD volumes")],
    port: Port = 8000,
    model: ModelName = "auto",
    labels: LabelNames = "bone",
) -> None:
    """Serve a folder of volumes on this machine, to 3D Slicer."""
    if not studies.is_dir():
        raise BadInput(f"{studies} is no folder: give --studies the one that holds the volumes")
    check_free(port)
    banner = f"""
  serving {studies} at http://{LOOPBACK}:{port}

  3D Slicer  install the extension MONAILabel, open its module, set the server to
             http://{LOOPBACK}:{port} and press the refresh button.
             Paint two or three slices in the Scribbles panel (model sam2_ct_masks), then Update.
  from another machine: forward the port, e.g. ssh -L {port}:{LOOPBACK}:{port} <this machine>
  stop       Ctrl+C
"""
    command = server_command(str(studies.resolve()), port, {"model": model, "labels": labels})
    raise typer.Exit(run_server(command, server_environment(), port, banner))

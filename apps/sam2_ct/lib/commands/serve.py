"""`sam2-ct serve`: keep the server up on a folder of volumes, and say how to connect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lib.errors import BadInput
from lib.serving.process import (
    LOOPBACK,
    SLICERS_CLIENT,
    check_free,
    page_of,
    run_server,
    server_command,
    server_environment,
    shared_with,
    url_of,
)

Port = Annotated[int, typer.Option(min=1, max=65535)]
ModelName = Annotated[str, typer.Option(help="auto, builtin, tiny, small, base_plus, large")]
LabelNames = Annotated[str, typer.Option(help="names of segments, like femur,tibia")]
Host = Annotated[
    str, typer.Option(help="address to listen on; beyond this machine it takes --users or --open")
]
Users = Annotated[Path | None, typer.Option(help="file of those who may log in, see sam2-ct users")]
Origins = Annotated[
    str, typer.Option(help="where browsers find it behind a proxy, like https://ct.lab.example")
]
Open = Annotated[bool, typer.Option("--open", help="whoever reaches the server may use it")]
Browser = Annotated[bool, typer.Option("--browser", help="open the server's page when it is up")]


def serve(
    studies: Annotated[Path, typer.Option(help="folder with NIfTI or NRRD volumes")],
    port: Port = 8000,
    model: ModelName = "auto",
    labels: LabelNames = "bone",
    host: Host = LOOPBACK,
    users: Users = None,
    open: Open = False,
    origins: Origins = "",
    browser: Browser = False,
) -> None:
    """Serve a folder of volumes on this machine, to 3D Slicer."""
    if not studies.is_dir():
        raise BadInput(f"{studies} is no folder: give --studies the one that holds the volumes")
    check_free(port, host)
    url = url_of(host, port)
    page = page_of(url, "" if users else SLICERS_CLIENT)
    banner = f"""
  serving {studies} at {url}

  3D Slicer  install the extension MONAILabel, open its module, set the server to
             {url} and press the refresh button.
             Paint two or three slices in the Scribbles panel (model sam2_ct_masks), then Update.
  page       {page}
             progress, results and the order of the studies, beside the viewer
  from another machine: forward the port, e.g. ssh -L {port}:{LOOPBACK}:{port} <this machine>
  stop       Ctrl+C
"""
    conf = {"model": model, "labels": labels, **shared_with(users, open, origins)}
    command = server_command(str(studies.resolve()), port, conf, host)
    shown = page if browser else ""
    raise typer.Exit(run_server(command, server_environment(), port, banner, host, shown))

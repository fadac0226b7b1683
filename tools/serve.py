"""Keep the server up on a folder of volumes, and say how to connect. `make serve STUDIES=…`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "apps" / "sam2_ct"
LOOPBACK = "127.0.0.1"

ModelName = Annotated[str, typer.Option(help="auto, builtin, tiny, small, base_plus, large")]
LabelNames = Annotated[str, typer.Option(help="names of segments, like femur,tibia")]


def server_command(
    studies: str, port: int, conf: dict[str, str], host: str = LOOPBACK
) -> list[str]:
    """The command that starts the MONAI Label server with this app.

    Not `bin/monailabel`: that launcher needs an activated environment and splits values at spaces.
    """
    command = [sys.executable, "-m", "monailabel.main", "start_server"]
    command += ["--app", str(APP), "--studies", studies, "--host", host, "--port", str(port)]
    for name, value in conf.items():
        command += ["--conf", name, value]
    return command


def server_environment() -> dict[str, str]:
    """This process's environment with the interpreter's folder (dcmqi's tools) on PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # MONAI Label loads torch before the app: the waiting of its threads is settled here
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PATH": path}


def run_server(command: list[str], environment: dict[str, str], port: int, banner: str) -> int:
    """The server in the foreground, the banner as soon as it answers; returns its exit code."""
    server = subprocess.Popen(command, env=environment)
    try:
        while server.poll() is None and not answers(port):
            time.sleep(0.2)
        if server.poll() is None:
            print(banner, flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        server.terminate()
        server.wait()


def check_free(port: int) -> None:
    """Leave with exit code 2 and a sentence if somebody else has the port."""
    if answers(port):
        print(f"error: port {port} is taken: choose another one, PORT=…", file=sys.stderr)
        raise typer.Exit(2)


def answers(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((LOOPBACK, port)) == 0


def serve(
    studies: Annotated[Path, typer.Option(help="folder with NIfTI or NRRD volumes")],
    port: int = 8000,
    model: ModelName = "auto",
    labels: LabelNames = "bone",
) -> None:
    """Serve a folder of volumes on this machine."""
    if not studies.is_dir():
        print(f"error: {studies} is no folder: make serve STUDIES=/path/to/folder", file=sys.stderr)
        raise typer.Exit(2)
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


if __name__ == "__main__":
    typer.run(serve)

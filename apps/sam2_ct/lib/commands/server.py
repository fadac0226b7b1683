"""Starting the MONAI Label server with this app, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from lib.errors import Unavailable
from lib.places import APP, app_folder

LOOPBACK = "127.0.0.1"


def server_command(
    studies: str, port: int, conf: dict[str, str], host: str = LOOPBACK
) -> list[str]:
    """The command that starts the MONAI Label server with this app.

    Not `bin/monailabel`: that launcher needs an activated environment and splits values at spaces.
    """
    command = [sys.executable, str(APP / "start.py"), "start_server"]
    command += ["--app", str(app_folder()), "--studies", studies]
    command += ["--host", host, "--port", str(port)]
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
    """Make sure that nobody has the port.

    Raises:
        Unavailable: somebody has.
    """
    if answers(port):
        raise Unavailable(f"port {port} is taken: choose another one with --port")


def answers(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((LOOPBACK, port)) == 0


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        return free.getsockname()[1]

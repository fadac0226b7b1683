"""Starting the MONAI Label server with this app, in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from pathlib import Path

from lib.errors import Unavailable
from lib.places import APP, app_folder

LOOPBACK = "127.0.0.1"
#: What Slicer's module calls itself, unless its settings say otherwise.
SLICERS_CLIENT = "user-xyz"


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


def shared_with(users: Path | None, open: bool, origins: str) -> dict[str, str]:
    """The settings of a server that say who may use it; the server refuses what is unsafe."""
    said = {
        "users": str(users.expanduser().absolute()) if users else "",
        "open": "true" if open else "",
        "origins": origins,
    }
    return {name: value for name, value in said.items() if value}


def run_server(
    command: list[str],
    environment: dict[str, str],
    port: int,
    banner: str,
    host: str = LOOPBACK,
    show: str = "",
) -> int:
    """The server in the foreground; returns its exit code.

    As soon as it answers, the banner is printed, and `show`, an address, is opened in a browser.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped, too
    server = subprocess.Popen(command, env=environment)
    try:
        while server.poll() is None and not answers(port, reached_at(host)):
            time.sleep(0.2)
        if server.poll() is None:
            print(banner, flush=True)
            if show:  # some browsers run in the terminal and return when they are left
                threading.Thread(target=_open_in_browser, args=[show], daemon=True).start()
        return server.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        server.terminate()
        server.wait()


def _open_in_browser(address: str) -> None:
    if not webbrowser.open(address):
        print(f"  no browser was found on this machine: open {address} yourself", flush=True)


def check_free(port: int, host: str = LOOPBACK) -> None:
    """Make sure that a server can listen there.

    Raises:
        Unavailable: somebody has the port, or the address is not of this machine.
    """
    if answers(port):
        raise Unavailable(f"port {port} is taken: choose another one with --port")
    try:
        first, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, place = first
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
            probe.bind(place)
    except OSError as error:
        raise Unavailable(
            f"no server can listen on {host} port {port} of this machine: {error.strerror}"
        ) from error


def answers(port: int, address: str = LOOPBACK) -> bool:
    """Whether somebody listens on a port of this machine."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def reached_at(host: str) -> str:
    """Where this machine finds a server that listens on `host`."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)


def url_of(host: str, port: int) -> str:
    """What to type in a browser on this machine."""
    address = reached_at(host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def page_of(url: str, client: str = "") -> str:
    """The address of the page, as a client; with log-in none is needed."""
    return f"{url}/sam2_ct/?client_id={client}" if client else f"{url}/sam2_ct/"


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        return free.getsockname()[1]

"""A folder of the server's own for files that nobody keeps, and who may read the others.

Uploads, answers on their way and the copies of MONAI Label's converters are made with `tempfile`,
which is pointed here. The folder goes with the server; what a killed one left goes when the next
one starts.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from filelock import FileLock, Timeout

HELD_UP = 10.0  # seconds that a client may keep a server that stops, by not reading its answer

#: What others may not do with files of the studies' folder: as the person who started us has it.
_others = os.umask(0o077)
os.umask(_others)


def keep_private() -> None:
    """From now on files that this process makes are readable by its user alone; its logs, too."""
    os.umask(0o077)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):  # opened before this app was
            Path(handler.baseFilename).chmod(0o600)


def as_usual(path: Path) -> None:
    """Give a file the rights it would have without `keep_private`: it belongs to the studies."""
    path.chmod(0o666 & ~_others)


def make_usual(folder: Path) -> None:
    """Make a folder of the studies, with the rights it would have without `keep_private`."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        path.chmod(0o777 & ~_others)


def make_private(folder: Path) -> None:
    """Let nobody but its user into a folder of ours; it is made if it is not there.

    One of somebody else, or on a read-only disk, is left as it is.
    """
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)


def open_scratch(root: Path) -> Path:
    """A new folder in `root` that `tempfile` uses from now on; those of dead servers go.

    Raises:
        OSError: there can be no such folder.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    root.chmod(0o700)
    sweep(root)
    mine = root / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    lock = _lock_of(mine)
    lock.acquire()
    mine.mkdir(mode=0o700)
    tempfile.tempdir = str(mine)
    os.environ["TMPDIR"] = str(mine)  # of dcmqi and other programs that we start

    def leave() -> None:
        shutil.rmtree(mine, ignore_errors=True)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)

    atexit.register(leave)
    return mine


def end_cleanly(first: Callable[[], None], is_busy: Callable[[], bool]) -> None:
    """Let SIGTERM end this process as Ctrl+C does: then what `atexit` knows is done.

    uvicorn shuts down on both, and raises the signal anew after that. It waits for every answer to
    end, and would for a client that does not read its own: nobody holds the server up for long.
    To be called when uvicorn's handlers are in place, in the main thread.

    Args:
        first: ends the answers that have no end.
        is_busy: whether there is work to wait for.
    """
    shut_down = signal.getsignal(signal.SIGINT)
    if not callable(shut_down):
        return
    server = getattr(shut_down, "__self__", None)  # uvicorn's, whose method that is

    def hurry() -> None:
        time.sleep(HELD_UP)
        while is_busy():
            time.sleep(0.1)
        if isinstance(server, uvicorn.Server):
            server.force_exit = True

    def end(_number: int, frame: FrameType | None) -> None:
        first()
        shut_down(signal.SIGINT, frame)
        threading.Thread(target=hurry, name="hurry", daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def sweep(root: Path) -> None:
    """Remove the folders in `root` whose server is gone: nobody holds their lock."""
    for folder in root.iterdir():
        if folder.suffix == ".lock" and folder.with_suffix("").exists():
            continue
        lock = _lock_of(folder.with_suffix(""))
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(folder.with_suffix(""), ignore_errors=True)
                Path(lock.lock_file).unlink(missing_ok=True)
        except Timeout:
            continue


def _lock_of(folder: Path) -> FileLock:
    return FileLock(folder.with_suffix(".lock"))

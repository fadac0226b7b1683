"""Fetching a checkpoint: resumed, checked, whole or not at all.

While it runs there are, beside the target, ``NAME.part`` (what has come so far, kept for the
next try), ``NAME.etag.part`` (which version of the file that is) and ``NAME.lock.part`` (so
that of two processes one downloads and the other waits for its result).
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import queue
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3
from filelock import FileLock, Timeout
from tqdm import tqdm

from lib.errors import Unavailable
from lib.files import sync
from lib.models.hashing import PIECE, update_from
from lib.models.registry import Checkpoint, place_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try.

    Attributes:
        connect: For a connection to one address of the server.
        answer: For the whole way to the first line of the answer: name resolution, all
            addresses, TLS. A firewall that swallows packets costs this long, no longer.
        read: Between two pieces of the file.
        resumes: How many times a transfer that breaks off is taken up again at once.
    """

    connect: float = 5.0
    answer: float = 20.0
    read: float = 30.0
    resumes: int = 3


class _BrokenOff(Exception):
    """The connection ended before the file did."""


def how_to_place(checkpoint: Checkpoint, folder: Path | None = None) -> str:
    """What to do by hand when the download cannot be made: file, URL, place, SHA-256."""
    place = place_of(checkpoint, folder)
    size = "" if checkpoint.size is None else f", {checkpoint.size / 1e6:.0f} MB"
    return (
        f"Without a network: on another machine download {checkpoint.url} "
        f"(SHA-256 {checkpoint.sha256}{size}) and put it at {place}; or name the "
        "file with --checkpoint FILE (server: --conf checkpoint FILE)."
    )


def fetch(
    checkpoint: Checkpoint, folder: Path | None = None, *, patience: Patience | None = None
) -> Path:
    """Download ``checkpoint`` unless its file is there already.

    A file that is there is taken as it is; whoever reads it checks its hash.

    Args:
        checkpoint: One with a ``url`` and a ``sha256``.
        folder: Where the file is looked for and goes, see `place_of`; made if missing.
        patience: Time limits.

    Returns:
        The path of the complete file, whose SHA-256 was checked.

    Raises:
        Unavailable: It cannot be had: no network, an error of the server, a wrong hash, no
            space. The message says why, and what to do by hand.
    """
    target = place_of(checkpoint, folder)
    if target.exists():
        return target
    if checkpoint.url is None or checkpoint.sha256 is None:
        raise Unavailable(f"checkpoint '{checkpoint.name}' is not at {target} and has no download")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(_beside(target, "lock")):
            # Another process may have brought it while we waited.
            if not target.exists():
                _Transfer(checkpoint, target, patience or Patience()).run()
    except Unavailable as error:
        raise Unavailable(
            f"cannot download checkpoint '{checkpoint.name}': {error}. "
            + how_to_place(checkpoint, folder)
        ) from error
    except OSError as error:
        raise Unavailable(
            f"cannot store checkpoint '{checkpoint.name}' in {target.parent}: "
            f"{_disk_trouble(error)}. " + how_to_place(checkpoint, folder)
        ) from error
    return target


class _Transfer:
    """One download, from the state found on disk to the file in its place."""

    def __init__(self, checkpoint: Checkpoint, target: Path, patience: Patience) -> None:
        self.checkpoint = checkpoint
        self.target = target
        self.part = target.with_name(target.name + ".part")
        self.etag = _beside(target, "etag")
        self.patience = patience

    def run(self) -> None:
        """Bring the file, resuming where it can; raises Unavailable or OSError."""
        found = self._have()
        digest = self._complete()
        if digest != self.checkpoint.sha256 and found:
            # The piece found at the start may have been a bad one: once more, from nothing.
            logger.warning("%s: the resumed download is damaged, starting over", self.target.name)
            self._discard()
            digest = self._complete()
        if digest != self.checkpoint.sha256:
            self._discard()
            raise Unavailable(
                f"what {self.checkpoint.url} sends has SHA-256 {digest}, expected "
                f"{self.checkpoint.sha256} (it was removed; is there a filtering proxy?)"
            )
        os.replace(self.part, self.target)
        sync(self.target.parent)
        self.etag.unlink(missing_ok=True)

    def _complete(self) -> str:
        """Fetch what is missing, taking up broken connections; the SHA-256 of the whole."""
        for attempt in range(self.patience.resumes + 1):
            before = self._have()
            try:
                return self._continue()
            except _BrokenOff as error:
                have = self._have()
                if attempt == self.patience.resumes or have == before:
                    raise Unavailable(
                        f"the connection broke off after {have} bytes ({error}); "
                        "they are kept and the next try goes on from there"
                    ) from error
                logger.warning("connection broke off after %d bytes, going on from there", have)
        raise AssertionError("the loop returns or raises")

    def _continue(self) -> str:
        """One request for the bytes still missing; returns the SHA-256 of all of them."""
        digest = hashlib.sha256()
        have = self._have()
        if have and have == self.checkpoint.size:
            update_from(digest, self.part)  # broke off between the last byte and the renaming
            return digest.hexdigest()
        headers = {"Accept-Encoding": "identity"}  # or the offsets would count packed bytes
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.etag.exists():
                headers["If-Range"] = self.etag.read_text(encoding="utf-8").strip()
        response = _open(self.checkpoint.url, headers, self.patience)
        with response:
            if response.status_code == requests.codes.requested_range_not_satisfiable and have:
                # Our piece is as long as the file, or longer: complete, or not of this file.
                update_from(digest, self.part)
                if digest.hexdigest() == self.checkpoint.sha256:
                    return digest.hexdigest()
                self._discard()
                raise _BrokenOff("the server knows no such range; starting over")
            if response.status_code >= 400:
                raise Unavailable(
                    f"{self.checkpoint.url} answers {response.status_code} {response.reason}"
                )
            resumed = response.status_code == requests.codes.partial_content
            if resumed and _first_byte(response) != have:
                self._discard()
                raise _BrokenOff("the server sent another range than asked for; starting over")
            if not resumed:
                have = 0  # the server ignores ranges, or the file has changed: all of it comes
            total = _total(response, have)
            self._expect(total, have)
            self._remember_version(response)
            if have:
                update_from(digest, self.part)
            self._receive(response, digest, have, total)
        return digest.hexdigest()

    def _expect(self, total: int | None, have: int) -> None:
        """Refuse before the first byte what cannot become the file or does not fit."""
        size = self.checkpoint.size
        if None not in (size, total) and total != size:
            raise Unavailable(
                f"{self.checkpoint.url} offers {total} bytes where the checkpoint has {size} "
                "(a proxy's page instead of the file?)"
            )
        if total is not None:
            # Truncating an old part gives its space back.
            kept = 0 if have else self._have()
            free = shutil.disk_usage(self.target.parent).free + kept
            if total - have > free:
                raise Unavailable(
                    f"{self.target.parent} has {free / 1e6:.0f} MB free and "
                    f"{(total - have) / 1e6:.0f} MB are still to come"
                )

    def _receive(
        self, response: requests.Response, digest: hashlib._Hash, have: int, total: int | None
    ) -> None:
        with (
            self.part.open("ab" if have else "wb") as file,
            tqdm(  # to stderr; disable=None: only where a person watches
                total=total,
                initial=have,
                unit="B",
                unit_scale=True,
                desc=self.target.name,
                disable=None,
            ) as bar,
        ):
            received = have
            try:
                # Read what is there, not full pieces: a piece that a broken connection leaves
                # incomplete would be lost.
                while piece := _read(response):
                    file.write(piece)
                    digest.update(piece)
                    received += len(piece)
                    bar.update(len(piece))
            finally:
                file.flush()
            whole = self.checkpoint.size if total is None else total
            if whole is not None and received < whole:
                raise _BrokenOff(f"{whole - received} bytes are missing")
            os.fsync(file.fileno())

    def _remember_version(self, response: requests.Response) -> None:
        tag = response.headers.get("ETag", "")
        # Weak tags may not be used with If-Range (RFC 9110, 13.1.5).
        version = response.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
        if version:
            self.etag.write_text(version, encoding="utf-8")
        else:
            self.etag.unlink(missing_ok=True)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.etag.unlink(missing_ok=True)


def _open(url: str, headers: dict[str, str], patience: Patience) -> requests.Response:
    """GET ``url``, the body not yet read.

    In a thread, because requests' limits hold per address and leave name resolution out:
    behind a firewall that drops packets they can add up to minutes.
    """
    answers: queue.SimpleQueue[requests.Response | requests.RequestException] = queue.SimpleQueue()

    def get() -> None:
        try:
            answers.put(
                requests.get(
                    url,
                    headers=headers,
                    stream=True,
                    timeout=(patience.connect, patience.read),
                )
            )
        except requests.RequestException as error:
            answers.put(error)

    threading.Thread(target=get, daemon=True, name="checkpoint-download").start()
    try:
        answer = answers.get(timeout=patience.answer)
    except queue.Empty:
        raise Unavailable(f"{url} does not answer within {patience.answer:g} s") from None
    if isinstance(answer, requests.RequestException):
        raise Unavailable(f"{url} cannot be reached ({_reason(answer)})") from answer
    return answer


def _read(response: requests.Response) -> bytes:
    try:
        return response.raw.read1(PIECE)
    except urllib3.exceptions.HTTPError as error:
        raise _BrokenOff(type(error).__name__) from error


def _first_byte(response: requests.Response) -> int | None:
    """The first offset of ``Content-Range: bytes 100-199/200``."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else None


def _total(response: requests.Response, have: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return have + int(length) if length.isdigit() else None


def _only_one(path: Path) -> FileLock:
    """A lock held by one process at a time; given free by the system if its holder dies."""
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is downloading %s, waiting for it", path.parent)
        return lock.acquire()


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f"{target.name}.{what}.part")


def _disk_trouble(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; what came so far is kept, and the next try goes on from there"
    return error.strerror or str(error)


def _reason(error: requests.RequestException) -> str:
    """The innermost cause, which names what failed; the outer ones repeat the URL."""
    cause: BaseException = error
    while cause.args and isinstance(cause.args[0], BaseException):
        cause = cause.args[0]
    text = str(getattr(cause, "reason", None) or cause)
    return f"{type(error).__name__}: {text.rpartition(': ')[2] or text}"

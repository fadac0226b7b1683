"""Encoded slices on disk, so that a volume opened yesterday answers at once."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lib.errors import BadInput
from lib.files import write_whole

_ENDING = ".safetensors"
_log = logging.getLogger(__name__)


class DiskCache:
    """Tensors by name, one file each; the least recently read make room.

    Files appear whole or not at all. One that cannot be read is said in the log, removed, and
    counts as not there. Safe to use from several threads; processes that share a folder each
    count what they found there and wrote.

    Args:
        folder: made if it is not there.
        max_bytes: bound of all files.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._sizes = {p.name: p.stat().st_size for p in self._oldest_first()}

    @property
    def num_bytes(self) -> int:
        """Bytes on disk now."""
        return sum(self._sizes.values())

    def get(self, name: str) -> dict[str, torch.Tensor] | None:
        """The tensors of that name, or None if they are not there."""
        path = self._path(name)
        with self._lock:
            try:
                tensors = load_file(path)
                os.utime(path)
            except FileNotFoundError:
                self._sizes.pop(path.name, None)
                return None
            except (SafetensorError, OSError) as error:
                _log.warning("encoded slices in %s cannot be read and are removed: %s", path, error)
                self._remove(path)
                return None
            return tensors

    def put(self, name: str, tensors: dict[str, torch.Tensor]) -> None:
        """Keep tensors; what alone is larger than the bound is not kept."""
        plain = {key: tensor.cpu().contiguous() for key, tensor in tensors.items()}
        if sum(t.numel() * t.element_size() for t in plain.values()) > self.max_bytes:
            return
        path = self._path(name)
        with self._lock:
            try:
                write_whole(path, lambda part: save_file(plain, part))
            except (BadInput, OSError) as error:  # a full disk must not cost the answer
                _log.warning("encoded slices are not kept on disk: %s", error)
                return
            self._sizes[path.name] = path.stat().st_size
            if self.num_bytes > self.max_bytes:
                for old in self._oldest_first():
                    if self.num_bytes <= self.max_bytes:
                        break
                    self._remove(old)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{_ENDING}"

    def _oldest_first(self) -> list[Path]:
        found = []
        for path in self.folder.glob(f"*{_ENDING}"):
            try:
                found.append((path.stat().st_mtime_ns, path))
            except FileNotFoundError:  # another process made room
                continue
        return [path for _, path in sorted(found)]

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._sizes.pop(path.name, None)

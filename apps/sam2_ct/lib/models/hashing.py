"""SHA-256 of files, read in pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path

PIECE = 1 << 20


def update_from(digest: hashlib._Hash, path: Path) -> None:
    """Feed the whole of ``path`` to ``digest``; raises OSError."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits; raises OSError."""
    digest = hashlib.sha256()
    update_from(digest, path)
    return digest.hexdigest()

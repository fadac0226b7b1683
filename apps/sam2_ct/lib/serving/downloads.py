"""Files of the server as answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi.responses import FileResponse


def download(
    path: str | Path, name: str, kind: str = "application/octet-stream", **more: Any
) -> FileResponse:
    """A file, to be kept under `name`.

    Starlette looks for the file when the route is through, and whoever asks would be told of an
    unexpected error then.

    Args:
        path: of the file.
        name: for whoever asks.
        kind: media type.
        more: as `FileResponse` has it.

    Raises:
        FileNotFoundError: it has gone.
    """
    return FileResponse(path, media_type=kind, filename=name, stat_result=os.stat(path), **more)

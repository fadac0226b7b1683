"""Sessions: volumes that a viewer opened locally and sent, for an hour. MONAI Label's, made safe.

Upstream's ids can be guessed, its cleaning stops the server from starting where a killed one left
half a session, and it unpacks archives wherever their members lead.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from pathlib import Path

from monailabel.utils.sessions import SessionInfo, Sessions

from lib.files import beside, discard, sync
from lib.serving.names import is_session
from lib.serving.scratch import make_private

_META = "meta.info"


class VolumeSessions(Sessions):
    """Sessions in a folder that only the server's user may read.

    Args:
        store_path: the folder.
        expiry: seconds after its last use in which a session goes, at most.
    """

    def __init__(self, store_path: str, expiry: int = 3600) -> None:
        super().__init__(store_path, expiry)
        make_private(Path(self.store_path))

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id=None
    ) -> tuple[str, SessionInfo]:
        """A session of the volume `data_file`, which is moved into it.

        Raises:
            OSError: it cannot be written.
        """
        session_id = str(uuid.uuid4())
        folder = Path(self.store_path, session_id)
        image = folder / f"volume{''.join(Path(data_file).suffixes[-2:])}"
        now = int(time.time())
        info = SessionInfo()
        info.name, info.path, info.image, info.meta = session_id, str(folder), str(image), {}
        info.create_ts = info.last_access_ts = now
        info.expiry = min(expiry, self.expiry) if expiry > 0 else self.expiry
        folder.mkdir(parents=True, mode=0o700)
        try:
            shutil.move(data_file, image)
            sync(image)
            self._write_meta_info(session_id, info)
            sync(folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self[session_id] = info
        return session_id, info

    def get_session(
        self, session_id: str, update_ts: bool = True, fetch_cache: bool = True
    ) -> SessionInfo | None:
        """A session that is there whole; None otherwise."""
        if not is_session(session_id):
            return None
        info = self.get(session_id) if fetch_cache else None
        info = info or self._read(session_id)
        if info is None or not os.path.exists(info.image):
            self.pop(session_id, None)
            return None
        self[session_id] = info
        if update_ts:
            info.last_access_ts = int(time.time())
            with contextlib.suppress(OSError):  # a full disk: it expires a little earlier then
                self._write_meta_info(session_id, info)
        return info

    def remove_session(self, session_id: str) -> None:
        """Remove a session."""
        if is_session(session_id):
            self.pop(session_id, None)
            shutil.rmtree(Path(self.store_path, session_id), ignore_errors=True)

    def remove_expired(self) -> int:
        """Remove sessions that expired, and what killed servers left of others; how many."""
        count = 0
        for folder in Path(self.store_path).glob("*"):
            if not is_session(folder.name):
                continue
            info = self._read(folder.name)
            since = info.last_access_ts + info.expiry if info else _changed(folder) + self.expiry
            if since < time.time():
                self.remove_session(folder.name)
                count += 1
        return count

    def _read(self, session_id: str) -> SessionInfo | None:
        folder = Path(self.store_path, session_id)
        try:
            info = SessionInfo(json.loads((folder / _META).read_text(encoding="utf-8")))
            inside = Path(info.image).parent == folder
            return info if inside and isinstance(info.last_access_ts + info.expiry, int) else None
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def _write_meta_info(self, session_id: str, session_info: SessionInfo) -> None:
        place = Path(self.store_path, session_id, _META)
        partial = beside(place)
        try:
            partial.write_text(session_info.to_str(), encoding="utf-8")
            os.replace(partial, place)
        finally:
            discard(partial)


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return time.time()

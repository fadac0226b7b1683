r"""Where the project keeps what it downloads and writes for itself.

The folder it is installed in is only read. Everything else goes to one folder of the user:
`--conf home DIR` of the server, else the environment variable SAM2_CT_HOME, else the operating
system's cache folder (Linux `~/.cache/sam2_ct`, macOS `~/Library/Caches/sam2_ct`, Windows
`%LOCALAPPDATA%\sam2_ct\Cache`).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from lib.errors import BadInput
from lib.files import write_whole

HOME_VARIABLE = "SAM2_CT_HOME"

#: The app's own folder, which holds `main.py`, `lib` and `model`.
APP = Path(__file__).resolve().parents[1]

_DOOR = '''"""A door to the installed app for MONAI Label, which keeps its logs beside this file."""

import sys

sys.path.insert(0, {app!r})

from main import MyApp
'''


def home() -> Path:
    """The user's folder for downloads, logs and caches; it may not exist yet."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return platformdirs.user_cache_path("sam2_ct", appauthor=False)


def settle(folder: Path) -> None:
    """Make `folder` the `home` of this process and of those it starts."""
    os.environ[HOME_VARIABLE] = str(folder.expanduser().absolute())


def downloads() -> Path:
    """Where checkpoints go; it may not exist yet."""
    return home() / "model"


def app_folder() -> Path:
    """A folder for `start_server --app` in which MONAI Label may write.

    It makes `logs`, `bin` and the like there. An app folder that has its `logs` already, as in a
    checkout, is taken itself; otherwise a folder in `home` whose `main.py` leads to the app.

    Raises:
        BadInput: `home` cannot be written to.
    """
    if os.access(APP / "logs", os.W_OK):
        return APP
    # one for each installation: they may be of different versions
    door = home() / f"app-{hashlib.sha256(str(APP).encode()).hexdigest()[:8]}"
    content = _DOOR.format(app=str(APP))
    try:
        door.mkdir(parents=True, exist_ok=True)
        write_whole(door / "main.py", lambda path: path.write_text(content, encoding="utf-8"))
    except (OSError, BadInput) as error:
        raise BadInput(
            f"{door} cannot be written to ({error}): name another folder in the environment "
            f"variable {HOME_VARIABLE}"
        ) from error
    return door

"""A DICOMweb store of one's own: Orthanc on the loopback, its data in a folder."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib.errors import Unavailable
from lib.serving.process import LOOPBACK, free_port

PACKAGES = "orthanc orthanc-dicomweb"
_PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))
_START_LIMIT = 60.0


class OrthancMissing(Unavailable):
    """Orthanc or its DICOMweb plugin is not installed."""


@dataclass(frozen=True)
class Orthanc:
    """A running store."""

    url: str

    @property
    def dicomweb(self) -> str:
        """Root of its DICOMweb services."""
        return f"{self.url}/dicom-web"

    def add(self, files: Iterable[Path]) -> None:
        """Store DICOM files; what is there already stays."""
        import requests

        for path in files:
            answer = requests.post(f"{self.url}/instances", data=path.read_bytes(), timeout=60)
            answer.raise_for_status()


def find_orthanc() -> tuple[Path, Path]:
    """The program and its DICOMweb plugin.

    Raises:
        OrthancMissing: says what to install.
    """
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    plugin = next((p for f in _PLUGINS for p in sorted(f.glob("libOrthancDicomWeb.so*"))), None)
    if program is None or plugin is None:
        raise OrthancMissing(f"Orthanc is not installed: apt-get install {PACKAGES}")
    return Path(program), plugin


@contextmanager
def orthanc(folder: Path, port: int | None = None) -> Iterator[Orthanc]:
    """Run a store whose data lie in `folder`; it ends with the block.

    Clients on other machines are refused. Version 1.10 listens on all interfaces whatever it is
    told, so that refusal is what keeps them out.

    Raises:
        OrthancMissing: see `find_orthanc`.
        Unavailable: it does not start; the message ends with its log.
    """
    program, plugin = find_orthanc()
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    config = {
        "Name": "sam2_ct",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "HttpBindAddresses": [LOOPBACK],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "OverwriteInstances": False,
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True},
    }
    (folder / "orthanc.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    log = folder / "orthanc.log"
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [str(program), str(folder / "orthanc.json")],
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl+C is for us; we stop it
        )
    store = Orthanc(f"http://{LOOPBACK}:{port}")
    try:
        _wait(store, process, log)
        yield store
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(store: Orthanc, process: subprocess.Popen, log: Path) -> None:
    import requests

    deadline = time.monotonic() + _START_LIMIT
    while True:
        try:
            if requests.get(f"{store.dicomweb}/studies", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unavailable(f"Orthanc did not start:\n{log.read_text('utf-8')[-2000:]}")
        time.sleep(0.1)

"""`sam2-ct serve-dicom`: OHIF on a DICOMweb store.

Without a store of one's own: Orthanc, with the sample CT as a DICOM series.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from lib.commands.orthanc import orthanc
from lib.commands.serve import (
    Browser,
    Host,
    LabelNames,
    ModelName,
    Open,
    Origins,
    Port,
    Users,
)
from lib.errors import Unavailable
from lib.serving.process import (
    LOOPBACK,
    answers,
    check_free,
    page_of,
    run_server,
    server_command,
    server_environment,
    shared_with,
    url_of,
)


def serve_dicom(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="folder for Orthanc's data and the image cache")
    ] = Path("out/dicom"),
    dicomweb: Annotated[str, typer.Option(help="address of your own DICOMweb store")] = "",
    port: Port = 8000,
    model: ModelName = "auto",
    labels: LabelNames = "bone",
    host: Host = LOOPBACK,
    users: Users = None,
    open: Open = False,
    origins: Origins = "",
    browser: Browser = False,
) -> None:
    """Serve a DICOMweb store on this machine, with OHIF."""
    check_free(port, host)
    out = output.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Orthanc is stopped, too
    with ExitStack() as stack:
        if not dicomweb:
            try:
                # the same address each time, by which the image cache goes, if it can be had
                beside = None if answers(port + 1) else port + 1
                store = stack.enter_context(orthanc(out / "orthanc", beside))
            except Unavailable as error:
                raise Unavailable(f"{error} (or give --dicomweb http://…)") from error
            store.add(sample_series(out / "sample"))
            dicomweb = store.dicomweb
        elif not is_dicomweb(dicomweb):
            raise Unavailable(f"no DICOMweb store answers at {dicomweb}")
        conf = {"model": model, "labels": labels, "results": str(out / "results")}
        command = server_command(dicomweb, port, conf | shared_with(users, open, origins), host)
        environment = {**server_environment(), **dicom_environment(out)}
        shown = page_of(url_of(host, port)) if browser else ""
        code = run_server(command, environment, port, banner(dicomweb, port, host), host, shown)
    raise typer.Exit(code)


def is_dicomweb(address: str) -> bool:
    """Whether studies can be searched there; a store that asks who we are counts."""
    import requests

    try:
        answer = requests.get(
            f"{address.rstrip('/')}/studies",
            params={"limit": 1},
            headers={"accept": "application/dicom+json"},
            timeout=30,
        )
    except requests.RequestException:
        return False
    return answer.ok or answer.status_code in (401, 403)


def sample_series(folder: Path) -> list[Path]:
    """The files of the sample series, written when they are not there."""
    from lib.sample.ct import make_sample_ct
    from lib.sample.dicom import as_acquired, write_series

    files = sorted(folder.glob("*.dcm"))
    if files:
        return files
    sample = make_sample_ct()
    hu, _, affine = as_acquired(sample, "straight")
    partial = folder.with_name(f".{folder.name}.part")
    write_series(hu, affine, partial, kind="straight")
    partial.rename(folder)
    return sorted(folder.glob("*.dcm"))


def banner(dicomweb: str, port: int, host: str = LOOPBACK) -> str:
    """What a person needs to know."""
    url = url_of(host, port)
    return f"""
  DICOMweb   {dicomweb}
  OHIF       {url}/ohif/
  page       {page_of(url)}
  3D Slicer  the same server, {url}
  stop       Ctrl+C
"""


def dicom_environment(out: Path) -> dict[str, str]:
    """Settings of MONAI Label for a DICOMweb store; what is set already stays.

    Its cache of the list of series would hide new ones for two hours.
    """
    ours = {
        "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(out / "cache"),
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "5",
        "MONAI_LABEL_DICOMWEB_READ_TIMEOUT": "30",
    }
    return {name: os.environ.get(name, value) for name, value in ours.items()}

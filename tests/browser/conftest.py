"""Orthanc with a series, a server on it, and a Chromium in front."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lib.commands.orthanc import Orthanc, OrthancMissing, find_orthanc, orthanc
from lib.commands.serve_dicom import dicom_environment
from lib.sample.ct import make_sample_ct
from lib.sample.dicom import as_acquired, write_series
from lib.serving.auth.passwords import hashed
from lib.serving.auth.users import Role, User, UsersFile
from tests.browser.ohif_page import PACKAGES, OhifPage, find_browser, start_browser
from tests.server.conftest import Server, running_server

BUILD = Path(__file__).parents[2] / "build"


@dataclass(frozen=True)
class Phantom:
    """What the series shows.

    Attributes:
        labels: (columns, rows, slices), a value for each bone.
        to_lps: (4, 4) voxel index to patient coordinates as DICOM has them.
        uid: SeriesInstanceUID.
        files: the series.
    """

    labels: np.ndarray
    to_lps: np.ndarray
    uid: str
    files: tuple[Path, ...]


@pytest.fixture(scope="session")
def phantom(tmp_path_factory) -> Phantom:
    folder = tmp_path_factory.mktemp("series")
    sample = make_sample_ct(0, shape=(100, 80, 64), spacing=(3.0, 3.0, 6.0))
    hu, labels, affine = as_acquired(sample, "straight")
    uid = write_series(hu, affine, folder, kind="straight")
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return Phantom(labels, to_lps, uid, tuple(sorted(folder.glob("*.dcm"))))


@pytest.fixture(scope="session")
def store(phantom, tmp_path_factory) -> Iterator[Orthanc]:
    if find_browser() is None:
        pytest.skip(f"Chromium and its driver are not installed: apt-get install {PACKAGES}")
    try:
        find_orthanc()
    except OrthancMissing as error:
        pytest.skip(str(error))
    with orthanc(tmp_path_factory.mktemp("store") / "orthanc") as store:
        store.add(phantom.files)
        yield store


@pytest.fixture(scope="session")
def browser_server(store, tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("browser")
    settings = dicom_environment(folder)
    with running_server(store.dicomweb, folder / "server.log", {}, **settings) as server:
        yield server


@pytest.fixture(scope="session")
def locked_server(store, tmp_path_factory) -> Iterator[Server]:
    """One that `anna` has to log in to, with `correct horse`."""
    folder = tmp_path_factory.mktemp("locked")
    users = UsersFile(folder / "users.json")
    users.add(User("anna", Role.ANNOTATOR, hashed("correct horse")))
    conf, settings = {"users": str(users.path)}, dicom_environment(folder)
    log = folder / "server.log"
    with running_server(store.dicomweb, log, conf, probe="/auth/", **settings) as server:
        yield server


@pytest.fixture
def open_page(tmp_path) -> Iterator[Callable[[Server], OhifPage]]:
    """Opens a browser on a server."""
    drivers = []

    def opened(server: Server) -> OhifPage:
        drivers.append(start_browser(tmp_path / f"profile-{len(drivers)}"))
        return OhifPage(drivers[-1], server.url)

    yield opened
    for driver in drivers:
        driver.save_screenshot(str(BUILD / "ohif-last.png"))
        driver.quit()


@pytest.fixture
def page(browser_server, open_page) -> OhifPage:
    return open_page(browser_server)


@pytest.fixture(scope="session", autouse=True)
def build_folder() -> Path:
    BUILD.mkdir(exist_ok=True)
    return BUILD

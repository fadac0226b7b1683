"""Orthanc with a series, a server on it, and a Chromium in front."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lib.commands.orthanc import OrthancMissing, find_orthanc, orthanc
from lib.commands.serve_dicom import dicom_environment
from lib.sample.ct import make_sample_ct
from lib.sample.dicom import as_acquired, write_series
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
def browser_server(phantom, tmp_path_factory) -> Iterator[Server]:
    if find_browser() is None:
        pytest.skip(f"Chromium and its driver are not installed: apt-get install {PACKAGES}")
    try:
        find_orthanc()
    except OrthancMissing as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("browser")
    with orthanc(folder / "orthanc") as store:
        store.add(phantom.files)
        conf, settings = {}, dicom_environment(folder)
        with running_server(store.dicomweb, folder / "server.log", conf, **settings) as server:
            yield server


@pytest.fixture
def page(browser_server, tmp_path) -> Iterator[OhifPage]:
    driver = start_browser(tmp_path / "profile")
    try:
        yield OhifPage(driver, browser_server.url)
    finally:
        driver.save_screenshot(str(BUILD / "ohif-last.png"))
        driver.quit()


@pytest.fixture(scope="session", autouse=True)
def build_folder() -> Path:
    BUILD.mkdir(exist_ok=True)
    return BUILD

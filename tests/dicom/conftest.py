"""A real Orthanc with three series, and a real server on it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lib.commands.orthanc import Orthanc, OrthancMissing, find_orthanc, orthanc
from lib.commands.serve_dicom import dicom_environment
from lib.sample.ct import SampleCT, make_sample_ct
from lib.sample.dicom import KINDS, as_acquired, write_series
from tests.server.conftest import Server, running_server


@pytest.fixture(scope="session")
def dicom_sample() -> SampleCT:
    """A pelvis of 72 × 56 × 20 voxels."""
    return make_sample_ct(0, shape=(72, 56, 20), spacing=(4.0, 4.0, 9.0))


@pytest.fixture(scope="session")
def series(dicom_sample, tmp_path_factory) -> dict[str, tuple[str, Path]]:
    """Kind → series UID and folder."""
    folder = tmp_path_factory.mktemp("series")
    written = {}
    for kind in KINDS:
        hu, _, affine = as_acquired(dicom_sample, kind)
        written[kind] = write_series(hu, affine, folder / kind, kind=kind), folder / kind
    return written


@pytest.fixture(scope="session")
def store(series, tmp_path_factory) -> Iterator[Orthanc]:
    try:
        find_orthanc()
    except OrthancMissing as error:
        pytest.skip(str(error))
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        for _, folder in series.values():
            running.add(sorted(folder.glob("*.dcm")))
        yield running


@pytest.fixture(scope="session")
def dicom_server(store, tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("dicom-server")
    with running_server(
        store.dicomweb, folder / "server.log", {}, **dicom_environment(folder)
    ) as running:
        yield running


@pytest.fixture(scope="session")
def hip(dicom_sample) -> np.ndarray:
    """Left hip of the sample, RAS."""
    value = next(v for v, name in dicom_sample.names.items() if name == "hip_left")
    return dicom_sample.labels == value

"""The private parts of MONAI Label and its libraries that are touched, all of them, and why.

What a subclass of theirs reads of itself stands in the subclass (`studies`, `dicom_studies`).
"""

from __future__ import annotations

from pathlib import Path

from dicomweb_client import DICOMwebClient
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.datastore import Datastore
from requests import Session


def folder_of(store: Datastore) -> Path:
    """Where a datastore keeps its files: results lie beside them, and no public name tells it."""
    return Path(store._datastore_path)


def dicomweb_client(store: DICOMWebDatastore) -> DICOMwebClient:
    """The client of a DICOMweb store: its list of series is cached, so a new one is asked for."""
    return store._client


def http_session(client: DICOMwebClient) -> Session:
    """The session of a client: it takes no time limits, and OHIF's requests go the same way."""
    return client._session

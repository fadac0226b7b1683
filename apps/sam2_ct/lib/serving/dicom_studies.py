"""Studies of a DICOMweb store: MONAI Label's datastore for one, with copies that come and go whole.

The folder on this machine holds copies of the series, and the labels. Copies are patients' images
outside the archive: they go when the server stops, and when the next one starts after a kill.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from dicomweb_client import DICOMwebClient
from dicomweb_client.ext.gcp.session_utils import create_session_from_gcp_credentials
from dicomweb_client.session_utils import create_session_from_user_pass
from filelock import FileLock, Timeout
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX, DICOMWebDatastore
from monailabel.datastore.local import ImageLabelModel
from monailabel.datastore.utils.convert import dicom_to_nifti
from monailabel.datastore.utils.dicom import dicom_web_upload_dcm
from monailabel.interfaces.datastore import DefaultLabelTag

from lib.errors import BadInput
from lib.files import beside, discard
from lib.serving.dicom_seg import segments_said, write_seg
from lib.serving.names import is_uid
from lib.serving.scratch import make_private
from lib.serving.studies import Studies


def client_of_store(address: str) -> DICOMwebClient:
    """A client for the store at `address`, with the log-in that MONAI Label's settings name."""
    if "googleapis.com" in address:
        return DICOMwebClient(url=address, session=create_session_from_gcp_credentials())
    name, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    return DICOMwebClientX(
        url=address,
        session=create_session_from_user_pass(name, password) if name and password else None,
        qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
        wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
        stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
    )


class DicomStudies(DICOMWebDatastore, Studies):
    """Series of a DICOMweb store as images, and labels for them.

    Args:
        client: of the store.
        search_filter: which series are images.
        cache_path: folder for copies and labels.
        convert_to_nifti: copies are NIfTI files, besides the folders of DICOM files.
    """

    def __init__(
        self,
        client: DICOMwebClient,
        search_filter: Mapping[str, object],
        cache_path: str,
        convert_to_nifti: bool = True,
    ) -> None:
        self._fetching = threading.Lock()
        self._asking = threading.Lock()
        make_private(Path(cache_path))
        super().__init__(
            client=client,
            search_filter=dict(search_filter),
            cache_path=cache_path,
            convert_to_nifti=convert_to_nifti,
        )
        # another server on the same folder may be using the copies
        self._copies = FileLock(Path(self._datastore_path, ".copies.lock"))
        with contextlib.suppress(Timeout):
            self._copies.acquire(timeout=0)
            self.remove_copies()
            atexit.register(self.remove_copies)

    def remove_copies(self) -> None:
        """Remove every copy of an image; labels stay, and so does what is known of both."""
        images, labels = Path(self._model.image_path()), Path(self._model.label_path(None))
        for path in [*images.iterdir(), *labels.glob("*/*")]:
            # some were being fetched when their server was killed
            if path.is_dir() and (is_uid(path.name) or path.name.startswith(".part-")):
                shutil.rmtree(path, ignore_errors=True)
            elif (
                path.parent == images
                and path.name.endswith(".nii.gz")
                and is_uid(path.name.removesuffix(".nii.gz"))
            ):
                discard(path)

    def is_there(self, image_id: str, entry: ImageLabelModel) -> bool:
        """An image is in the store, whether or not there is a copy."""
        return True

    def list_images(self) -> list[str]:
        """Series of the store; upstream's cache of the answer does not stand two threads."""
        with self._asking:
            return super().list_images()

    def get_labeled_images(self, label_tag=None, labels=None) -> list[str]:
        """Series of the store for which it has a segmentation."""
        self.list_images()
        with self._asking:
            return super().get_labeled_images.__wrapped__(self)

    def get_image_uri(self, image_id: str) -> str:
        """The copy of a series, which is fetched if there is none; "" for what is no series."""
        if not is_uid(image_id):
            return ""
        folder = Path(os.path.realpath(self._model.image_path()), image_id)
        copy = folder.with_name(f"{image_id}.nii.gz")
        with self._fetching:
            if not folder.exists():
                self._fetch(image_id, folder)
            if self._convert_to_nifti and not copy.exists():
                converted = dicom_to_nifti(str(folder))
                try:
                    self.add_image(image_id, converted, self._dicom_info(image_id))
                finally:
                    discard(Path(converted))
        return str(copy if self._convert_to_nifti else folder)

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """The file of a label; with `image_id` that of a segmentation in the store, by its UID."""
        if not image_id or not is_uid(label_id):
            return Studies.get_label_uri(self, label_id, label_tag)
        folder = Path(os.path.realpath(self._model.label_path(label_tag)), label_id)
        with self._fetching:
            if not folder.exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                self._fetch(label_id, folder)
        return super().get_label_uri(label_id, label_tag, image_id)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict, label_id=""
    ) -> str:
        """Keep a label; a final one goes to the store as DICOM SEG first.

        Raises:
            BadInput: an empty final label: DICOM SEG cannot hold one.
        """
        self.get_image_uri(image_id)
        info = dict(label_info or {})
        if label_tag == DefaultLabelTag.FINAL:
            series = Path(self._model.image_path(), image_id)
            segments = segments_said(info.get("label_info"))
            written = write_seg(series, Path(label_filename), segments)
            try:
                info["SeriesInstanceUID"] = dicom_web_upload_dcm(str(written), self._client)
            finally:
                discard(written)
            known = self.get_image_info(image_id)
            info |= {k: known.get(k) for k in ("Modality", "PatientID", "StudyInstanceUID")}
        return Studies.save_label(self, image_id, label_filename, label_tag, info)

    def remove_image(self, image_id: str) -> None:
        """Not from here.

        Raises:
            BadInput: always.
        """
        raise BadInput("the images of a DICOMweb store are removed there, not through this server")

    def _fetch(self, series: str, folder: Path) -> None:
        """All files of a series, under names of ours; the folder appears when it is complete."""
        found = self._client.search_for_series(search_filters={"SeriesInstanceUID": series})
        studies = [
            one["0020000D"]["Value"][0]
            for one in found
            if one.get("0020000E", {}).get("Value") == [series]
        ]
        if not studies:
            raise BadInput(f"the image store has no series {series}")
        partial = Path(tempfile.mkdtemp(prefix=beside(folder).name, dir=folder.parent))
        try:
            for n, instance in enumerate(self._client.retrieve_series(studies[0], series)):
                instance.save_as(partial / f"{n:05d}.dcm")
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

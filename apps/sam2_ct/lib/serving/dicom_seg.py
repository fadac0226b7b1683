"""A result as a DICOM SEG object."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.app import MONAILabelApp

from lib.dicom_seg.segments import masks_of, named
from lib.errors import BadInput
from lib.transforms.load import load_labelmap


def to_dicom_seg(instance: MONAILabelApp, series: str, result: Mapping[str, object]) -> str:
    """Write a result as DICOM SEG; whoever sends the file removes it.

    Args:
        instance: its datastore holds the series as DICOM.
        series: SeriesInstanceUID.
        result: of the infer task: file and params.

    Raises:
        BadInput: no DICOM store, or an empty result (DICOM SEG cannot hold one).
    """
    from lib.dicom_seg.write import save_dicom_seg  # highdicom costs half a second

    datastore = instance.datastore()
    if not isinstance(datastore, DICOMWebDatastore):
        raise BadInput("DICOM SEG needs a DICOMweb server: this one serves a folder of volumes")
    labels, grid = load_labelmap(str(result["file"]))
    names = {number: name for name, number in result["params"]["label_names"].items()}
    folder = Path(datastore.get_image_uri(series)).parent / series
    with tempfile.NamedTemporaryFile(suffix=".dcm", delete=False) as file:
        path = Path(file.name)
    try:
        save_dicom_seg(masks_of(labels), grid, path, folder, named(names))
    except BaseException:
        path.unlink()
        raise
    return str(path)

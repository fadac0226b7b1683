"""A result as a DICOM SEG object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.utils.convert import nifti_to_dicom_seg
from monailabel.interfaces.app import MONAILabelApp

from lib.errors import BadInput
from lib.transforms.load import load_labelmap


def to_dicom_seg(
    instance: MONAILabelApp, series: str, result: Mapping[str, object], params: Mapping[str, object]
) -> str:
    """Write a result as DICOM SEG with dcmqi; whoever sends the file removes it.

    Args:
        instance: its datastore holds the series as DICOM.
        series: SeriesInstanceUID.
        result: of the infer task: file and params.
        params: of the request; `label_info` may give names and colours.

    Raises:
        BadInput: no DICOM store, or an empty result (DICOM SEG cannot hold one).
    """
    datastore = instance.datastore()
    if not isinstance(datastore, DICOMWebDatastore):
        raise BadInput("DICOM SEG needs a DICOMweb server: this one serves a folder of volumes")
    labels, _ = load_labelmap(str(result["file"]))
    if not labels.any():
        raise BadInput("the result is empty: a DICOM SEG cannot hold an empty segmentation")
    names = result["params"]["label_names"]
    info = params.get("label_info") or [
        {"name": name, "description": name, "model_name": "sam2_ct"}
        for name, _ in sorted(names.items(), key=lambda item: item[1])
    ]
    folder = Path(datastore.get_image_uri(series)).parent / series
    written = nifti_to_dicom_seg(str(folder), str(result["file"]), info, use_itk=True)
    if not written or not Path(written).exists():
        raise BadInput("the DICOM SEG could not be written: is dcmqi installed?")
    return written

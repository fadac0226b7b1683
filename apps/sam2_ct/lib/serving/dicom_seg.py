"""A label map as a DICOM SEG object, for whoever asks the server for one, and for its store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.datastore import Datastore

from lib.dicom_seg.segments import Segment, complete, masks_of, named
from lib.errors import BadInput
from lib.files import DICOM_SEG, temporary
from lib.serving.names import text_name
from lib.transforms.load import load_labelmap


def check_can_hold_segs(datastore: Datastore) -> None:
    """Say before the work starts that there can be no DICOM SEG.

    Raises:
        BadInput: the datastore is a folder.
    """
    if not isinstance(datastore, DICOMWebDatastore):
        raise BadInput("DICOM SEG needs a DICOMweb server: this one serves a folder of volumes")


def to_dicom_seg(datastore: Datastore, series: str, result: Mapping[str, object]) -> Path:
    """Write a result as DICOM SEG; whoever sends the file removes it.

    Args:
        datastore: holds the series as DICOM.
        series: SeriesInstanceUID.
        result: of the infer task: file and params.

    Raises:
        BadInput: an empty result (DICOM SEG cannot hold one).
    """
    names = {number: name for name, number in result["params"]["label_names"].items()}
    return write_seg(series_folder(datastore, series), Path(str(result["file"])), named(names))


def series_folder(datastore: Datastore, series: str) -> Path:
    """The copy of a series as DICOM files, which is fetched if there is none."""
    return Path(datastore.get_image_uri(series)).parent / series


def write_seg(series: Path, labels: Path, segments: Mapping[int, Segment]) -> Path:
    """Write a label map as DICOM SEG; whoever uses the file removes it.

    Args:
        series: folder of the DICOM files it lies on.
        labels: file of the label map.
        segments: names and colours by label value; others get some.

    Raises:
        BadInput: an empty label map, or not on the grid of the series.
    """
    from lib.dicom_seg.write import save_dicom_seg  # highdicom costs half a second

    array, grid = load_labelmap(labels)
    masks = masks_of(array)
    known = complete(segments, masks)
    return temporary(DICOM_SEG, lambda path: save_dicom_seg(masks, grid, path, series, known))


def segments_said(label_info: object) -> dict[int, Segment]:
    """Names and colours of what a viewer submits: a list of {name, idx or id, color}.

    Raises:
        BadInput: a name that cannot be one.
    """
    found = {}
    for number, info in enumerate(label_info if isinstance(label_info, list) else [], start=1):
        if not isinstance(info, Mapping) or not isinstance(info.get("name"), str):
            continue
        value = info.get("idx") or info.get("id") or number
        if isinstance(value, int) and value > 0 and info["name"].strip():
            own = named({value: text_name("segment", info["name"].strip())})[value]
            found[value] = Segment(own.name, _colour(info.get("color")) or own.colour)
    return found


def _colour(said: object) -> tuple[int, int, int] | None:
    parts = said[:3] if isinstance(said, list | tuple) else []
    if len(parts) < 3 or not all(isinstance(part, int | float) for part in parts):
        return None
    red, green, blue = (min(max(round(part), 0), 255) for part in parts)
    return red, green, blue

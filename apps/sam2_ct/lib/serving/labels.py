"""Labels that annotators submitted."""

from __future__ import annotations

from pathlib import Path

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from lib.serving.dicom_seg import segments_said
from lib.serving.names import tag_text


def submitted_label(datastore: Datastore, image: str) -> tuple[Path, dict[str, int]] | None:
    """The label of an image and the names in it: the final one, else that of any other tag."""
    tags = datastore.get_labels_by_image_id(image)
    order = [
        DefaultLabelTag.FINAL.value,
        DefaultLabelTag.ORIGINAL.value,
        *sorted(map(tag_text, tags)),
    ]
    by_name = {tag_text(tag): (tag, label) for tag, label in tags.items()}
    for name in order:
        if name not in by_name:
            continue
        tag, label = by_name[name]
        path = datastore.get_label_uri(label, tag)
        if path and Path(path).is_file():
            return Path(path), _names(datastore.get_label_info(label, tag))
    return None


def _names(info: object) -> dict[str, int]:
    """Names and values as Slicer submits them: label_info, a list of {name, idx or id}."""
    info = info if isinstance(info, dict) else {}
    params = info.get("params")
    listed = info.get("label_info") or (
        params.get("label_info") if isinstance(params, dict) else None
    )
    return {segment.name: value for value, segment in segments_said(listed).items()}

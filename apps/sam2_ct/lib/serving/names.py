"""What a name that came over the network may be. Nobody else decides that.

Names become file names (images, tags), keys of the log of results (clients, objects) or texts in
answers; none of them may lead out of its folder, or break whoever reads it next.
"""

from __future__ import annotations

import re
import unicodedata

from lib.errors import BadInput
from lib.files import LABEL_MAPS
from lib.infers.request import ViewerRequest

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SESSION = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
_UID = re.compile(r"(?=.{3,64}\Z)\d+(\.\d+)+")
_LONGEST_IMAGE = 180  # bytes: an ending and a hash still fit into the 255 of a file name
_LONGEST_TEXT = 128


def without_ending(name: str) -> str:
    """The name of a volume's file without `.nii.gz`, `.nii` or `.nrrd`."""
    return next((name.removesuffix(e) for e in LABEL_MAPS if name.endswith(e)), name)


def image_name(text: str) -> str:
    """The name of an image that is to be added; it becomes the name of a file.

    Raises:
        BadInput: as it says.
    """
    if (
        not text
        or len(text.encode("utf-8", "surrogatepass")) > _LONGEST_IMAGE
        or text != text.strip()
        or text[0] == "."
        or text[-1] == "."
        or set(text) & set('/\\:*?"<>|')
        or not _is_printable(text)
    ):
        raise BadInput(
            f"{_shown(text)} cannot name an image: use letters, digits, spaces and _ - . within, "
            f"{_LONGEST_IMAGE} bytes at most"
        )
    return text


def tag_name(text: str) -> str:
    """The tag of a label; it becomes the name of a folder.

    Raises:
        BadInput: as it says.
    """
    if not _TAG.fullmatch(text):
        raise BadInput(f"{_shown(text)} cannot be a tag: use letters, digits and _ - . within")
    return text


def text_name(what: str, text: str) -> str:
    """The name of a client, an object, a job or a strategy: printable and not too long.

    Raises:
        BadInput: as it says.
    """
    if len(text) > _LONGEST_TEXT or not _is_printable(text):
        raise BadInput(
            f"{_shown(text)} cannot be the {what}: use printable text, "
            f"{_LONGEST_TEXT} characters at most"
        )
    return text


def tag_text(tag: object) -> str:
    """A tag of MONAI Label's, which may be an enumeration's member, as text."""
    return str(getattr(tag, "value", tag))


def check_segments(request: ViewerRequest) -> None:
    """Turn down a request for a segment whose name is none.

    Raises:
        BadInput: as it says.
    """
    for name in (request.object_name, request.marks.selected):
        text_name("segment", name or "")


def is_session(text: str) -> bool:
    """Whether this may be the id of a session: nothing but a UUID is looked for on the disk."""
    return _SESSION.fullmatch(text) is not None


def is_uid(text: str) -> bool:
    """Whether this may be a DICOM UID."""
    return _UID.fullmatch(text) is not None


def _is_printable(text: str) -> bool:
    return not any(
        unicodedata.category(letter) in _UNPRINTABLE for letter in text if letter not in _JOINERS
    )


#: Between letters of Persian and Indic words, and in emoji.
_JOINERS = {"\u200c", "\u200d"}
#: Controls (NUL, line breaks), formats (text that runs backwards), surrogates, unassigned.
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:60] + "…")

"""SNOMED CT codes for what a segment's name says it is.

Names are those of TotalSegmentator (`femur_left`, `rib_right_7`, `vertebrae_L3`) or words of one's
own. Codes: DICOM PS3.16, CID 7192 (as pydicom holds it), and SNOMED CT where that list is coarser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

#: The category of everything here, and the type of what its name does not tell.
STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")

_SIDES = {"left": codes.SCT.Left, "right": codes.SCT.Right}

_NUMBERED = {
    "rib": (
        *("48535007", "78247007", "25888004", "25523003", "15339008", "59558009"),
        *("24915002", "5953002", "22565002", "77644006", "58830002", "43993008"),
    ),
    "c": (
        *("14806007", "39976000", "113205007", "5329002", "36978003", "36054005"),
        "87391001",
    ),
    "t": (
        *("64864005", "53733008", "1626008", "73071006", "56401006", "45296009"),
        *("62487009", "11068009", "82687006", "7610001", "12989004", "23215003"),
    ),
    "l": ("66794005", "14293000", "36470004", "11994002", "49668003"),
    "s": ("65985001",),
}

_OTHER_WORDS = {"clavicula": "clavicle", "cranium": "skull", "vertebrae": "vertebra"}

# not in CID 7192, or under a longer name
_MORE = {
    "bone": Code("272673000", "SCT", "Bone"),
    "hip": Code("29836001", "SCT", "Hip"),
    "pelvis": Code("118645006", "SCT", "Pelvis"),
    "radius": Code("62413002", "SCT", "Radius"),
    "spine": Code("421060004", "SCT", "Spine"),
    "tibia": Code("12611008", "SCT", "Tibia"),
    "ulna": Code("23416004", "SCT", "Ulna"),
}


@dataclass(frozen=True)
class Coded:
    """What a segment is, and on which side; None where the name does not say."""

    kind: Code
    side: Code | None


def coded(name: str) -> Coded:
    """The code of a name; `STRUCTURE` for one that says nothing known."""
    words = re.findall(r"[a-z]+|\d+", name.lower())
    side = next((_SIDES[word] for word in words if word in _SIDES), None)
    words = [_OTHER_WORDS.get(word, word) for word in words if word not in _SIDES]
    return Coded(_numbered(words) or _named(words) or STRUCTURE, side)


def _numbered(words: list[str]) -> Code | None:
    """Ribs by number, vertebrae by level: `rib 7`, `vertebra l 3`, `l 3`."""
    match [word for word in words if word != "vertebra"]:
        case [kind, number] if kind in _NUMBERED and number.isdecimal():
            known = _NUMBERED[kind]
            if not 1 <= int(number) <= len(known):
                return None
            meaning = f"Rib {number}" if kind == "rib" else f"{kind.upper()}{number} vertebra"
            return Code(known[int(number) - 1], "SCT", meaning)
    return None


def _named(words: list[str]) -> Code | None:
    """A name in words, singular or plural; numbers and single letters are disregarded."""
    words = [word for word in words if len(word) > 1 and not word.isdecimal()]
    for form in (words, [*words[:-1], words[-1].removesuffix("s")] if words else []):
        known = "".join(word.capitalize() for word in form)
        if known in dir(codes.cid7192):
            return getattr(codes.cid7192, known)
        if " ".join(form) in _MORE:
            return _MORE[" ".join(form)]
    return None

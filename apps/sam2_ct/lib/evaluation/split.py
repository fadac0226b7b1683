"""The manifest of samples: drawn once with a seed, written once, checked before every run."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lib.errors import BadInput
from lib.evaluation.dataset import (
    FEWEST_SLICES,
    axial_slices,
    candidates,
    is_excluded,
    mask_of,
    volume_of,
)
from lib.files import write_json
from lib.models.hashing import sha256_of

FORMAT = "sam2_ct split 1"


@dataclass(frozen=True)
class Sample:
    """One structure of one case.

    Attributes:
        case, structure: where its files are.
        kind: its class.
        slices: axial slices that are not empty.
        voxels: of the mask.
        mask_sha256: of the mask file.
    """

    case: str
    structure: str
    kind: str
    slices: int
    voxels: int
    mask_sha256: str

    @property
    def id(self) -> str:
        """`case/structure`."""
        return f"{self.case}/{self.structure}"


@dataclass(frozen=True)
class Split:
    """A balanced selection of samples.

    Attributes:
        seed: what it was drawn with.
        per_class: samples wanted of each class.
        samples: by class, then in the order they were drawn.
        short: class → how many there are, where a class has fewer than `per_class`.
        excluded: the exclusion list it was drawn without.
    """

    seed: int
    per_class: int
    samples: tuple[Sample, ...]
    short: Mapping[str, int]
    excluded: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The manifest's content."""
        return {
            "format": FORMAT,
            "seed": self.seed,
            "per_class": self.per_class,
            "fewest_slices": FEWEST_SLICES,
            "short": dict(self.short),
            "excluded": list(self.excluded),
            "samples": [asdict(s) for s in self.samples],
        }

    @property
    def checksum(self) -> str:
        """SHA-256 of the content, whatever the file's layout."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def draw(
    root: Path,
    kinds: Mapping[str, str],
    per_class: int,
    seed: int,
    *,
    exclusions: frozenset[str] = frozenset(),
    progress: Callable[[str], None] = lambda _: None,
) -> Split:
    """Draw `per_class` samples of every class.

    Each class is shuffled with the seed and its own name, so adding a class leaves the others as
    they were; masks are then read in that order until there are enough with more than six axial
    slices (paper B-A). A class with too few gives all it has and is named in `short`.

    Raises:
        BadInput: nothing to draw from, or no mask thick enough.
    """
    if per_class < 1:
        raise BadInput(f"--per-class must be at least 1, got {per_class}")
    samples: list[Sample] = []
    short: dict[str, int] = {}
    for kind, pool in candidates(root, kinds).items():
        pool = [c for c in pool if not is_excluded(c.id, exclusions)]
        random.Random(f"{seed} {kind}").shuffle(pool)
        drawn: list[Sample] = []
        for c in pool:
            if len(drawn) == per_class:
                break
            file = mask_of(root, c.case, c.structure)
            slices, voxels = axial_slices(file)
            if slices < FEWEST_SLICES:
                continue
            drawn.append(Sample(c.case, c.structure, kind, slices, voxels, sha256_of(file)))
            progress(f"{kind}: {len(drawn)} of {per_class}")
        if len(drawn) < per_class:
            short[kind] = len(drawn)
        samples += drawn
    if not samples:
        raise BadInput(f"no mask in {root} has {FEWEST_SLICES} axial slices or more")
    return Split(seed, per_class, tuple(samples), short, tuple(sorted(exclusions)))


def write(split: Split, path: Path) -> bool:
    """Write the manifest; a different one is never overwritten.

    Returns:
        False if the very same split is there already.

    Raises:
        BadInput: another split is there, or the folder cannot be written to.
    """
    if path.exists():
        if read(path).checksum == split.checksum:
            return False
        raise BadInput(
            f"{path} holds another split and is never overwritten: remove it yourself or choose "
            "another name"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}") from error
    write_json(path, split.as_json())
    return True


def read(path: Path) -> Split:
    """The split in a manifest.

    Raises:
        BadInput: the file is missing or not a manifest.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, expected {FORMAT!r}")
        return Split(
            int(content["seed"]),
            int(content["per_class"]),
            tuple(Sample(**s) for s in content["samples"]),
            dict(content["short"]),
            tuple(content["excluded"]),
        )
    except OSError as error:
        raise BadInput(f"cannot read the split {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path} is not a split made by `evaluate.py split`: {error}") from error


def verify(split: Split, root: Path) -> None:
    """Check that the dataset still holds exactly the masks of the split.

    Raises:
        BadInput: a mask or volume is missing, or a mask has changed.
    """
    if not root.is_dir():
        raise BadInput(f"there is no dataset folder {root}")
    for sample in split.samples:
        volume_of(root, sample.case)
        file = mask_of(root, sample.case, sample.structure)
        if not file.is_file():
            raise BadInput(f"{file} is in the split but not in the dataset")
        if sha256_of(file) != sample.mask_sha256:
            raise BadInput(
                f"{file} is not the mask the split was drawn from (its SHA-256 differs): restore "
                "it or draw a new split"
            )


def counts(split: Split) -> dict[str, int]:
    """Samples by class."""
    return dict(Counter(s.kind for s in split.samples))

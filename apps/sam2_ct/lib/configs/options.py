"""Every option of the project, declared once.

A field of the classes below is an option: its reader, default, help, choices and the places where
it is valid stand at its declaration. From these come the command line's options, `--conf`, the
viewers' menus, the keys of the evaluation's YAML, what a request may say, and the table in the
README (`python tools/options_table.py`). To add an option, add a field.

Imports neither torch nor MONAI, so that a usage error and `--help` are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Flag, auto
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from lib.errors import BadInput
from lib.geometry import Axis
from lib.models.compilation import Compile
from lib.models.precision import Precision
from lib.models.registry import CHECKPOINTS
from lib.propagation.extent import RULES as EXTENTS
from lib.propagation.extent import Extent
from lib.propagation.input_size import InputSize
from lib.propagation.policy import MemoryPolicy, parse_policy
from lib.propagation.policy import describe as describe_policy
from lib.propagation.settings import Prior, Propagation, PropagationSettings
from lib.transforms.window import PRESETS as WINDOWS
from lib.transforms.window import Window, parse_window

T = TypeVar("T")

#: Groups of MONAI Label's routes that no viewer of ours needs, see `serving.exposure`.
EXPOSABLE = ("wsi", "train", "scoring", "model", "logs", "reload", "docs")
_DIGITS = 10  # of a number that anybody means


class Where(Flag):
    """Where an option may be given."""

    REQUEST = auto()
    """A request of a viewer."""
    SERVER = auto()
    """`--conf NAME VALUE` of the server; what it says is the default of requests."""
    COMMAND = auto()
    """`sam2-ct segment --name VALUE`."""
    YAML = auto()
    """A configuration of the evaluation."""


EVERYWHERE = Where.REQUEST | Where.SERVER | Where.COMMAND | Where.YAML
_STARTED = Where.SERVER | Where.COMMAND


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: as it is typed, everywhere.
        default: its value when nobody says anything.
        read: what was typed → the value; raises BadInput.
        write: the value → plain text or number, which `read` turns back into it.
        help: one line.
        choices: known values in the order of a menu, the default first; others may be possible.
        where: where it may be given.
        menu: shown among the options of the viewers.
    """

    name: str
    default: Any
    read: Callable[[Any], Any]
    write: Callable[[Any], object]
    help: str
    choices: tuple[str, ...]
    where: Where
    menu: bool

    @property
    def default_text(self) -> str:
        """The default as it would be typed; empty if there is none."""
        written = self.write(self.default)
        return "" if written is None else str(written).lower()

    def menu_items(self, chosen: object) -> list[str]:
        """What a viewer offers: `chosen` first, then the known values."""
        return list(dict.fromkeys([str(self.write(chosen)), *self.choices]))


def read_options(cls: type[T], said: Mapping[str, object], default: T | None = None) -> T:
    """An instance of a class of options from what was said, by name.

    What is absent, empty or None keeps the default; names of other options are passed over.

    Raises:
        BadInput: a value that is not understood.
    """
    values = {}
    for option in options_of(cls):
        value = said.get(option.name)
        if value is not None and value != "":
            values[option.name] = option.read(value)
        elif default is not None:
            values[option.name] = getattr(default, option.name)
    return cls(**values)


def options_of(*classes: type, where: Where = EVERYWHERE) -> tuple[Option, ...]:
    """The options declared in some classes (by default all) that are valid in a place."""
    declared = [
        _option_of(f) for cls in classes or CLASSES for f in fields(cls) if _DECLARED in f.metadata
    ]
    return tuple(o for o in declared if o.where & where)


def _truth(value: object) -> bool:
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise BadInput(f"expected true or false, got {value!r}")


def _count(least: int, name: str) -> Callable[[object], int]:
    def read(value: object) -> int:
        text = str(value).strip()
        if not text.isdecimal() or len(text) > _DIGITS or int(text) < least:
            raise BadInput(f"{name} must be a whole number, {least} or more, got {value!r}")
        return int(text)

    return read


def _one_of(name: str, *known: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = str(value).strip().lower()
        if text not in known:
            raise BadInput(f"unknown {name} {value!r}: use {', '.join(known)}")
        return text

    return read


def _axis(value: object) -> Axis | None:
    text = str(value).strip().lower()
    if text == "auto":
        return None
    try:
        return Axis.parse(text)
    except BadInput as error:
        raise BadInput(f"{error}, or auto") from None


def _path(value: object) -> Path:
    return Path(str(value)).expanduser()


def _listed(value: object) -> tuple[str, ...]:
    return tuple(one.strip() for one in str(value).split(",") if one.strip())


def _origins(value: object) -> tuple[str, ...]:
    found = _listed(str(value).lower())
    for one in found:
        parts = urlsplit(one)
        if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" != one:
            raise BadInput(f"{one!r} is no origin: give them like https://viewer.example.org")
    return found


def _groups(value: object) -> tuple[str, ...]:
    found = _listed(value)
    unknown = set(found) - set(EXPOSABLE)
    if unknown:
        raise BadInput(f"cannot expose {min(unknown)!r}: use one or more of {','.join(EXPOSABLE)}")
    return found


def _hours(value: object) -> float:
    try:
        hours = float(str(value))
    except ValueError:
        hours = 0.0
    if not 0 < hours <= 24 * 365:
        raise BadInput(f"login_hours must be a number of hours above 0, got {value!r}")
    return hours


def _names(value: object) -> Mapping[str, int]:
    found = _listed(value)
    if not found or len(set(found)) < len(found):
        raise BadInput(f"labels must be different names, like bone,rib; got {value!r}")
    return {name: number for number, name in enumerate(found, start=1)}


def parse_prompt_slices(value: object) -> str | tuple[int, ...]:
    """`auto`, `changed`, `all`, or slice numbers, ascending.

    Raises:
        BadInput: none of these.
    """
    text = str(value).strip().lower()
    if text in ("auto", "changed", "all"):
        return text
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < _DIGITS for part in parts):
        raise BadInput(
            f"unknown prompt_slices {value!r}: use auto, changed, all or numbers like 3,40,77"
        )
    return tuple(sorted({int(part) for part in parts}))


def _write_slices(choice: str | tuple[int, ...]) -> str:
    return choice if isinstance(choice, str) else ",".join(map(str, choice))


_DECLARED = "option"


def _declare(
    default: Any,
    help: str,
    *,
    read: Callable[[Any], Any] = str,
    write: Callable[[Any], object] = lambda value: value,
    choices: tuple[str, ...] = (),
    where: Where = EVERYWHERE,
    menu: bool = False,
) -> Any:
    """A field that is an option; see `Option`. A default that can change is made by a function."""
    metadata = {_DECLARED: (read, write, help, choices, where, menu)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def _option_of(declared: Field[Any]) -> Option:
    default = declared.default
    if default is MISSING and declared.default_factory is not MISSING:
        default = declared.default_factory()
    read, write, about, choices, where, menu = declared.metadata[_DECLARED]
    return Option(declared.name, default, read, write, about, choices, where, menu)


@dataclass(frozen=True)
class Settings:
    """What a request may choose; it decides the result, and stands in its report and log."""

    policy: MemoryPolicy = _declare(
        lambda: parse_policy("is+sps+stretches"),
        "what the memory bank holds; presets joined with +, or key=value,…",
        read=lambda v: parse_policy(str(v)),
        write=describe_policy,
        choices=(
            "is+sps+stretches",
            "is+sps",
            "is+stretches",
            "sps",
            "is",
            "baseline",
            "sliced2",
            "stride4",
            "gate1",
        ),
        menu=True,
    )
    propagation: Propagation = _declare(
        Propagation.SINGLE,
        "how prompts spread; three-axis seeds the axes you did not paint on, and says so",
        read=lambda v: Propagation.parse(str(v)),
        write=lambda v: v.value,
        choices=tuple(p.value for p in Propagation),
        menu=True,
    )
    window: Window = _declare(
        lambda: WINDOWS["bone"],
        "grey values to [0, 1], in floating point; or LEVEL,WIDTH or clahe+LEVEL,WIDTH",
        read=lambda v: parse_window(str(v)),
        write=lambda v: v.describe(),
        choices=tuple(WINDOWS),
        menu=True,
    )
    axis: Axis | None = _declare(
        None,
        "the axis slices are stacked along; auto: the one you painted or clicked on",
        read=_axis,
        write=lambda v: "auto" if v is None else v.value,
        choices=("auto", "axial", "coronal", "sagittal"),
        menu=True,
    )
    carry: bool = _declare(
        False,
        "the backward pass sees the forward one's memories, as stock SAM 2 does",
        read=_truth,
    )
    merge: str = _declare(
        "mean",
        "how forward-backward merges",
        read=_one_of("merge", "mean", "distance"),
        choices=("mean", "distance"),
    )
    extent: Extent = _declare(
        Extent(),
        "where objects end: found, at the outermost marked slices, where the network loses them, "
        "at the volume's edge, or a range like 10-40",
        read=lambda v: Extent.parse(str(v)),
        write=lambda v: v.describe(),
        choices=EXTENTS,
        menu=True,
    )
    prior: Prior = _declare(
        Prior.AUTO,
        "shape between painted slices and density inside them help the network",
        read=lambda v: Prior.parse(str(v)),
        write=lambda v: v.value,
        choices=tuple(p.value for p in Prior),
        menu=True,
    )
    input: InputSize = _declare(
        InputSize.AUTO,
        "side of the network's input in pixels; own: what the checkpoint was made for; "
        "auto: that, or 512 where the crop has no more voxels than such masks have pixels, "
        "or 256 for a smaller network where every object has two painted slices",
        read=lambda v: InputSize.parse(str(v)),
        write=lambda v: v.value,
        choices=tuple(size.value for size in InputSize),
    )
    overlap: bool = _declare(
        False,
        "objects may share voxels: a file for each, OUT.object<N>.nii.gz",
        read=_truth,
        where=Where.COMMAND,
    )

    def __post_init__(self) -> None:
        self.engine()  # combinations that make no sense are refused here

    @classmethod
    def parse(cls, said: Mapping[str, object], default: Settings | None = None) -> Settings:
        """Settings from options by name, see `read_options`.

        Raises:
            BadInput: a value that is not understood, or values that do not go together.
        """
        return read_options(cls, said, default)

    def engine(self) -> PropagationSettings:
        """The engine's part of the settings; an axis that nobody decided is axial."""
        return PropagationSettings(
            policy=self.policy,
            propagation=self.propagation,
            axis=self.axis or Axis.AXIAL,
            carry=self.carry,
            merge=self.merge,
            extent=self.extent,
            prior=self.prior,
            input=self.input,
        )

    def describe(self) -> dict[str, object]:
        """Options by name, plain values; `parse` of it gives these settings again."""
        return {o.name: o.write(getattr(self, o.name)) for o in options_of(Settings)}


@dataclass(frozen=True)
class ServerOptions:
    """What the person who starts the server or the command decides."""

    model: str = _declare(
        "auto",
        "the checkpoint, see Checkpoints",
        choices=("auto", *(name for name in CHECKPOINTS if not name.startswith("sam2.0"))),
        menu=True,
    )
    checkpoint: Path | None = _declare(
        None, "your own checkpoint file; its architecture, if it is not known, is --model's",
        read=_path, where=_STARTED,
    )  # fmt: skip
    device: str = _declare(
        "auto",
        "where it runs; also cuda:N; a server takes all GPUs, or those named: cuda:0,cuda:1",
        choices=("auto", "cpu", "cuda"),
        where=_STARTED,
    )
    precision: Precision = _declare(
        Precision.AUTO,
        "what the network computes in; auto: what the machine is fast at; fp32: stock SAM 2's bits",
        read=lambda v: Precision.parse(str(v)),
        write=lambda v: v.value,
        choices=tuple(p.value for p in Precision),
        where=_STARTED,
    )
    compile: Compile = _declare(
        Compile.AUTO,
        "on a GPU, parts of the network are compiled when the server starts: minutes the first "
        "time, seconds later",
        read=lambda v: Compile.parse(str(v)),
        write=lambda v: v.value,
        choices=tuple(c.value for c in Compile),
        where=Where.SERVER,
    )
    labels: Mapping[str, int] = _declare(
        lambda: {"bone": 1},
        "names of the objects 1, 2, …, comma-separated: that the server offers, or of a DICOM SEG",
        read=_names,
        write=",".join,
        where=_STARTED,
    )
    results: Path | None = _declare(
        None, "folder of the log of results; beside the studies if it is not named",
        read=_path, where=Where.SERVER,
    )  # fmt: skip
    max_upload_mb: int = _declare(
        2048,
        "larger uploads are refused",
        read=_count(1, "max_upload_mb"),
        where=Where.SERVER,
    )
    cache_mb: int = _declare(
        4096,
        "bound of the encoded slices that are kept",
        read=_count(1, "cache_mb"),
        where=Where.SERVER,
    )
    disk_cache_mb: int = _declare(
        0,
        "bound of the encoded slices kept on disk for the next start of the server; 0: none",
        read=_count(0, "disk_cache_mb"),
        where=Where.SERVER,
    )
    users: Path | None = _declare(
        None, "file of those who may log in; log-in is off if it is not named",
        read=_path, where=Where.SERVER,
    )  # fmt: skip
    login_hours: float = _declare(
        12.0, "hours after which one has to log in again", read=_hours, where=Where.SERVER
    )
    open: bool = _declare(
        False,
        "whoever reaches the server may use it, without log-in",
        read=_truth,
        where=Where.SERVER,
    )
    origins: tuple[str, ...] = _declare(
        (),
        "sites whose pages may use the server besides its own, comma-separated",
        read=_origins,
        write=",".join,
        where=Where.SERVER,
    )
    expose: tuple[str, ...] = _declare(
        (),
        f"routes of MONAI Label to serve besides those of the viewers: {', '.join(EXPOSABLE)}",
        read=_groups,
        write=",".join,
        where=Where.SERVER,
    )
    home: Path | None = _declare(
        None, "folder for downloads; the user's own cache folder if it is not named",
        read=_path, where=Where.SERVER,
    )  # fmt: skip


@dataclass(frozen=True)
class PromptOptions:
    """What only a request of a viewer says."""

    prompt_slices: str | tuple[int, ...] = _declare(
        "auto",
        "which painted slices are prompts: those that changed, all, or numbers like 3,40,77",
        read=parse_prompt_slices,
        write=_write_slices,
        choices=("auto", "changed", "all"),
        where=Where.REQUEST,
    )
    source: str = _declare(
        "auto",
        "sam2_ct_propagate: from slices accepted earlier, or from a submitted label",
        read=_one_of("source", "auto", "accepted", "submitted"),
        choices=("auto", "accepted", "submitted"),
        where=Where.REQUEST,
        menu=True,
    )
    object: str | None = _declare(
        None, "the object that clicks are about, where the viewer does not say", where=Where.REQUEST
    )


CLASSES = (Settings, ServerOptions, PromptOptions)


def table() -> str:
    """The options as a Markdown table, for the README."""
    places = {
        Where.REQUEST: "viewer",
        Where.SERVER: "`--conf`",
        Where.COMMAND: "`segment`",
        Where.YAML: "YAML",
    }
    lines = ["| name | values (default first) | what | where |", "|---|---|---|---|"]
    for option in options_of():
        first = [option.default_text] if option.default_text else []
        others = ("false", "true") if isinstance(option.default, bool) else option.choices
        values = " ".join(f"`{v}`" for v in dict.fromkeys([*first, *others]))
        where = ", ".join(name for place, name in places.items() if place in option.where)
        lines.append(
            f"| `{option.name}` | {values} | {option.help} | "
            f"{'everywhere' if option.where == EVERYWHERE else where} |"
        )
    return "\n".join(lines)

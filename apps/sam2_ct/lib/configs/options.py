"""Every option of the project, declared once.

A field of the classes below is an option: its reader, default, help, choices and the places where
it is valid stand at its declaration. From these come the command line's options, `--conf`, the
viewers' menus, the keys of the evaluation's YAML, what a request may say, and the table in the
README (`python tools/options_table.py`). To add an option, add a field.

Imports neither torch nor MONAI, so that a usage error and `--help` are told at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.configs import readers
from lib.configs.option import (
    EVERYWHERE,
    STARTED,
    Option,
    Where,
    declare,
    declared_in,
    read_options,
)
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


@dataclass(frozen=True)
class Settings:
    """What a request may choose; it decides the result, and stands in its report and log."""

    policy: MemoryPolicy = declare(
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
    propagation: Propagation = declare(
        Propagation.SINGLE,
        "how prompts spread; three-axis seeds the axes you did not paint on, and says so",
        read=lambda v: Propagation.parse(str(v)),
        write=lambda v: v.value,
        choices=tuple(p.value for p in Propagation),
        menu=True,
    )
    window: Window = declare(
        lambda: WINDOWS["bone"],
        "grey values to [0, 1], in floating point; or LEVEL,WIDTH or clahe+LEVEL,WIDTH",
        read=lambda v: parse_window(str(v)),
        write=lambda v: v.describe(),
        choices=tuple(WINDOWS),
        menu=True,
    )
    axis: Axis | None = declare(
        None,
        "the axis slices are stacked along; auto: the one you painted or clicked on",
        read=readers.axis,
        write=lambda v: "auto" if v is None else v.value,
        choices=("auto", "axial", "coronal", "sagittal"),
        menu=True,
    )
    carry: bool = declare(
        False,
        "the backward pass sees the forward one's memories, as stock SAM 2 does",
        read=readers.truth,
    )
    merge: str = declare(
        "mean",
        "how forward-backward merges",
        read=readers.one_of("merge", "mean", "distance"),
        choices=("mean", "distance"),
    )
    extent: Extent = declare(
        Extent(),
        "where objects end: found, at the outermost marked slices, where the network loses them, "
        "at the volume's edge, or a range like 10-40",
        read=lambda v: Extent.parse(str(v)),
        write=lambda v: v.describe(),
        choices=EXTENTS,
        menu=True,
    )
    prior: Prior = declare(
        Prior.AUTO,
        "shape between painted slices and density inside them help the network",
        read=lambda v: Prior.parse(str(v)),
        write=lambda v: v.value,
        choices=tuple(p.value for p in Prior),
        menu=True,
    )
    input: InputSize = declare(
        InputSize.AUTO,
        "side of the network's input in pixels; own: what the checkpoint was made for; "
        "auto: that, or 512 where the crop has no more voxels than such masks have pixels, "
        "or 256 for a smaller network where every object has two painted slices",
        read=lambda v: InputSize.parse(str(v)),
        write=lambda v: v.value,
        choices=tuple(size.value for size in InputSize),
    )
    overlap: bool = declare(
        False,
        "objects may share voxels: a file for each, OUT.object<N>.nii.gz",
        read=readers.truth,
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
        return {o.name: o.write(getattr(self, o.name)) for o in declared_in(Settings)}


@dataclass(frozen=True)
class ServerOptions:
    """What the person who starts the server or the command decides."""

    model: str = declare(
        "auto",
        "the checkpoint, see Checkpoints",
        choices=("auto", *(name for name in CHECKPOINTS if not name.startswith("sam2.0"))),
        menu=True,
    )
    checkpoint: Path | None = declare(
        None, "your own checkpoint file; its architecture, if it is not known, is --model's",
        read=readers.path, where=STARTED,
    )  # fmt: skip
    device: str = declare(
        "auto",
        "where it runs; also cuda:N; a server takes all GPUs, or those named: cuda:0,cuda:1",
        choices=("auto", "cpu", "cuda"),
        where=STARTED,
    )
    precision: Precision = declare(
        Precision.AUTO,
        "what the network computes in; auto: what the machine is fast at; fp32: stock SAM 2's bits",
        read=lambda v: Precision.parse(str(v)),
        write=lambda v: v.value,
        choices=tuple(p.value for p in Precision),
        where=STARTED,
    )
    compile: Compile = declare(
        Compile.AUTO,
        "on a GPU, parts of the network are compiled when the server starts: minutes the first "
        "time, seconds later",
        read=lambda v: Compile.parse(str(v)),
        write=lambda v: v.value,
        choices=tuple(c.value for c in Compile),
        where=Where.SERVER,
    )
    labels: Mapping[str, int] = declare(
        lambda: {"bone": 1},
        "names of the objects 1, 2, …, comma-separated: that the server offers, or of a DICOM SEG",
        read=readers.names,
        write=",".join,
        where=STARTED,
    )
    results: Path | None = declare(
        None, "folder of the log of results; beside the studies if it is not named",
        read=readers.path, where=Where.SERVER,
    )  # fmt: skip
    max_upload_mb: int = declare(
        2048,
        "larger uploads are refused",
        read=readers.count(1, "max_upload_mb"),
        where=Where.SERVER,
    )
    cache_mb: int = declare(
        4096,
        "bound of the encoded slices that are kept",
        read=readers.count(1, "cache_mb"),
        where=Where.SERVER,
    )
    disk_cache_mb: int = declare(
        0,
        "bound of the encoded slices kept on disk for the next start of the server; 0: none",
        read=readers.count(0, "disk_cache_mb"),
        where=Where.SERVER,
    )
    users: Path | None = declare(
        None, "file of those who may log in; log-in is off if it is not named",
        read=readers.path, where=Where.SERVER,
    )  # fmt: skip
    login_hours: float = declare(
        12.0, "hours after which one has to log in again", read=readers.hours, where=Where.SERVER
    )
    open: bool = declare(
        False,
        "whoever reaches the server may use it, without log-in",
        read=readers.truth,
        where=Where.SERVER,
    )
    origins: tuple[str, ...] = declare(
        (),
        "sites whose pages may use the server besides its own, comma-separated",
        read=readers.origins,
        write=",".join,
        where=Where.SERVER,
    )
    expose: tuple[str, ...] = declare(
        (),
        "routes of MONAI Label to serve besides those of the viewers: "
        f"{', '.join(readers.EXPOSABLE)}",
        read=readers.groups,
        write=",".join,
        where=Where.SERVER,
    )
    home: Path | None = declare(
        None, "folder for downloads; the user's own cache folder if it is not named",
        read=readers.path, where=Where.SERVER,
    )  # fmt: skip


@dataclass(frozen=True)
class PromptOptions:
    """What only a request of a viewer says."""

    prompt_slices: str | tuple[int, ...] = declare(
        "auto",
        "which painted slices are prompts: those that changed, all, or numbers like 3,40,77",
        read=readers.prompt_slices,
        write=readers.write_prompt_slices,
        choices=("auto", "changed", "all"),
        where=Where.REQUEST,
    )
    source: str = declare(
        "auto",
        "sam2_ct_propagate: from slices accepted earlier, or from a submitted label",
        read=readers.one_of("source", "auto", "accepted", "submitted"),
        choices=("auto", "accepted", "submitted"),
        where=Where.REQUEST,
        menu=True,
    )
    object: str | None = declare(
        None, "the object that clicks are about, where the viewer does not say", where=Where.REQUEST
    )


CLASSES = (Settings, ServerOptions, PromptOptions)


def options_of(*classes: type, where: Where = EVERYWHERE) -> tuple[Option, ...]:
    """The options declared in some classes (by default all) that are valid in a place."""
    return tuple(o for cls in classes or CLASSES for o in declared_in(cls) if o.where & where)

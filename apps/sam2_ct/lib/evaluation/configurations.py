"""Every row of the tables as a named configuration; the rows themselves are data (`paper.yaml`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from lib.choice import Choice
from lib.configs.option import Where
from lib.configs.options import Settings, options_of
from lib.errors import BadInput
from lib.evaluation.following import Following
from lib.geometry import Axis
from lib.prompts.simulated import positions
from lib.propagation.extent import Extent, ExtentRule
from lib.propagation.input_size import InputSize
from lib.propagation.policy import describe, parse_policy
from lib.propagation.settings import Prior, Propagation

#: The papers' tables; `all` is all of them.
TABLES = ("1", "5", "6", "7", "interactive", "challenge")

#: What somebody at a viewer gets, with the settings that are served.
ANNOTATOR = "annotator"

#: Which slice to paint next.
GUIDANCE = "guidance"

#: Tables of ours alone; `all` leaves them out. `extent`: where objects end, and the prior.
UNPUBLISHED = (ANNOTATOR, "extent", GUIDANCE)

PAPER = Path(__file__).with_name("paper.yaml")


class Method(str, Enum):
    """What makes a volume of the painted slices."""

    SAM2 = "sam2"
    INTERPOLATION = "interpolation"
    THRESHOLD = "interpolation+threshold"
    RANDOM_WALKER = "random-walker"


class Scope(Choice):
    """What the network may look at."""

    OBJECT = "object"
    """The box of the truth with a margin in the plane, exact along the axis, as in the paper."""
    VOLUME = "volume"
    """All of it, cropped by the prompts as a served request is: the object's ends are unknown."""


#: Annotations that are painted slices: cut from the truth, or as people draw them.
PAINTED = ("mask", "freehand")

# The paper's base (III-A). It cuts the volume to the object, so there is no end to look for, and
# stock SAM 2 never stops and knows no prior: both are off here, unlike in a served request.
BASE = Settings(
    policy=parse_policy("baseline"),
    axis=Axis.AXIAL,
    extent=Extent(ExtentRule.WHOLE),
    prior=Prior.OFF,
    input=InputSize.OWN,
)


@dataclass(frozen=True)
class Configuration:
    """One way to get from a few marked slices to a volume.

    Attributes:
        method: SAM 2 or a comparator.
        prompts: which slices are marked (`lib.prompts.simulated.positions`); with three-axis
            propagation on every axis.
        annotation: `mask` or `freehand` (`lib.evaluation.freehand`), `box`, or `clicks-N` on each
            of them.
        scope: what is looked at.
        model: checkpoint by name; None is the run's.
        settings: what a served request may choose too.
        rounds: how often a simulated annotator corrects a slice afterwards.
        correction: what they do there: `mask` repaints it, `clicks-1` clicks once.
        choice: which slice they correct.
    """

    method: Method = Method.SAM2
    prompts: str = "first-middle-last"
    annotation: str = "mask"
    scope: Scope = Scope.OBJECT
    model: str | None = None
    settings: Settings = BASE
    rounds: int = 0
    correction: str = "mask"
    choice: Following = Following.WORST

    def __post_init__(self) -> None:
        positions(np.ones(2, dtype=bool), self.prompts)  # refuses an unknown strategy
        clicks(self.annotation)
        if self.correction not in ("mask", "clicks-1"):
            raise BadInput(f"correction {self.correction!r}: use mask or clicks-1")
        if self.rounds < 0:
            raise BadInput(f"rounds must be 0 or more, got {self.rounds}")
        by_masks = self.annotation in PAINTED and (self.rounds == 0 or self.correction == "mask")
        if self.method is not Method.SAM2 and not by_masks:
            raise BadInput(
                f"{self.method.value} needs painted slices: annotation {' or '.join(PAINTED)}, "
                "correction mask"
            )
        if self.choice is Following.SUGGESTED and self.method is not Method.SAM2:
            raise BadInput(f"{self.method.value} suggests no slice: use another choice")
        if self.rounds and self.settings.propagation is Propagation.THREE_AXIS:
            raise BadInput("rounds of correction are on axial slices: not with three-axis")

    @classmethod
    def parse(cls, options: Mapping[str, object], base: Settings = BASE) -> Configuration:
        """From options by name: those of a request, and of `Configuration` itself.

        What is left out is the base's; with the scope `volume` it is what is served, but for the
        base's window.

        Raises:
            BadInput: an unknown option or value.
        """
        known = {"method", "prompts", "annotation", "scope", "model"}
        known |= {"rounds", "correction", "choice"}
        served = {o.name for o in options_of(Settings, where=Where.YAML)}
        unknown = sorted(set(options) - known - served)
        if unknown:
            raise BadInput(
                f"unknown option {', '.join(map(repr, unknown))} of a configuration: use "
                f"{', '.join(sorted(known | served))}"
            )
        scope = Scope.parse(str(options.get("scope", Scope.OBJECT.value)))
        if scope is Scope.VOLUME:
            base = replace(Settings(), window=base.window)
        settings = Settings.parse({k: v for k, v in options.items() if k in served}, base)
        # a simulated annotator paints axial slices unless an axis is named
        settings = replace(settings, axis=settings.axis or Axis.AXIAL)
        try:
            method = Method(str(options.get("method", "sam2")))
            rounds = int(str(options.get("rounds", 0)))
        except ValueError as error:
            methods = ", ".join(m.value for m in Method)
            raise BadInput(f"{error}: methods are {methods}; rounds is a number") from None
        return cls(
            method=method,
            prompts=str(options.get("prompts", "first-middle-last")),
            annotation=str(options.get("annotation", "mask")),
            scope=scope,
            model=None if options.get("model") is None else str(options["model"]),
            settings=settings,
            rounds=rounds,
            correction=str(options.get("correction", "mask")),
            choice=Following.parse(str(options.get("choice", Following.WORST.value))),
        )

    def on(self, model: str) -> Configuration:
        """This configuration with the run's model where it names none."""
        return replace(self, model=self.model or model)

    @property
    def key(self) -> str:
        """Name by which results are filed: equal for equal work, fit for a file name."""
        s = self.settings
        parts = [self.prompts, self.annotation]
        if self.method is Method.SAM2:
            parts = [
                self.model or "default",
                s.window.describe(),
                *parts,
                s.propagation.value + (f"-{s.merge}" if s.merge != "mean" else ""),
                describe(s.policy),
                *(["carry"] if s.carry else []),
                *([f"extent-{s.extent.describe()}"] if s.extent != BASE.extent else []),
                *([f"prior-{s.prior.value}"] if s.prior != BASE.prior else []),
                *([f"input-{s.input.value}"] if s.input is not BASE.input else []),
            ]
        else:
            parts = [self.method.value, *parts]
        parts += [f"axis-{s.axis.value}"] if s.axis != BASE.axis else []
        parts += [self.scope.value] if self.scope is not Scope.OBJECT else []
        if self.rounds:
            parts.append(f"{self.rounds}x{self.correction}")
            parts += [self.choice.value] if self.choice is not Following.WORST else []
        return "_".join(parts)


@dataclass(frozen=True)
class Row:
    """A row of a table: its place, its configuration, and the published figures.

    Attributes:
        published: `dice`, `iou`, `hd` → (mean, standard deviation); empty for our own rows.
        against: label of the row it is tested against, in its experiment or else its table.
    """

    table: str
    experiment: str
    label: str
    configuration: Configuration
    published: Mapping[str, Sequence[float]]
    against: str | None = None

    def as_json(self) -> dict[str, object]:
        """For `run.json`."""
        return {
            "table": self.table,
            "experiment": self.experiment,
            "label": self.label,
            "key": self.configuration.key,
            "published": {k: list(v) for k, v in self.published.items()},
            "against": self.against,
        }


def clicks(annotation: str) -> int:
    """Number of clicks of `clicks-N`, 0 for a mask or a box.

    Raises:
        BadInput: neither.
    """
    if annotation in (*PAINTED, "box"):
        return 0
    count = annotation.removeprefix("clicks-")
    if count == annotation or not count.isdecimal() or int(count) < 1:
        raise BadInput(f"unknown annotation {annotation!r}: use mask, freehand, box or clicks-N")
    return int(count)


@cache
def paper() -> Mapping[str, object]:
    """The content of `paper.yaml`."""
    return yaml.safe_load(PAPER.read_text(encoding="utf-8"))


def rows_of(table: str, model: str, base: Settings = BASE) -> list[Row]:
    """The rows of a table, or of `all`.

    Args:
        table: one of `TABLES`, `all` of these, or one of `UNPUBLISHED`.
        model: the run's checkpoint.
        base: what rows leave out, say another window for MR.

    Raises:
        BadInput: no such table.
    """
    known = (*TABLES, *UNPUBLISHED)
    if table not in (*known, "all"):
        raise BadInput(f"unknown table {table!r}: use {', '.join(known)} or all")
    if table == ANNOTATOR:
        return [r for row in _rows(table, model, base) for r in _beside_interpolation(row)]
    wanted = TABLES if table == "all" else (table,)
    return [row for name in wanted for row in _rows(name, model, base)]


def rows_from_file(file: Path, model: str, base: Settings = BASE) -> list[Row]:
    """Rows of a user's own: a YAML list `configurations` of options, each with a `name`.

    Raises:
        BadInput: the file cannot be read or holds something else.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"cannot read {file}: {reason}") from error
    entries = content.get("configurations") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries or [0]):
        raise BadInput(f"{file} needs a list `configurations` of options, each with a name")
    rows = []
    for number, entry in enumerate(entries, 1):
        options = dict(entry)
        name = str(options.pop("name", f"configuration {number}"))
        first = rows[0].label if rows else None
        configuration = Configuration.parse(options, base).on(model)
        rows.append(Row("own", file.name, name, configuration, {}, first))
    return rows


def _rows(table: str, model: str, base: Settings) -> Iterator[Row]:
    for experiment in paper()["tables"][table]["experiments"]:
        for row in experiment["rows"]:
            configuration = Configuration.parse(row["options"], base).on(model)
            published = {k: row[k] for k in ("dice", "iou", "hd") if k in row}
            against = row.get("against", experiment.get("against"))
            yield Row(table, experiment["name"], row["label"], configuration, published, against)


def _beside_interpolation(row: Row) -> list[Row]:
    """The row, and shape interpolation from its very prompts; none is made of boxes or clicks."""
    if row.configuration.annotation not in PAINTED:
        return [row]
    filled = replace(
        row,
        label=f"{row.label}: interpolation",
        configuration=replace(row.configuration, method=Method.INTERPOLATION),
    )
    return [replace(row, against=filled.label), filled]

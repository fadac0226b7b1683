"""A report before it has a form: what its Markdown and its HTML are both made of.

Text is plain: what a form would take for markup (a case called `a|b`, a row called `<b>`) is
escaped where that form is written, in `markdown.py` and `html.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Style(Enum):
    """What a piece of text is set in."""

    PLAIN = "plain"
    STRONG = "strong"
    EMPHASIS = "emphasis"
    CODE = "code"


@dataclass(frozen=True)
class Span:
    """A piece of text in one style."""

    text: str
    style: Style = Style.PLAIN


#: Plain strings and spans, one after the other.
Line = Sequence[str | Span]


def strong(text: object) -> Span:
    """What must not be overlooked."""
    return Span(str(text), Style.STRONG)


def emphasis(text: object) -> Span:
    """What is set apart; in tables: what is published, not ours."""
    return Span(str(text), Style.EMPHASIS)


def code(text: object) -> Span:
    """Names of files and configurations, checksums."""
    return Span(str(text), Style.CODE)


def spans(line: Line) -> list[Span]:
    """Every piece of a line as a span."""
    return [Span(piece) if isinstance(piece, str) else piece for piece in line]


@dataclass(frozen=True)
class Heading:
    """A section begins."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    line: Line


@dataclass(frozen=True)
class Bullets:
    """A list."""

    lines: Sequence[Line]


@dataclass(frozen=True)
class Commands:
    """What is typed in a shell, as it is."""

    text: str


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what is read.
        value: the figure it is sorted by, such as the mean of `0.80 ± 0.10` or the lower limit
            of an interval; None for words, and where nothing was measured.
        style: published figures are emphasised.
    """

    text: str
    value: float | None = None
    style: Style = Style.PLAIN


#: Cells from left to right.
Row = Sequence[Cell]


@dataclass(frozen=True)
class Table:
    """Figures in columns.

    Attributes:
        caption: what it shows; it stands alone.
        header: a name for each column; a column that holds a figure sorts by value.
        groups: rows that stay together when the table is sorted, by the first of them.
    """

    caption: str
    header: Line
    groups: Sequence[Sequence[Row]]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"{len(row)} cells under {len(self.header)} headers: {row}")

    @classmethod
    def of(cls, caption: str, header: Line, rows: Sequence[Row]) -> Table:
        """A table whose rows are sorted each for itself."""
        return cls(caption, header, [[row] for row in rows])

    @property
    def rows(self) -> list[Row]:
        """All rows, from top to bottom."""
        return [row for group in self.groups for row in group]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold figures."""
        return [any(row[n].value is not None for row in self.rows) for n in range(len(self.header))]


@dataclass(frozen=True)
class Picture:
    """A PNG that lies beside the report.

    Attributes:
        file: where it is.
        caption: what is under it.
        alt: what it says to who cannot see it.
    """

    file: Path
    caption: str
    alt: str


Block = Heading | Paragraph | Bullets | Commands | Table | Picture


@dataclass
class Document:
    """A title, and blocks as they are added."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    def add(self, *blocks: Block) -> None:
        """Blocks, one under the other."""
        self.blocks += blocks

    def section(self, title: str) -> None:
        """Begin a section."""
        self.add(Heading(title))

    def say(self, *line: str | Span) -> None:
        """A paragraph; nothing if there is nothing to say."""
        if any(span.text for span in spans(line)):
            self.add(Paragraph(line))

    def points(self, lines: Sequence[Line]) -> None:
        """A list; nothing if it is empty."""
        if lines:
            self.add(Bullets(lines))

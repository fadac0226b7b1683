"""A document as Markdown (CommonMark with GitHub's tables)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

from lib.evaluation.document import (
    Block,
    Bullets,
    Commands,
    Document,
    Heading,
    Line,
    Paragraph,
    Picture,
    Span,
    Style,
    Table,
    spans,
)

# an underscore within a word, a `<` before a space and a `$` alone mean nothing
_MARKUP = re.compile(r"[\\`*\[\]|~]|<(?=[\w/!?])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
_MARKS = {Style.PLAIN: "", Style.STRONG: "**", Style.EMPHASIS: "*"}


def to_markdown(document: Document) -> str:
    """The whole text; pictures are linked by file name."""
    parts = [f"# {escape(document.title)}", *(_block(block) for block in document.blocks)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Plain text so that nothing in it is taken for markup; line breaks become spaces."""
    return _MARKUP.sub(r"\\\g<0>", re.sub(r"\s+", " ", text))


def _line(line: Line) -> str:
    return "".join(_span(span) for span in spans(line))


def _span(span: Span) -> str:
    if span.style is Style.CODE:
        return _code(span.text)
    mark = _MARKS[span.style] if span.text else ""
    return f"{mark}{escape(span.text)}{mark}"


def _code(text: str) -> str:
    """Between more backticks than the text has in a row."""
    text = re.sub(r"\s+", " ", text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if len(fence) > 1 else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _cell(span: Span) -> str:
    """A bar ends a cell even within code."""
    text = _span(span)
    return text.replace("|", r"\|") if span.style is Style.CODE else text


def _bullets(block: Bullets) -> str:
    return "\n".join(f"- {_line(line)}" for line in block.lines)


def _commands(block: Commands) -> str:
    return "\n".join(f"    {line}" for line in block.text.splitlines())


def _table(block: Table) -> str:
    """The header says what the caption says, in the section it stands in."""
    rule = ["---:" if numeric else "---" for numeric in block.numeric]
    rows = [[_cell(Span(cell.text, cell.style)) for cell in row] for row in block.rows]
    header = [_cell(span) for span in spans(block.header)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def _picture(block: Picture) -> str:
    return f"![{escape(block.alt)}]({quote(block.file.name)})\n\n*{escape(block.caption)}.*"


_BLOCKS: Mapping[type, Callable[..., str]] = {
    Heading: lambda block: f"## {escape(block.text)}",
    Paragraph: lambda block: _line(block.line),
    Bullets: _bullets,
    Commands: _commands,
    Table: _table,
    Picture: _picture,
}


def _block(block: Block) -> str:
    return _BLOCKS[type(block)](block)

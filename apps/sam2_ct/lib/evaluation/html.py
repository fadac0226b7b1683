"""A document as one HTML file that needs nothing else: no network, no file beside it.

Styles, the script that sorts tables and every picture are inside. The policy in its head allows
that script and those styles by their hashes, pictures as data, and nothing else: whatever a name
in the data set may hold, it cannot run and cannot ask for anything.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lib.evaluation.document import (
    Bullets,
    Commands,
    Document,
    Heading,
    Paragraph,
    Picture,
    Table,
    spans,
)

_PAGE = Path(__file__).parent / "page"
_KINDS = (Heading, Paragraph, Bullets, Commands, Table, Picture)


def to_html(document: Document) -> str:
    """The whole file; pictures are read from where they lie."""
    style, script = (_inline(name) for name in ("report.css", "report.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template("report.html").render(
        document=document,
        headings=[block for block in document.blocks if isinstance(block, Heading)],
        policy=policy,
        style=style,
        script=script,
    )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["spans"] = spans
    environment.filters["data_uri"] = _data_uri
    for kind in _KINDS:
        environment.tests[kind.__name__.lower()] = lambda block, kind=kind: isinstance(block, kind)
    return environment


def _inline(name: str) -> Markup:
    """A file of ours, which stands in the page as it is."""
    return Markup((_PAGE / name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _data_uri(png: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode()

"""Planes as a picture: the volume, the objects' outlines, and the slices that were marked.

Figures are made without pyplot, whose list of open figures is not safe among threads.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lib.files import write_whole
from lib.geometry import Axis
from lib.pictures.planes import Found, Marked, Pose, View, field_of_view, plane_of
from lib.transforms.windowed import Windowed

OUTLINES = ("#ff4d4d", "#4da3ff", "#c77dff", "#ff9f1c", "#f15bb5", "#00d5c8")
TRUTH, PROMPTED, SUGGESTED = "#37d67a", "#ffd23f", "#6fe3ff"
_DPI = 100
_LONGEST_NAME = 40


@dataclass(frozen=True, eq=False)
class Picture:
    """What is drawn.

    Attributes:
        shown: the volume, RAS, through the window that was used.
        found: the result.
        rows: planes, row by row.
        marked: prompted and suggested slices.
        names: of objects, by id; others are numbered.
        truth: (X, Y, Z) bool on the result's grid, drawn dashed.
        title: a line above everything.
    """

    shown: Windowed
    found: Found
    rows: Sequence[Sequence[View]]
    marked: Marked = field(default_factory=Marked)
    names: Mapping[int, str] = field(default_factory=dict)
    truth: NDArray[Any] | None = None
    title: str = ""


def figure_of(picture: Picture) -> Figure:
    """The picture as a matplotlib figure: an `Axes` for each plane, row by row, pixels as data."""
    columns = max(len(row) for row in picture.rows)
    figure = Figure(
        figsize=(3.4 * columns, 3.6 * len(picture.rows) + 0.5),
        facecolor="black",
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(picture.rows), columns)
    middle, side = field_of_view(picture.found)
    for r, row in enumerate(picture.rows):
        for c, view in enumerate(row):
            _draw(figure.add_subplot(grid[r, c]), picture, view, middle, side)
    legend = figure.legend(
        handles=_legend(picture),
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=8,
        labelcolor=_PLAIN["color"],
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    if picture.title:
        figure.suptitle(picture.title, fontsize=11, **_PLAIN)
    return figure


def to_png(picture: Picture) -> bytes:
    """The picture as a PNG file."""
    stream = io.BytesIO()
    _save(picture, stream)
    return stream.getvalue()


def write_png(picture: Picture, path: Path) -> None:
    """Write the picture, whole or not at all.

    Raises:
        BadInput: it cannot be written there.
    """
    write_whole(path, lambda partial: _save(picture, partial))


#: Of every text; a $ in a name is no formula.
_PLAIN: Mapping[str, Any] = {"color": "white", "parse_math": False}


def _save(picture: Picture, target: Path | io.BytesIO) -> None:
    # without a date or a version the same result gives the same bytes
    figure_of(picture).savefig(target, dpi=_DPI, format="png", metadata={"Software": None})


def _draw(
    axes: Axes, picture: Picture, view: View, middle: Mapping[Axis, float], side: float
) -> None:
    found, marked = picture.found, picture.marked
    pose = Pose(found.grid, view.axis)
    width, height = pose.pixel
    axes.imshow(
        plane_of(picture.shown, view.axis, view.index, found.grid),
        cmap="gray",
        vmin=0,
        vmax=1,
        aspect=height / width,
    )
    if picture.truth is not None:
        _outline(axes, pose.take(picture.truth, view.index) != 0, TRUTH, "dashed")
    for n, (_, mask) in enumerate(found.plane(view.axis, view.index)):
        _outline(axes, mask, OUTLINES[n % len(OUTLINES)], "solid")
    lines: tuple[tuple[Mapping[Axis, Sequence[int]], str, str], ...] = (
        (marked.prompted, PROMPTED, "solid"),
        (marked.suggested, SUGGESTED, "dashed"),
    )
    for slices, colour, style in lines:
        line: Mapping[str, Any] = {"color": colour, "ls": style, "lw": 0.9, "alpha": 0.75}
        for index in slices.get(pose.down, ()):
            axes.axhline(pose.place(pose.down, index), **line)
        for index in slices.get(pose.across, ()):
            axes.axvline(pose.place(pose.across, index), **line)
    across, down = (pose.place(axis, middle[axis]) for axis in (pose.across, pose.down))
    axes.set_xlim(across - side / 2 / width, across + side / 2 / width)
    axes.set_ylim(down + side / 2 / height, down - side / 2 / height)
    axes.set_axis_off()
    what = ""
    if view.index in marked.prompted.get(view.axis, ()):
        what = ", prompted"
    elif view.axis in marked.prompted:
        what = ", propagated"
    axes.set_title(f"{view.axis.value} {view.index}{what}", fontsize=9, **_PLAIN)
    left, right, top, bottom = pose.letters
    for letter, x, y in (
        (left, 0.03, 0.5),
        (right, 0.97, 0.5),
        (top, 0.5, 0.97),
        (bottom, 0.5, 0.03),
    ):
        axes.text(
            *(x, y, letter),
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=9,
            **_PLAIN,
            bbox={"facecolor": "black", "edgecolor": "none", "alpha": 0.5, "pad": 1.0},
        )


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str, style: str) -> None:
    """A closed line half a pixel outside of the centres of the object's outermost pixels."""
    if not mask.any():
        return
    rows, columns = mask.shape
    axes.contour(
        np.arange(-1, columns + 1),
        np.arange(-1, rows + 1),
        np.pad(mask.astype(float), 1),
        levels=[0.5],
        colors=colour,
        linestyles=style,
        linewidths=1.1,
    )


def _legend(picture: Picture) -> list[Line2D]:
    lines = [
        _key(OUTLINES[n % len(OUTLINES)], "solid", _name(picture.names.get(i, ""), i))
        for n, i in enumerate(picture.found.ids)
    ]
    if picture.truth is not None:
        lines.append(_key(TRUTH, "dashed", "truth"))
    if any(picture.marked.prompted.values()):
        lines.append(_key(PROMPTED, "solid", "prompted slices"))
    if any(picture.marked.suggested.values()):
        lines.append(_key(SUGGESTED, "dashed", "suggested slices"))
    return lines


def _name(name: str, object_id: int) -> str:
    """What an object is called: its number if the font cannot write its name."""
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    if not name or not all(font.get_char_index(ord(letter)) for letter in name):
        return f"object {object_id}"
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _key(colour: str, style: Literal["solid", "dashed"], text: str) -> Line2D:
    # matplotlib leaves out a label that begins with _, but not one that begins with nothing
    return Line2D([], [], color=colour, ls=style, label=f"\u200b{text}")

"""What is drawn: outlines lie on the mask, lines on the marked slices, millimetres are equal."""

import io
import warnings

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from scipy import ndimage

from lib.geometry import Axis, Grid
from lib.pictures.figure import (
    OUTLINES,
    PROMPTED,
    SUGGESTED,
    Picture,
    figure_of,
    to_png,
    write_png,
)
from lib.pictures.planes import Found, Marked, three_planes
from lib.transforms.volume import Volume
from lib.transforms.window import Window
from lib.transforms.windowed import Windowed
from tests.geometry.grids import AFFINES, SHAPE, reoriented

GREY = 100 / 1100
DIMS = {Axis.SAGITTAL: 0, Axis.CORONAL: 1, Axis.AXIAL: 2}


def bone() -> np.ndarray:
    """A blob without any symmetry."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:9, 3:8, 2:7] = 1
    labels[9:12, 3:5, 2:4] = 1
    labels[2, 7, 6] = 0
    return labels


def picture(affine, marked: Marked | None = None, labels=None, **more) -> Picture:
    grid = Grid(SHAPE, affine)
    labels = bone() if labels is None else labels
    found = Found(labels, grid, more.pop("ids", [1]))
    shown = Windowed(Volume(np.zeros(SHAPE, np.int16), grid).upright(), Window(450, 1100))
    return Picture(shown, found, [three_planes(found)], marked or Marked(), **more)


def pixels(figure, axes, colour: str) -> np.ndarray:
    """(n, 2) column and row, in pixels of the plane, of everything drawn in a colour."""
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255
    # edges are blended with the volume, which is one dark grey here
    step = np.array(to_rgb(colour)) - GREY
    share = (drawn - GREY) @ step / (step @ step)
    near = (share > 0.4) & (np.abs(drawn - GREY - share[..., None] * step).max(-1) < 0.1)
    height = drawn.shape[0]
    y, x = np.nonzero(near)
    box = axes.get_window_extent()
    inside = (
        (x > box.x0 + 1) & (x < box.x1 - 1) & (height - y > box.y0 + 1) & (height - y < box.y1 - 1)
    )
    display = np.column_stack([x + 0.5, height - y - 0.5])[inside]
    return axes.transData.inverted().transform(display)


@pytest.mark.parametrize("affine", AFFINES)
def test_the_outline_is_that_of_the_mask(affine):
    drawn = picture(affine)
    grid = drawn.found.grid
    _, seen = reoriented(grid, bone(), "LPI")
    figure = figure_of(drawn)
    for axes, view in zip(figure.axes, drawn.rows[0], strict=True):
        count = grid.shape[grid.dim_of(view.axis)]
        lpi = count - 1 - view.index if grid.sign_of(view.axis) > 0 else view.index
        mask = np.take(seen, lpi, DIMS[view.axis]).T != 0
        columns, rows = pixels(figure, axes, OUTLINES[0]).T
        assert len(columns) > 50
        # the border of the mask, on a raster a tenth of a pixel fine
        fine = np.kron(np.pad(mask, 2), np.ones((10, 10), bool))
        border = fine ^ ndimage.binary_erosion(fine)
        line = np.zeros_like(fine)
        line[((rows + 2.5) * 10).astype(int), ((columns + 2.5) * 10).astype(int)] = True
        off = ndimage.distance_transform_edt(~border)[line].max() / 10
        missed = ndimage.distance_transform_edt(~line)[border].max() / 10
        # corners of pixels are cut, and a line has a width
        assert off < 0.8
        assert missed < 0.9


@pytest.mark.parametrize("affine", AFFINES)
def test_a_millimetre_is_as_long_in_every_direction_and_plane(affine):
    drawn = picture(affine)
    figure = figure_of(drawn)
    figure.canvas.draw()
    scales = []
    for axes, view in zip(figure.axes, drawn.rows[0], strict=True):
        grid = drawn.found.grid
        others = [a for a in (Axis.SAGITTAL, Axis.CORONAL, Axis.AXIAL) if a is not view.axis]
        width, height = (grid.spacing[grid.dim_of(a)] for a in others)
        (x0, y0), (x1, y1) = axes.transData.transform([(0, 0), (1, 1)])
        scales += [(x1 - x0) / width, (y0 - y1) / height]
    np.testing.assert_allclose(scales, scales[0], rtol=0.02)
    assert scales[0] > 0


def lines(axes, colour: str) -> dict[str, list[float]]:
    drawn = [line for line in axes.lines if to_rgb(line.get_color()) == to_rgb(colour)]
    across = [line.get_ydata()[0] for line in drawn if len(set(line.get_ydata())) == 1]
    down = [line.get_xdata()[0] for line in drawn if len(set(line.get_xdata())) == 1]
    return {"rows": sorted(across), "columns": sorted(down)}


@pytest.mark.parametrize("affine", AFFINES)
def test_marked_slices_are_lines_in_the_other_planes(affine):
    grid = Grid(SHAPE, affine)
    at = {axis: n + 1 for n, axis in enumerate(Axis)}
    drawn = picture(
        affine,
        Marked({Axis.AXIAL: [at[Axis.AXIAL]]}, {Axis.SAGITTAL: [at[Axis.SAGITTAL]]}),
    )

    def seen(axis: Axis) -> int:
        lit = np.zeros(SHAPE, np.uint8)
        np.moveaxis(lit, grid.dim_of(axis), 0)[at[axis]] = 1
        return int(
            np.flatnonzero(reoriented(grid, lit, "LPI")[1].any(tuple({0, 1, 2} - {DIMS[axis]})))[0]
        )

    axial, coronal, sagittal = figure_of(drawn).axes
    assert lines(coronal, PROMPTED) == {"rows": [seen(Axis.AXIAL)], "columns": []}
    assert lines(sagittal, PROMPTED) == {"rows": [seen(Axis.AXIAL)], "columns": []}
    assert lines(axial, PROMPTED) == {"rows": [], "columns": []}
    for axes in (axial, coronal):
        assert lines(axes, SUGGESTED) == {"rows": [], "columns": [seen(Axis.SAGITTAL)]}
    assert lines(sagittal, SUGGESTED) == {"rows": [], "columns": []}


def test_the_title_of_a_plane_says_whether_somebody_marked_it():
    plain = picture(np.eye(4))
    axial = plain.rows[0][0].index
    titles = [
        figure_of(picture(np.eye(4), Marked({Axis.AXIAL: [index]}))).axes[0].get_title()
        for index in (axial, axial + 1)
    ]
    assert titles == [f"axial {axial}, prompted", f"axial {axial}, propagated"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("hip_left", "hip_left"),
        ("_first", "_first"),
        (r"$\frac{1}{2", r"$\frac{1}{2"),
        ("<b>bone</b>", "<b>bone</b>"),
        ("大腿骨", "object 1"),
        ("x" * 100, "x" * 39 + "…"),
        ("", "object 1"),
    ],
)
def test_any_name_can_be_drawn(name, shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figure_of(picture(np.eye(4), names={1: name}))
        figure.canvas.draw()
    (legend,) = figure.legends
    assert [text.get_text().strip("\u200b") for text in legend.get_texts()] == [shown]


def test_two_objects_have_two_colours():
    labels = bone()
    labels[3:6, 4:6, :] = np.where(labels[3:6, 4:6, :], 7, 0)
    drawn = picture(np.eye(4), labels=labels, ids=[1, 7])
    figure = figure_of(drawn)
    axial = figure.axes[0]
    inner, outer = (pixels(figure, axial, OUTLINES[n]) for n in (1, 0))
    assert len(inner) > 20
    assert len(outer) > 20
    assert (np.ptp(inner, axis=0) < np.ptp(outer, axis=0)).all()


def test_the_same_result_gives_the_same_file(tmp_path):
    drawn = picture(np.eye(4), Marked({Axis.AXIAL: [2]}))
    png = to_png(drawn)
    write_png(drawn, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes() == png
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert image.info.get("Software") is None


def test_no_figure_is_left_with_pyplot():
    import matplotlib.pyplot as plt

    to_png(picture(np.eye(4)))
    assert plt.get_fignums() == []

"""From the file to the engine and back, for every orientation: nothing may move by a voxel."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation

from lib.geometry import Axis, Grid
from lib.prompts.labelmap import from_labelmap
from lib.prompts.types import Box, Mask, Points, PromptSet, in_plane_dims, lift
from lib.transforms import crop
from lib.transforms.crop import crop_box, on_raster, part_of
from lib.transforms.load import load_volume
from lib.transforms.restore import to_file_grid
from lib.transforms.volume import Volume
from lib.transforms.window import PRESETS
from lib.transforms.windowed import Windowed
from tests.geometry.grids import AFFINES, random_labels, world
from tests.transforms.conftest import hu

SHAPE = (44, 51, 47)


def small_mask(grid: Grid, axis: Axis, seed=0) -> Mask:
    """Scattered voxels in the middle of a slice."""
    shape = [grid.shape[d] for d in in_plane_dims(grid, axis)]
    mask = np.zeros(shape, bool)
    mask[20:26, 18:24] = np.random.default_rng(seed).random((6, 6)) < 0.5
    return Mask(axis, 21, 1, mask)


@dataclass
class Prepared:
    """What the engine sees of a file, for some prompts."""

    image: np.ndarray
    prompts: PromptSet
    source_grid: Grid
    warnings: tuple[str, ...]


@pytest.fixture(autouse=True)
def small_margin(monkeypatch):
    """Three millimetres, or the crop of so small a volume would be all of it."""
    monkeypatch.setattr(crop, "ONE_SLICE_MARGIN_MM", 3.0)


def prepare(path, prompts, axis=Axis.AXIAL) -> Prepared:
    volume = load_volume(path)
    shown = Windowed(volume.upright(), PRESETS["bone"])
    start, stop = crop_box(prompts.on(shown.grid), (axis,))
    bounds = on_raster((start, stop), shown.grid, 3)
    return Prepared(
        shown.part(bounds, axis),
        prompts.on(part_of(shown.grid, bounds)),
        volume.grid,
        volume.warnings,
    )


@pytest.mark.parametrize("axis", list(Axis))
@pytest.mark.parametrize("affine", AFFINES)
class TestEveryOrientation:
    def test_contract(self, nifti, affine, axis):
        source = Grid(SHAPE, affine)
        data = prepare(
            nifti(hu(SHAPE), affine), PromptSet(source, (small_mask(source, axis),)), axis=axis
        )
        image = data.image
        assert nib.aff2axcodes(data.prompts.grid.affine) == ("R", "A", "S")
        assert image.dtype == np.float32
        assert image.flags.c_contiguous
        assert 0 <= image.min() < image.max() <= 1
        assert image.shape == data.prompts.grid.shape
        assert image.shape[axis.dim] == SHAPE[source.dim_of(axis)]
        assert image.size < hu(SHAPE).size / 4
        assert data.source_grid.same_as(source)
        assert data.warnings == ()

    def test_every_voxel_comes_back(self, nifti, affine, axis):
        source = Grid(SHAPE, affine)
        array = hu(SHAPE)
        data = prepare(
            nifti(array, affine), PromptSet(source, (small_mask(source, axis),)), axis=axis
        )
        back = to_file_grid(data.image, data.prompts.grid, data.source_grid, fill=-1)
        inside = back != -1
        assert inside.sum() == data.image.size
        np.testing.assert_array_equal(back[inside], PRESETS["bone"].apply(array)[inside])

    def test_random_labels_there_and_back(self, nifti, affine, axis):
        source = Grid(SHAPE, affine)
        data = prepare(
            nifti(hu(SHAPE), affine), PromptSet(source, (small_mask(source, axis),)), axis=axis
        )
        cropped = data.prompts.grid
        labels = random_labels(cropped.shape)
        back = to_file_grid(labels, data.prompts.grid, data.source_grid)
        assert back.dtype == labels.dtype
        assert (back != 0).sum() == (labels != 0).sum()
        again = data.source_grid.map_to(cropped).array(back, cropped.shape)
        np.testing.assert_array_equal(again, labels)

    def test_prompts_stay_on_the_same_anatomy(self, nifti, affine, axis):
        source = Grid(SHAPE, affine)
        prompts = PromptSet(
            source,
            (
                small_mask(source, axis),
                Points(axis, 9, 1, np.array([[22.0, 20]]), np.array([[24.0, 21]])),
                Box(axis, 11, 1, np.array([20, 18]), np.array([25, 23])),
            ),
        )
        array = hu(SHAPE)
        data = prepare(nifti(array, affine), prompts, axis=axis)
        windowed = PRESETS["bone"].apply(array)
        for before, after in zip(prompts.prompts, ordered(data.prompts, prompts), strict=True):
            ijk, moved = voxels_of(before, source), voxels_of(after, data.prompts.grid)
            np.testing.assert_allclose(
                in_order(world(source, ijk)),
                in_order(world(data.prompts.grid, moved)),
                atol=1e-3,
            )
            here = data.image[tuple(moved.T)]
            np.testing.assert_array_equal(np.sort(windowed[tuple(ijk.T)]), np.sort(here))


def ordered(moved: PromptSet, like: PromptSet) -> list:
    """Prompts of `moved` in the order of their kinds in `like` (flips reverse slices)."""
    return [next(m for m in moved.prompts if type(m) is type(p)) for p in like.prompts]


def voxels_of(prompt, grid: Grid) -> np.ndarray:
    if isinstance(prompt, Mask):
        marked = np.argwhere(prompt.mask)
    elif isinstance(prompt, Points):
        marked = np.concatenate([prompt.foreground, prompt.background])
    else:
        marked = np.stack([prompt.low, prompt.high])
        corners = np.array([[marked[a, 0], marked[b, 1]] for a in (0, 1) for b in (0, 1)])
        marked = corners
    return lift(marked, grid, prompt.axis, prompt.index).astype(int)


def in_order(mm: np.ndarray) -> np.ndarray:
    return mm[np.lexsort(np.round(mm, 2).T)]


@pytest.mark.parametrize("affine", AFFINES)
def test_upright_as_monai_turns_a_volume(affine):
    array = hu(SHAPE)
    volume = Volume(array, Grid(SHAPE, affine))
    image = MetaTensor(torch.from_numpy(array)[None], torch.from_numpy(affine))
    turned = Orientation(axcodes="RAS", labels=None)(image)
    upright = volume.upright()
    assert np.shares_memory(upright.stored, array), "a view"
    np.testing.assert_array_equal(upright.stored, turned[0].numpy())
    np.testing.assert_array_equal(upright.grid.affine, turned.affine.numpy())


def test_a_label_map_in_another_orientation_than_the_ct(nifti):
    """Prompts may be stored flipped and permuted against the CT, as long as the voxels agree."""
    source = Grid(SHAPE, AFFINES[1].values[0])
    array = hu(SHAPE)
    labels = np.zeros(SHAPE, np.uint8)
    labels[20:26, 18:24, 21] = 1
    turned = nib.Nifti1Image(labels, source.affine).as_reoriented(
        nib.orientations.ornt_transform(
            nib.io_orientation(source.affine), nib.orientations.axcodes2ornt("PIR")
        )
    )
    path = nifti(array, source.affine)
    straight = prepare(path, from_labelmap(labels, source))
    other = Grid(turned.shape, turned.affine)
    through = prepare(path, from_labelmap(np.asarray(turned.dataobj), other))
    np.testing.assert_array_equal(straight.image, through.image)
    np.testing.assert_array_equal(straight.prompts.prompts[0].mask, through.prompts.prompts[0].mask)


def test_dicom_series(series):
    array = hu(SHAPE)
    folder = series(array, direction=(-1, 0, 0, 0, 1, 0))
    labels = np.zeros(SHAPE, np.uint8)
    labels[20:26, 18:24, 21] = 1
    source = load_volume(folder).grid
    data = prepare(folder, from_labelmap(labels, source))
    (prompt,) = data.prompts.prompts
    mask = np.zeros(data.prompts.grid.shape, np.uint8)
    np.moveaxis(mask, 2, 0)[prompt.index][prompt.mask] = 1
    np.testing.assert_array_equal(to_file_grid(mask, data.prompts.grid, source), labels)


def test_a_prediction_of_another_shape_is_a_defect():
    grid = Grid(SHAPE, np.eye(4))
    with pytest.raises(ValueError, match="prediction of shape"):
        to_file_grid(np.zeros((3, 3, 3)), grid, grid)

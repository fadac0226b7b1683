"""The sample CT: a thorax and pelvis made of formulas, in Hounsfield units, with its masks.

    python tools/sample_ct.py OUT [--seed N] [--cases N]

writes ``OUT/phantom_NNNN/ct.nii.gz`` and ``OUT/phantom_NNNN/segmentations/<structure>.nii.gz`` in
TotalSegmentator's layout and names, one case per seed.

A schematic body, not an anatomy: bones have the shapes, neighbourhoods, joint gaps, cortex and
spongy inside that make segmenting them easy or hard, and lie in fat, muscle, lung and bowel
gas. It is built in a *body frame* in millimetres: x to the patient's right, y to the front,
z to the head (RAS), x = y = 0 on the long axis, z = 0 at the lower edge of the field of view.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if not __package__:  # run as a script: the repository root is not on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.phantoms import shapes as sdf

Array = NDArray[np.float32]
Vector = tuple[float, float, float]
Box = tuple[Vector, Vector]
Slices = tuple[slice, slice, slice]

SHAPE = (200, 160, 128)
SPACING = (1.5, 1.5, 3.0)
#: Smaller pieces at the edge of the field of view get no mask of their own.
FEWEST_VOXELS = 50
#: Side of the blocks, in voxels, that are looked at before each of their voxels is.
BLOCK = 4


@dataclass(frozen=True)
class SampleCT:
    """A CT and what is in it.

    Attributes:
        ct: (X, Y, Z) int16, HU.
        labels: (X, Y, Z) uint8, 0 where there is no bone.
        names: Label → TotalSegmentator's name of the structure.
        affine: (4, 4) float64, voxel index → RAS mm.
    """

    ct: NDArray[np.int16]
    labels: NDArray[np.uint8]
    names: dict[int, str]
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class Patient:
    """What differs from case to case; lengths in mm, angles in degrees, densities in HU."""

    size: float  # 1 is a small adult
    turn: Vector  # how the body lies: rotation about x, y, z
    fat: float  # thickness of the layer under the skin
    bend: float  # sideways bow of the spine
    lordosis: float  # forward bow of the lumbar spine
    spongy: float
    cortical: float
    noise: float  # standard deviation
    origin: Vector  # of the scanner's coordinates


@dataclass(frozen=True)
class Bone:
    """One labelled solid.

    Attributes:
        name: TotalSegmentator's name.
        bounds: Box in the body frame that holds it.
        distance: SDF over body-frame points.
        cortex: Thickness of its dense shell, mm.
    """

    name: str
    bounds: Box
    distance: Callable[[Array], Array]
    cortex: float = 1.8


@dataclass(frozen=True)
class Vertebra:
    """Where one vertebra sits and how large it is; ``half`` is half the body's height."""

    name: str
    center: Vector
    tilt: float
    half: float
    width: float
    depth: float

    @property
    def lumbar(self) -> bool:
        return self.name.startswith("vertebrae_L")


def make_sample_ct(
    seed: int = 0,
    *,
    shape: tuple[int, int, int] = SHAPE,
    spacing: tuple[float, float, float] = SPACING,
) -> SampleCT:
    """Make one CT with its masks; the same arguments give the same voxels.

    Args:
        seed: Chooses the patient and the noise.
        shape: Voxels along x, y, z.
        spacing: Voxel size in mm. Shape and spacing set the field of view; what lies outside
            it is cut off, as on a scanner.

    Raises:
        ValueError: A shape or spacing that is not positive.
    """
    if min(shape) < 1 or min(spacing) <= 0:
        raise ValueError(f"shape {shape} and spacing {spacing} must be positive")
    rng = np.random.default_rng(seed)
    patient = draw_patient(rng)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = patient.origin
    canvas = _Canvas(shape, spacing, patient)
    spine = place_vertebrae(patient)
    _paint_soft_tissue(canvas, patient, spine, rng)
    names: dict[int, str] = {}
    for bone in all_bones(patient, spine):
        label = len(names) + 1
        if canvas.paint_bone(bone, label, patient):
            names[label] = bone.name
    return SampleCT(_scan(canvas, patient, rng), canvas.labels, names, affine)


def draw_patient(rng: np.random.Generator) -> Patient:
    """A random patient within the range of adults that fit the default field of view."""
    return Patient(
        size=rng.uniform(0.94, 1.03),
        turn=(rng.uniform(-3, 3), rng.uniform(-3, 3), rng.uniform(-5, 5)),
        fat=rng.uniform(6, 15),
        bend=rng.uniform(-6, 6),
        lordosis=rng.uniform(8, 16),
        spongy=rng.uniform(200, 280),
        cortical=rng.uniform(950, 1250),
        noise=rng.uniform(14, 28),
        origin=(rng.uniform(-190, -150), rng.uniform(-160, -120), rng.uniform(-900, -300)),
    )


# --- bones ------------------------------------------------------------------------------


def all_bones(patient: Patient, spine: list[Vertebra]) -> Iterator[Bone]:
    """Every bone, in the order of painting: later ones keep a joint's gap to earlier ones."""
    for vertebra in spine:
        yield vertebra_bone(vertebra)
    yield sacrum_bone()
    for side, sign in (("left", -1.0), ("right", 1.0)):
        yield femur_bone(side, sign)
        yield hip_bone(side, sign)
    yield sternum_bone()
    for number in range(5, 13):
        for side, sign in (("left", -1.0), ("right", 1.0)):
            yield rib_bone(number, side, sign, spine)


def place_vertebrae(patient: Patient) -> list[Vertebra]:
    """L5 up to T5 along the curved spine; the topmost lie beyond the default field of view."""
    names = [f"L{n}" for n in range(5, 0, -1)] + [f"T{n}" for n in range(12, 4, -1)]
    spine, z = [], 163.0
    for k, name in enumerate(names):
        lumbar = name[0] == "L"
        pitch = 25.5 if lumbar else 21.5 - 0.3 * (k - 5)
        # Lordosis below, kyphosis above: one sine, its slope gives the tilt of each vertebra.
        phase = (z - 163) / 250 * 2 * np.pi
        y = -43 + patient.lordosis * np.sin(phase) * (1.0 if phase < np.pi else 0.4)
        slope = patient.lordosis * np.cos(phase) * 2 * np.pi / 250
        x = patient.bend * np.sin((z - 163) / 220 * np.pi)
        spine.append(
            Vertebra(
                name=f"vertebrae_{name}",
                center=(x, float(y), z),
                tilt=float(np.rad2deg(np.arctan(slope))) * 0.8,
                half=pitch / 2 - 3.0,
                width=21 - 0.55 * k,
                depth=15.5 - 0.25 * k,
            )
        )
        z += pitch
    return spine


def vertebra_bone(v: Vertebra) -> Bone:
    """Body with a waist, pedicles and laminae around the canal, and seven processes."""
    # y of the canal's centre and of the spinous process' root, seen from the body's centre
    canal, root = -v.depth - 7.5, -v.depth - 16.5
    reach, drop = (17.0, -7.0) if v.lumbar else (16.0, -20.0)
    if v.name == "vertebrae_L5":
        reach = 11.0

    def distance(points: Array) -> Array:
        p = sdf.to_local(points, v.center, sdf.rotation(degrees_x=-v.tilt))
        waist = 1 - 0.09 * np.clip(1 - (p[..., 2] / v.half) ** 2, 0, 1)
        squeezed = p / np.stack([waist, waist, np.ones_like(waist)], axis=-1)
        body = sdf.elliptic_cylinder(squeezed, (0, 0, 0), (v.width, v.depth), v.half, 2.5)
        mirrored = p.copy()
        mirrored[..., 0] = np.abs(p[..., 0])
        side = 0.62 * v.width
        pedicle = sdf.capsule(mirrored, (side, -v.depth + 4, 3), (side + 1.5, canal, 2), 4.2)
        lamina = sdf.band(
            mirrored, [(side + 1.5, canal - 1, 0), (0, root, -3)], 5.5, 14, across=(0, 0, 1)
        )
        tip = (side + 23.0, canal - 5.0, 2.0) if v.lumbar else (side + 15.0, canal - 12.0, 4.0)
        transverse = sdf.capsule(mirrored, (side + 1, canal, 1), tip, 4.2, 3.2)
        upper = sdf.capsule(mirrored, (side + 2, canal - 2, 0), (side + 3.5, canal - 1, 10), 3.6)
        lower = sdf.capsule(mirrored, (side, canal - 5, 0), (side - 1, canal - 6.5, -12), 3.6)
        spinous = sdf.band(
            p, [(0, root, -3), (0, root - reach, -3 + drop)], 6, 15, across=(0, -drop, reach)
        )
        arch = sdf.union(pedicle, lamina, transverse, upper, lower, spinous)
        return sdf.smooth_union(body, arch, 2.0)

    x, y, z = v.center
    return Bone(v.name, ((x - 48, y - 68, z - 42), (x + 48, y + 22, z + 28)), distance, cortex=1.6)


def sacrum_bone() -> Bone:
    """A curved wedge with four pairs of foramina, tilted backwards."""

    def distance(points: Array) -> Array:
        p = sdf.to_local(points, (0, -59, 112), sdf.rotation(degrees_x=24))
        # Wide above, narrow below; hollow towards the front. Warped by less than 1 : 2.
        taper = np.clip(0.62 + p[..., 2] / 100, 0.28, 1.0)
        warped = np.stack(
            [p[..., 0] / taper, p[..., 1] - 0.0065 * p[..., 2] ** 2 + 5, p[..., 2]], axis=-1
        )
        wedge = sdf.box(warped, (0, 0, 0), (44, 12, 42), 9) * np.minimum(taper + 0.2, 1)
        endplate = sdf.elliptic_cylinder(p, (0, 12, 31), (21, 15), 11, 3)
        solid = sdf.smooth_union(wedge, endplate, 8)
        crest = sdf.capsule(p, (0, -16, 30), (0, -10, -12), 5, 4)
        solid = sdf.smooth_union(solid, crest, 5)
        mirrored = np.concatenate([np.abs(p[..., :1]), p[..., 1:]], axis=-1)
        for z, x in ((17, 21), (3, 18), (-11, 15), (-24, 12)):
            solid = sdf.subtract(solid, sdf.capsule(mirrored, (x, -40, z), (x, 40, z), 3.2))
        return solid

    return Bone("sacrum", ((-56, -106, 58), (56, -22, 166)), distance)


#: Centre of the femoral head, for the side x > 0.
HEAD = (80.0, 4.0, 56.0)


def femur_bone(side: str, sign: float) -> Bone:
    """Head, neck, greater trochanter and the upper shaft with its thick cortex."""

    def distance(points: Array) -> Array:
        p = points * np.array([sign, 1, 1], dtype=points.dtype)
        head = sdf.ball(p, HEAD, 20)
        neck = sdf.capsule(p, HEAD, (110, -3, 36), 11.5, 14)
        trochanter = sdf.ellipsoid(p, (115, -8, 40), (13, 15, 20))
        shaft = sdf.tube(p, [(111, -4, 34), (107, -2, 5), (104, 0, -40)], [14.5, 13.5, 13])
        lesser = sdf.ball(p, (97, -12, 12), 8)
        upper = sdf.smooth_union(head, neck, 5)
        lower = sdf.smooth_union(trochanter, sdf.smooth_union(shaft, lesser, 6), 8)
        return sdf.smooth_union(upper, lower, 6)

    return Bone(f"femur_{side}", _sided(sign, (55, -40, -30), (135, 35, 85)), distance, cortex=2.6)


def hip_bone(side: str, sign: float) -> Bone:
    """Iliac wing, acetabulum, pubis and ischium around the obturator foramen."""
    base = [(60, -38, 96), (66, -26, 88), (76, -12, 84), (84, 2, 82), (90, 16, 80), (92, 22, 78)]
    crest = [
        (43, -74, 136),
        (56, -60, 160),
        (84, -34, 174),
        (104, -6, 172),
        (110, 22, 154),
        (104, 40, 128),
    ]

    def distance(points: Array) -> Array:
        p = points * np.array([sign, 1, 1], dtype=points.dtype)
        wing = sdf.ruled_sheet(p, base, crest, 7.0)
        rim = sdf.tube(p, crest, 5.2)
        wing = sdf.smooth_union(wing, rim, 5)
        auricle = sdf.tube(p, [(62, -36, 98), (54, -56, 118), (47, -70, 132)], [9, 8, 7])
        wing = sdf.smooth_union(wing, auricle, 6)
        cup = sdf.ball(p, (HEAD[0] - 2, HEAD[1], HEAD[2] + 2), 30)
        pubis = sdf.tube(p, [(66, 16, 54), (40, 38, 48), (14, 48, 40)], [9, 7, 7])
        body = sdf.ellipsoid(p, (11, 47, 33), (8.5, 8, 17))
        ramus = sdf.tube(p, [(12, 46, 24), (30, 22, 14), (50, -12, 16)], [6, 5.5, 8])
        ischium = sdf.tube(p, [(68, -18, 50), (62, -28, 32), (54, -24, 16)], [14, 11.5, 12])
        ring = sdf.smooth_union(sdf.smooth_union(pubis, body, 6), ramus, 4)
        solid = sdf.smooth_union(sdf.smooth_union(wing, cup, 10), ischium, 8)
        solid = sdf.smooth_union(solid, ring, 6)
        # The socket opens outwards and downwards, and the head has its cartilage around it.
        mouth = sdf.capsule(p, HEAD, (130, 14, 22), 23.5, 44)
        return sdf.subtract(solid, mouth)

    return Bone(f"hip_{side}", _sided(sign, (0, -90, -2), (125, 62, 186)), distance, cortex=2.0)


def sternum_bone() -> Bone:
    """The sternal body and the xiphoid: a flat band leaning forward as it goes down."""

    def distance(points: Array) -> Array:
        path = [(0, 77, 430), (0, 83, 372), (0, 86, 335)]
        body = sdf.band(points, path, 11, 34, across=(1, 0, 0))
        xiphoid = sdf.band(points, [(0, 86, 330), (0, 84, 308)], 6, 13, across=(1, 0, 0))
        return sdf.smooth_union(body, xiphoid, 6)

    return Bone("sternum", ((-24, 66, 296), (24, 100, 440)), distance)


def rib_path(number: int, sign: float, spine: list[Vertebra]) -> NDArray[np.float64]:
    """Centre line (K, 3) of a rib from its vertebra, backwards, around and down to the front."""
    vertebra = next(v for v in spine if v.name == f"vertebrae_T{number}")
    x0, y0, z0 = vertebra.center
    end = {12: 72.0, 11: 92.0, 10: 118.0, 9: 130.0, 8: 138.0}.get(number, 146.0)
    angles = np.deg2rad(np.linspace(27, end, 16))
    # The cage widens downwards to the ninth rib and narrows again.
    wide = 116 - 2.0 * abs(number - 9)
    deep = 84 - 1.2 * abs(number - 9)
    down = 82 * (np.rad2deg(angles) - 20) / 130
    around = np.stack(
        [
            sign * wide * np.sin(angles) ** 0.9,
            4 - deep * np.cos(angles) * (1 - 0.04 * np.cos(angles)),
            z0 + 3 - down,
        ],
        axis=1,
    )
    head = [x0 + sign * (vertebra.width + 3), y0 - vertebra.depth + 3, z0 + 5]
    return np.vstack([head, around])


def rib_bone(number: int, side: str, sign: float, spine: list[Vertebra]) -> Bone:
    """A flattened tube along `rib_path`."""
    path = rib_path(number, sign, spine)

    def distance(points: Array) -> Array:
        return sdf.band(points, path, 7.0, 12.0, across=(0, 0, 1))

    low, high = path.min(axis=0) - 10, path.max(axis=0) + 10
    return Bone(f"rib_{side}_{number}", (tuple(low), tuple(high)), distance, cortex=1.6)


def _sided(sign: float, low: Vector, high: Vector) -> Box:
    """A box given for x > 0, on the side ``sign``."""
    xs = sorted((sign * low[0], sign * high[0]))
    return (xs[0], *low[1:]), (xs[1], *high[1:])


# --- everything else --------------------------------------------------------------------


def _paint_soft_tissue(
    canvas: _Canvas, patient: Patient, spine: list[Vertebra], rng: np.random.Generator
) -> None:
    p = canvas.points
    z = p[..., 2]
    # Shoulders and hips are wider than the waist.
    waist = 8 * np.exp(-(((z - 225) / 45) ** 2))
    scaled = p / np.stack([(132 - waist) / 132, (104 - waist * 0.5) / 104, np.ones_like(z)], -1)
    skin = sdf.elliptic_cylinder(scaled, (0, 0, 190), (132 + 0.4 * patient.fat, 104), 600)
    canvas.paint(skin, 20)
    canvas.paint(skin + 2.5, -98)
    canvas.paint(skin + 2.5 + patient.fat * (1 + 0.2 * np.sin(p[..., 0] / 40)), 52)
    # The thighs part below; between hip bones and spine lies the belly, full of fat.
    belly = sdf.ellipsoid(p, (0, 26, 200), (92, 58, 130))
    canvas.paint(belly, -85)
    for side in (-1, 1):
        psoas = [
            (side * 36, -42, 290),
            (side * 42, -34, 200),
            (side * 62, 4, 120),
            (side * 92, 14, 60),
        ]
        canvas.paint_in(sdf.tube, psoas, [8, 19, 17, 10], hu=58)
        canvas.paint_in(sdf.ellipsoid, (side * 52, -50, 255), (24, 20, 46), hu=34)  # kidney
    canvas.paint_in(sdf.ellipsoid, (52, 14, 286), (62, 66, 56), hu=62)  # liver
    canvas.paint_in(sdf.ellipsoid, (-68, -8, 300), (36, 44, 44), hu=50)  # spleen, stomach
    canvas.paint_in(sdf.ellipsoid, (0, 18, 70), (38, 30, 34), hu=8)  # bladder
    canvas.paint_in(sdf.tube, [(-9, -16, 170), (-11, -14, 430)], 9, hu=48)  # aorta
    for _ in range(26):  # loops of bowel, some with gas
        x, y, level = rng.uniform((-62, -6, 120), (62, 62, 250))
        radii = rng.uniform(9, 19, size=3)
        canvas.paint_in(sdf.ellipsoid, (x, y, level), radii, hu=rng.uniform(20, 55))
        if rng.random() < 0.4:
            canvas.paint_in(sdf.ellipsoid, (x, y + 4, level), radii * 0.55, hu=-850)
    for side in (-1, 1):
        canvas.paint_in(_lung, side, hu=-820)
    canvas.paint_in(sdf.ellipsoid, (-22, 34, 384), (46, 36, 42), hu=45)  # heart
    for a, b in pairwise(spine):
        middle = (np.add(a.center, b.center) / 2).tolist()
        radii = (b.width - 1, b.depth - 1)
        canvas.paint_in(sdf.elliptic_cylinder, middle, radii, 4.5, 1.5, hu=85)
    canvas.paint_in(sdf.elliptic_cylinder, (0, -48, 148), (18, 14), 6, 2, hu=85)
    canvas.paint_in(sdf.box, (0, 47, 33), (6, 7, 14), 3, hu=90)  # symphysis
    for side in (-1, 1):
        for number in range(5, 11):  # costal cartilage carries on where the rib ends
            end = rib_path(number, side, spine)[-1]
            goal = (side * 17, 84, max(318.0, float(end[2]) + 12))
            canvas.paint_in(
                sdf.tube, [end, (end + goal) / 2 + (side * 4, 4, -5), goal], 4.5, hu=110
            )
    canvas.paint(sdf.box(p, (0, -111, 190), (150, 3.5, 600), 3), -350)  # the table


def _lung(points: Array, side: float) -> Array:
    """One lung: the cage less the mediastinum, on the dome of the diaphragm."""
    cage = sdf.elliptic_cylinder(points, (side * 57, -2, 400), (47, 70), 140, 10)
    dome = sdf.ellipsoid(points, (side * 52, 10, 276), (58, 82, 62))
    return sdf.subtract(cage, dome)


# --- voxels -----------------------------------------------------------------------------


class _Canvas:
    """The volume while it is being painted.

    Attributes:
        points: (X, Y, Z, 3) float32, each voxel's centre in the body frame.
        hu: (X, Y, Z) float32.
        labels: (X, Y, Z) uint8.
    """

    def __init__(
        self, shape: tuple[int, int, int], spacing: tuple[float, float, float], patient: Patient
    ) -> None:
        self.spacing = np.array(spacing)
        self.scale = patient.size
        # Voxel → body frame: centred in x and y, z from the bottom, turned about the middle.
        self.turn = sdf.rotation(*patient.turn)
        self.pivot = np.array([0.0, 0.0, 190.0])
        extent = (np.array(shape) - 1) * self.spacing
        self.start = np.array([-extent[0] / 2, -extent[1] / 2, 0.0])
        grid = np.indices(shape, dtype=np.float32)
        world = np.moveaxis(grid, 0, -1) * np.float32(self.spacing) + np.float32(self.start)
        middle = self.pivot * self.scale
        self.points = sdf.to_local(world, middle, self.turn) / np.float32(self.scale)
        self.points += np.float32(self.pivot)
        self.width = float(np.prod(self.spacing) ** (1 / 3)) / self.scale
        self.hu = np.full(shape, -1000, dtype=np.float32)
        self.labels = np.zeros(shape, dtype=np.uint8)
        self.nearest_bone = np.full(self.hu.size, np.inf, dtype=np.float32)
        self.flat_points = self.points.reshape(-1, 3)
        self.flat_hu = self.hu.reshape(-1)
        self._everywhere = tuple(slice(0, size) for size in shape)

    def paint(self, distance: Array, hu: float) -> None:
        """Fill a solid given over the whole grid."""
        self.hu += sdf.coverage(distance, self.width) * (hu - self.hu)

    def paint_in(self, solid: Callable[..., Array], *arguments: object, hu: float) -> None:
        """Fill ``solid(points, *arguments)``, evaluated only near it."""
        where = self._near(lambda p: solid(p, *arguments), self._everywhere)
        cover = sdf.coverage(solid(self.flat_points[where], *arguments), self.width)
        self.flat_hu[where] += cover * (hu - self.flat_hu[where])

    def paint_bone(self, bone: Bone, label: int, patient: Patient) -> bool:
        """Fill a bone and label it; False if (almost) nothing of it is in the field of view."""
        box = self._box(bone.bounds)
        if box is None:
            return False
        where = self._near(bone.distance, box)
        distance = bone.distance(self.flat_points[where])
        # A millimetre of joint to bones painted before.
        distance = np.maximum(distance, 1 - self.nearest_bone[where])
        cover = sdf.coverage(distance, self.width)
        dense = sdf.coverage(-(distance + np.float32(bone.cortex)), self.width)
        density = patient.spongy + (patient.cortical - patient.spongy) * dense
        self.flat_hu[where] += cover * (density - self.flat_hu[where])
        self.nearest_bone[where] = np.minimum(self.nearest_bone[where], distance)
        inside = where[distance < 0]
        if len(inside) < FEWEST_VOXELS:
            return False
        self.labels.reshape(-1)[inside] = label
        return True

    def _near(self, distance: Callable[[Array], Array], box: Slices) -> NDArray[np.intp]:
        """Flat indices of the voxels of ``box`` in blocks that the solid may touch.

        The solid is looked at in one voxel per block first; for a thin rib in its wide box
        that saves nine tenths of the work.
        """
        step = BLOCK
        coarse = distance(self.points[box][::step, ::step, ::step])
        # From a block's first corner to its last, and a half more for distances that are only
        # approximate.
        near = coarse < 1.5 * step * float(np.linalg.norm(self.spacing)) / self.scale
        blocks = np.argwhere(near)[:, None, :] * step
        voxels = blocks + np.indices((step, step, step)).reshape(3, -1).T
        voxels = voxels.reshape(-1, 3) + [s.start for s in box]
        voxels = voxels[(voxels < [s.stop for s in box]).all(axis=1)]
        return np.ravel_multi_index(tuple(voxels.T), self.hu.shape)

    def _box(self, bounds: Box) -> Slices | None:
        """The voxels that hold a box of the body frame; None if it is out of sight."""
        corners = np.array(np.meshgrid(*np.transpose(bounds), indexing="ij")).reshape(3, -1).T
        world = (corners - self.pivot) * self.scale @ self.turn.T + self.pivot * self.scale
        index = (world - self.start) / self.spacing
        low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, self.hu.shape)
        return None if (low >= high).any() else tuple(map(slice, low, high))


def _scan(canvas: _Canvas, patient: Patient, rng: np.random.Generator) -> NDArray[np.int16]:
    """What the scanner makes of it: spongy texture, blur, correlated noise."""
    shape = canvas.hu.shape
    bone = canvas.labels > 0
    texture = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1.5)
    canvas.hu[bone] += 45 / texture.std() * texture[bone]
    blurred = ndimage.gaussian_filter(canvas.hu, (0.5, 0.5, 0.3))
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (0.6, 0.6, 0))
    blurred += np.float32(patient.noise / noise.std()) * noise
    return np.clip(np.rint(blurred), -1024, 3071).astype(np.int16)


# --- files ------------------------------------------------------------------------------


def write_case(sample: SampleCT, folder: Path) -> Path:
    """Write ``folder/ct.nii.gz`` and ``folder/segmentations/<name>.nii.gz``, all or nothing.

    Masks are uint8, 0 and 1, on the CT's grid.

    Raises:
        FileExistsError: ``folder`` is there already.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: remove it or choose another place")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made beside its place, so that the renaming stays on one file system.
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        draft.chmod(0o755)
        (draft / "segmentations").mkdir()
        _save(sample.ct, sample.affine, draft / "ct.nii.gz")
        for label, name in sample.names.items():
            mask = (sample.labels == label).astype(np.uint8)
            _save(mask, sample.affine, draft / "segmentations" / f"{name}.nii.gz")
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _save(voxels: NDArray, affine: NDArray[np.float64], path: Path) -> None:
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    nib.save(image, path)


def varied_grid(seed: int) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Another scanner protocol for each seed but 0: (shape, spacing) of about one field of view."""
    if seed == 0:
        return SHAPE, SPACING
    rng = np.random.default_rng([seed, 1])
    inplane = round(float(rng.uniform(1.4, 1.8)), 2)
    between = round(float(rng.uniform(2.5, 3.0)), 2)
    spacing = (inplane, inplane, between)
    field = np.array(SHAPE) * SPACING
    shape = tuple(int(n) for n in np.rint(field / spacing))
    return shape, spacing


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make sample CTs with masks.")
    parser.add_argument("out", type=Path, help="folder that receives phantom_NNNN/")
    parser.add_argument("--seed", type=int, default=0, help="seed of the (first) case")
    parser.add_argument("--cases", type=int, default=1, help="how many, with successive seeds")
    options = parser.parse_args(arguments)
    if options.seed < 0 or options.cases < 1:
        parser.error("--seed must not be negative and --cases at least 1")
    for seed in range(options.seed, options.seed + options.cases):
        folder = options.out / f"phantom_{seed:04d}"
        if folder.exists():
            print(f"{folder}: there already, kept")
            continue
        shape, spacing = varied_grid(seed)
        sample = make_sample_ct(seed, shape=shape, spacing=spacing)
        write_case(sample, folder)
        print(f"{folder}: {shape} voxels of {spacing} mm, {len(sample.names)} structures")
    return 0


if __name__ == "__main__":
    sys.exit(main())

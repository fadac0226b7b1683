"""The bones of thorax and pelvis as signed distances in the body frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.sample import shapes as sdf
from lib.sample.patient import Array, Bone, Box, Patient, Vector


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
        """Whether it bears the long transverse processes of the lumbar spine."""
        return self.name.startswith("vertebrae_L")


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

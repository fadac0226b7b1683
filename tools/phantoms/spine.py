"""Chains of vertebrae with their ribs: look-alike neighbours that touch and overlap.

Axes: x to the right, y to the front, z up. One vertebra is described in its own frame, the
middle of its body at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.sample import shapes
from tools.phantoms import tissues
from tools.phantoms.scene import Scene, Tissue


@dataclass(frozen=True)
class VertebraForm:
    """Sizes of one vertebra in mm; angles in degrees."""

    width: float  # half width of the body, x
    depth: float  # half depth of the body, y
    height: float  # half height of the body, z
    waist: float  # how far the body's sides are drawn in
    canal: float  # radius of the spinal canal
    arch: float  # half thickness of pedicles and lamina
    spinous: float  # length of the spinous process
    slope: float  # how steeply it points down
    transverse: float  # length of the transverse processes
    lift: float  # how far they point back (fraction) and up
    facet: float  # radius of the articular processes

    @staticmethod
    def random(rng: np.random.Generator) -> VertebraForm:
        """From neck to loin."""
        scale = rng.uniform(0.55, 1.25)
        return VertebraForm(
            width=scale * rng.uniform(17, 24),
            depth=scale * rng.uniform(12, 17),
            height=scale * rng.uniform(8, 15),
            waist=scale * rng.uniform(0, 3),
            canal=scale * rng.uniform(7, 11),
            arch=scale * rng.uniform(2.5, 5),
            spinous=scale * rng.uniform(15, 45),
            slope=rng.uniform(0, 60),
            transverse=scale * rng.uniform(8, 34),
            lift=rng.uniform(-0.2, 0.8),
            facet=scale * rng.uniform(3.5, 7),
        )

    def __call__(self, p: shapes.Points) -> shapes.Distance:
        """(...) signed distance at ``p`` (..., 3) in the vertebra's frame."""
        waist = self.waist * (1 - np.clip(np.abs(p[..., 2]) / self.height, 0, 1) ** 2)
        body = shapes.elliptic_cylinder(
            p, (0, 0, 0), (self.width, self.depth), self.height, min(3.0, self.height / 3)
        ) + waist.astype(p.dtype)
        middle = -(self.depth + self.canal * 0.9)  # y of the canal
        top = self.height * 0.35  # the arch sits on the upper half
        ring = shapes.cylinder(
            p, (0, middle, top), self.canal + 2 * self.arch, self.height * 0.75, 2
        )
        back = middle - self.canal - self.arch
        angle = np.deg2rad(self.slope)
        tip = (0, back - self.spinous * np.cos(angle), top - self.spinous * np.sin(angle))
        parts = shapes.smooth_union(
            ring, shapes.capsule(p, (0, back, top), tip, self.arch * 1.1, self.arch * 0.8), 3
        )
        q = p.copy()  # both sides at once
        q[..., 0] = np.abs(q[..., 0])
        root = (self.canal + self.arch, middle, top)
        end = (
            root[0] + self.transverse,
            middle - self.lift * self.transverse * 0.7,
            top + 0.15 * self.transverse,
        )
        parts = shapes.smooth_union(
            parts, shapes.capsule(q, root, end, self.arch, self.arch * 0.8), 3
        )
        side = self.canal + self.arch * 0.6
        upper = shapes.capsule(
            q,
            (side, back + 2, top),
            (side * 1.15, back + 4, self.height * 1.5),
            self.facet,
            self.facet * 0.7,
        )
        lower = shapes.capsule(
            q,
            (side, back, top),
            (side * 0.9, back - 1, -self.height * 1.5),
            self.facet,
            self.facet * 0.7,
        )
        parts = shapes.union(parts, upper, lower)
        pedicle = shapes.capsule(
            q, (side, -self.depth * 0.6, top * 1.2), (side, middle, top * 1.2), self.arch * 1.1
        )
        parts = np.minimum(parts, pedicle)
        whole = shapes.smooth_union(body, parts, 3)
        canal = shapes.capsule(p, (0, middle, -200), (0, middle, 200), self.canal)
        return shapes.subtract(whole, canal)

    def reach(self) -> float:
        """Radius in mm of a ball around the frame's origin that holds the vertebra."""
        return self.depth + 2 * self.canal + 2 * self.arch + max(self.spinous, self.transverse) + 8


def add_spine(scene: Scene, *, ribs: bool) -> None:
    """A chain through the whole volume, and beyond."""
    rng = scene.rng
    form = VertebraForm.random(rng)
    gap = rng.uniform(2, 7)
    pitch = 2 * form.height + gap
    label = 1
    x, y = rng.uniform(-0.15, 0.15, 2) * scene.size[:2] + (0, rng.uniform(-0.1, 0.2) * 60)
    tilt = rng.normal(0, 8, 2)
    turn = rng.normal(0, 8)
    z = -scene.size[2] / 2 - rng.uniform(0, 1) * pitch
    tissue = tissues.spongy_bone(rng)
    disc = Tissue(rng.uniform(50, 130), grain=10)
    while z < scene.size[2] / 2 + pitch and label < 200:
        frame = shapes.rotation(*tilt, turn)
        center = np.array([x, y, z])
        reach = form.reach()
        scene.add(
            lambda p, c=center, f=frame: form(shapes.to_local(p, c, f)),
            center - reach,
            center + reach,
            tissue,
            label=label,
            rough=rng.uniform(0.2, 0.9),
        )
        label += 1
        middle = center + frame @ np.array([0, 0, form.height + gap / 2])
        scene.add(
            lambda p, m=middle, f=frame: shapes.elliptic_cylinder(
                shapes.to_local(p, m, f),
                (0, 0, 0),
                (form.width + 1, form.depth + 1),
                gap / 2 + 1,
                1,
            ),
            middle - reach,
            middle + reach,
            disc,
        )
        if ribs:
            label = _add_rib_pair(scene, form, center, frame, label)
        step = frame @ np.array([0, 0, pitch])
        x, y, z = center + step
        tilt = tilt * 0.7 + rng.normal(0, 4, 2)
        turn = turn * 0.8 + rng.normal(0, 2)
        tissue = Tissue(tissue.core + rng.normal(0, 20), tissue.cortex, tissue.wall, tissue.grain)


def _add_rib_pair(
    scene: Scene, form: VertebraForm, center: np.ndarray, frame: np.ndarray, label: int
) -> int:
    rng = scene.rng
    tissue = tissues.thin_bone(rng)
    spread = rng.uniform(45, 120)
    depth = spread * rng.uniform(0.6, 1.0)
    drop = rng.uniform(0.1, 0.9)
    thick, wide = rng.uniform(5, 9), rng.uniform(9, 15)
    share = rng.uniform(0.3, 1.0)  # floating ribs end early
    for sign in (-1, 1):
        angles = np.linspace(-0.45, -0.45 + share * 2.7, 9)
        across = sign * (spread * np.sin(angles + 0.45) * 1.0 + form.width * 0.7)
        along = depth * (np.cos(0.45) - np.cos(angles)) - form.canal - form.depth * 0.4
        path = np.column_stack([across, along, -drop * np.abs(across) * (0.3 + 0.7 * share)])
        path = center + path @ frame.T
        scene.add(
            lambda p, way=path: shapes.band(p, way, thick, wide, (0, 0.2, 1)),
            path.min(0) - wide,
            path.max(0) + wide,
            tissue,
            label=label,
            rough=rng.uniform(0, 0.3),
        )
        label += 1
    return label

"""Everything that is no bone: skin, fat, muscle, organs, gas, cartilage, the table."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lib.sample import shapes as sdf
from lib.sample.bones import Vertebra, rib_path
from lib.sample.canvas import Canvas
from lib.sample.patient import Array, Patient


def paint_soft_tissue(
    canvas: Canvas, patient: Patient, spine: list[Vertebra], rng: np.random.Generator
) -> None:
    """Fills what lies around the bones, from the skin inwards; the bones are painted over it."""
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

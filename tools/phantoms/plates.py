"""Flat, curved bones: hips, shoulder blades, skulls, breast bones."""

from __future__ import annotations

import numpy as np

from lib.sample import shapes
from tools.phantoms import tissues
from tools.phantoms.scene import Scene


def add_plate(scene: Scene, label: int) -> None:
    """A piece of a curved shell with a thick rim, a knob, a socket and a hole, at random."""
    rng = scene.rng
    center = rng.uniform(-0.3, 0.3, 3) * scene.size
    frame = shapes.rotation(*rng.uniform(-180, 180, 3))
    reach = rng.uniform(18, 75)
    curve = reach * rng.uniform(1.0, 3.0)
    thick = rng.uniform(3, 12)
    outline = reach * rng.uniform(0.5, 1.0, 3)
    twist = rng.normal(0, 0.015)
    knob_at = rng.normal(size=2)
    knob_at = knob_at / np.linalg.norm(knob_at) * outline[:2] * 0.8
    knob = rng.uniform(0.5, 2.4) * thick
    socket = rng.random() < 0.5
    hole = rng.random() < 0.3
    ridge = rng.random() < 0.4

    def solid(points: shapes.Points) -> shapes.Distance:
        p = shapes.to_local(points, center, frame)
        p[..., 2] += (twist * p[..., 0] * p[..., 1]).astype(p.dtype)
        sheet = np.abs(shapes.ball(p, (0, 0, -curve), curve)) - thick / 2
        edge = shapes.ellipsoid(p, (0, 0, 0), (outline[0], outline[1], reach))
        out = shapes.intersection(sheet, edge)
        sag = curve - np.sqrt(max(curve**2 - float(knob_at @ knob_at), 0))
        at = (*knob_at, -sag)
        out = shapes.smooth_union(out, shapes.ball(p, at, knob), thick)
        if socket:
            cup = shapes.ball(p, (*knob_at * 1.2, -sag + knob), knob)
            out = shapes.smooth_subtract(out, cup, 2)
        if ridge:
            out = shapes.smooth_union(
                out, shapes.capsule(p, (*(-knob_at), -sag), at, thick * 0.6), thick
            )
        if hole:
            out = shapes.smooth_subtract(out, shapes.ball(p, (0, 0, 0), reach * 0.25), 2)
        return out

    scene.add(
        solid,
        center - reach * 1.6,
        center + reach * 1.6,
        tissues.spongy_bone(rng) if rng.random() < 0.6 else tissues.thin_bone(rng),
        label=label,
        rough=rng.uniform(0, 0.7),
    )


def add_skull(scene: Scene, label: int) -> None:
    """A closed shell with brain inside and openings, larger or smaller than the volume."""
    rng = scene.rng
    radii = scene.size * rng.uniform(0.3, 0.6, 3)
    center = rng.uniform(-0.15, 0.15, 3) * scene.size
    thick = rng.uniform(3, 10)
    holes = [(center + rng.normal(size=3) * radii * 0.7, rng.uniform(5, 25)) for _ in range(4)]

    def solid(points: shapes.Points) -> shapes.Distance:
        out = shapes.shell(shapes.ellipsoid(points, center, radii), thick)
        for at, radius in holes:
            out = shapes.smooth_subtract(out, shapes.ball(points, at, radius), 3)
        return out

    scene.add(
        lambda p: shapes.ellipsoid(p, center, radii - thick),
        center - radii,
        center + radii,
        tissues.soft(rng),
    )
    scene.add(solid, center - radii, center + radii, tissues.thin_bone(rng), label=label, rough=0.5)


def add_plates(scene: Scene) -> int:
    """One to six plates, touching or not; returns the next free label."""
    label = 1
    for _ in range(int(scene.rng.integers(1, 7))):
        add_plate(scene, label)
        label += 1
    return label

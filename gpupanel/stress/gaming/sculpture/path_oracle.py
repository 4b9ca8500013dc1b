"""The paths of ``gaming.pathtrace`` by NumPy in float64, for some pixels.

Every ray is tried against every instance; the random numbers are the kernel's, bit for bit.
Worker process only.
"""

from __future__ import annotations

import numpy as np  # noqa: TID253 - worker process only
from numpy.typing import NDArray  # noqa: TID253 - worker process only

from gpupanel.stress.gaming import shapes
from gpupanel.stress.gaming.sculpture import oracle
from gpupanel.stress.gaming.sculpture.drawing import Size
from gpupanel.stress.gaming.sculpture.oracle import Floats, Integers, Sculpted

Seeds = NDArray[np.uint32]

_SUN_SPREAD = 0.025
_OFF = 0.004
_WHITE = shapes.colour(1.0, 1.0, 1.0)


def mixed(x: Seeds) -> Seeds:
    """C. Wellons' lowbias32."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def chance(seeds: Seeds, number: int) -> Floats:
    """Random number ``number`` of each path, from 0 to below 1."""
    step = np.uint32(number * 0x9E3779B9 & 0xFFFFFFFF)
    return (mixed(seeds + step) >> np.uint32(8)).astype(np.float64) / 16777216.0


class PathOracle:
    """One shot, ready to be asked for paths through pixels."""

    def __init__(self, scene: Sculpted, size: Size) -> None:
        """Take the scene of the shot."""
        self._scene, self._size = scene, size

    def light(self, columns: Integers, rows: Integers, path: int, bounces: int) -> Floats:
        """What path number ``path`` of each pixel brings, ``(3, N)``."""
        width, height, camera = self._size.width, self._size.height, self._scene.header
        pixels = (rows * width + columns).astype(np.uint32)
        seeds = mixed(mixed(np.array([path], np.uint32)) + pixels)
        u = (2.0 * (columns + chance(seeds, 0)) - width) / height
        v = (height - 2.0 * (rows + chance(seeds, 1))) / height
        way = camera[12:15, None] + camera[4:7, None] * u + camera[8:11, None] * v
        start = np.broadcast_to(self._scene.eye, way.shape).copy()
        follow = _Followed(self._scene, start, shapes.unit(way), seeds)
        for bounce in range(bounces + 1):
            if not follow.live.size:
                break
            follow.bounce(2 + 5 * bounce)
        return follow.light


class _Followed:
    """Paths on their way; ``live`` are the columns that still go on."""

    def __init__(self, scene: Sculpted, start: Floats, way: Floats, seeds: Seeds) -> None:
        self._scene, self._start, self._way, self._seeds = scene, start, way, seeds
        self._through = np.ones_like(way)
        self.light = np.zeros_like(way)
        self.live = np.arange(way.shape[1])

    def bounce(self, number: int) -> None:
        """What every path meets next; ``number`` is that of its next random number."""
        far, what = self._scene.nearest(self._start[:, self.live], self._way[:, self.live])
        outside = self.live[what == oracle.SKY]
        sky = self._scene.sky(self._way[:, outside])
        self.light[:, outside] += self._through[:, outside] * sky
        self.live, far, what = (each[what != oracle.SKY] for each in (self.live, far, what))
        p = self._start[:, self.live] + self._way[:, self.live] * far
        surface = self._scene.surfaces(p, what)
        lamp = surface.roughness == 0.0
        shine = surface.albedo[:, lamp] * oracle.LAMP_LIGHT
        self.light[:, self.live[lamp]] += self._through[:, self.live[lamp]] * shine
        self.live = self.live[~lamp]
        self._go_on(
            p[:, ~lamp], surface.normal[:, ~lamp], surface.albedo[:, ~lamp],
            surface.roughness[~lamp], number,
        )  # fmt: skip

    def _go_on(
        self, p: Floats, normal: Floats, albedo: Floats, roughness: Floats, number: int
    ) -> None:
        live = self.live
        way, draw = self._way[:, live], [chance(self._seeds[live], number + k) for k in range(5)]
        c5 = (1.0 - shapes.sat(-shapes.dot(way, normal))) ** 5
        metal = roughness < 0.0
        mirrors = metal | (draw[0] < 0.04 + 0.96 * c5)
        tint = np.where(metal, shapes.blend(albedo, _WHITE, c5), 1.0)
        self._through[:, live] *= np.where(mirrors, tint, albedo)
        self._start[:, live] = p + normal * _OFF
        self._add_sun(live[~mirrors], normal[:, ~mirrors], [part[~mirrors] for part in draw[3:]])
        ball = _on_ball(draw[1], draw[2])
        back = way - normal * (2.0 * shapes.dot(way, normal)) + ball * roughness**2
        back = back - normal * (2.0 * np.minimum(shapes.dot(back, normal), 0.0))
        self._way[:, live] = shapes.unit(np.where(mirrors, back, normal + ball * 0.999))

    def _add_sun(self, live: Integers, normal: Floats, draw: list[Floats]) -> None:
        """What reaches surfaces that spread light straight from the sun."""
        sunward = shapes.unit(oracle.SUN + _on_ball(*draw) * _SUN_SPREAD)
        cosine = np.maximum(shapes.dot(normal, sunward), 0.0)
        blocked = self._scene.nearest_instance(self._start[:, live], sunward) < oracle.FAR
        sun = self._through[:, live] * oracle.SUN_LIGHT * cosine
        self.light[:, live] += np.where(blocked, 0.0, sun)


def _on_ball(a: Floats, b: Floats) -> Floats:
    z, turn = 1.0 - 2.0 * a, 2.0 * np.pi * b
    flat = np.sqrt(np.maximum(1.0 - z * z, 0.0))
    return np.stack([flat * np.cos(turn), z, flat * np.sin(turn)])

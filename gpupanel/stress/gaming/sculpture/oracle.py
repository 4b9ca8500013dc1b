"""The sculpture by NumPy in float64: what ``kernels/gaming_scene.cl`` must agree with.

No tiles and no clusters here: every ray is tried against every instance. Points, directions and
colours are ``(3, N)``, one column per ray. Worker process only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np  # noqa: TID253 - worker process only
from numpy.typing import NDArray  # noqa: TID253 - worker process only

from gpupanel.stress.gaming import shapes
from gpupanel.stress.gaming.sculpture.scene import HEADER, INSTANCE

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

FAR = 1.0e6
SKY, POOL = -2, -1
SUN = shapes.colour(0.60036, 0.42025, -0.68041)
SUN_LIGHT = shapes.colour(4.6, 3.1, 1.9)
LAMP_LIGHT = 6.5
_BEVEL = 0.07


@dataclass(frozen=True, slots=True)
class Surface:
    """See ``Surface`` of the kernel file."""

    normal: Floats
    albedo: Floats
    roughness: Floats


class Sculpted:
    """One frame's scene, ready to be asked along rays."""

    def __init__(self, tick: NDArray[np.float32], texture: Bytes, ripples: Bytes) -> None:
        """Take one frame's tick and ripples, and the texture, all as ``scene`` makes them."""
        self.header = tick[:HEADER].astype(np.float64)
        self.eye, self.time = self.header[0:3, None], self.header[3]
        instances = tick[HEADER:].astype(np.float64).reshape(-1, INSTANCE)
        self.centres, self.radii = instances[:, :3], instances[:, 3]
        self.axes = instances[:, 4:16].reshape(-1, 3, 4)[:, :, :3]
        self.halves = instances[:, [7, 11, 15]]
        self.went = self.centres - instances[:, 16:19]
        self.shifts, self.is_ball = np.abs(instances[:, 19]), instances[:, 19] < 0.0
        self.colours, self.roughness = instances[:, 20:23], instances[:, 23]
        self.texture, self.ripples = texture, ripples

    # ---- where things are ------------------------------------------------------------------

    def nearest(self, start: Floats, way: Floats) -> tuple[Floats, Integers]:
        """Distance along each ray, FAR for none, and which instance, else SKY or POOL."""
        down = way[1] < -1e-4
        best = np.where(down, -start[1] / np.minimum(way[1], -1e-4), FAR)
        what = np.where(best < FAR, POOL, SKY)
        number, ray, distance = self._meetings(start, way)
        order = np.argsort(distance)[::-1]  # the nearest is written last
        number, ray, distance = number[order], ray[order], distance[order]
        first = np.full(best.size, FAR)
        first[ray] = distance
        which = np.full(best.size, SKY)
        which[ray] = number
        return np.minimum(best, first), np.where(first < best, which, what)

    def nearest_instance(self, start: Floats, way: Floats) -> Floats:
        """Distance along each ray, as if there was no pool."""
        _, ray, distance = self._meetings(start, way)
        best = np.full(start.shape[1], FAR)
        np.minimum.at(best, ray, distance)
        return best

    def _meetings(self, start: Floats, way: Floats) -> tuple[Integers, Integers, Floats]:
        """Instance, ray and distance, wherever a ray meets an instance."""
        squares = (self.centres**2).sum(axis=1)[:, None]
        squared = squares - 2.0 * self.centres @ start + shapes.dot(start, start)
        along = self.centres @ way - shapes.dot(start, way)
        past = squared - along * along
        number, ray = np.nonzero((past < self.radii[:, None] ** 2) & (along > -self.radii[:, None]))
        ball = self.is_ball[number]
        distance = np.empty(number.size)
        inside = self.radii[number] ** 2 - past[number, ray]
        distance[ball] = (along[number, ray] - np.sqrt(inside))[ball]
        box = ~ball
        distance[box] = self._boxes(number[box], start[:, ray[box]], way[:, ray[box]])
        hit = (distance > 0.0) & (distance < FAR)
        return number[hit], ray[hit], distance[hit]

    def _boxes(self, number: Integers, start: Floats, way: Floats) -> Floats:
        """Where rays enter boxes, pair by pair; FAR where they do not."""
        axes = self.axes[number]
        middle = np.einsum("nij,nj->ni", axes, self.centres[number] - start.T)
        speed = np.einsum("nij,nj->ni", axes, way.T)
        speed = np.where(np.abs(speed) < 1e-9, 1e-9, speed)
        half_way = np.abs(self.halves[number] / speed)
        near = (middle / speed - half_way).max(axis=1)
        far = (middle / speed + half_way).min(axis=1)
        entered: Floats = np.where(near < far, near, FAR)
        return entered

    # ---- what they are made of -------------------------------------------------------------

    def surfaces(self, p: Floats, what: Integers) -> Surface:
        """The surfaces at points on them."""
        surface = Surface(
            np.zeros_like(p) + shapes.colour(0.0, 1.0, 0.0), np.zeros_like(p), np.ones(p.shape[1])
        )
        for here, paint in ((what == POOL, self._pool), (what >= 0, self._instances)):
            which = np.flatnonzero(here)
            if which.size:
                part = paint(p[:, which], what[which])
                surface.normal[:, which], surface.albedo[:, which] = part.normal, part.albedo
                surface.roughness[which] = part.roughness
        return surface

    def _instances(self, p: Floats, what: Integers) -> Surface:
        axes = self.axes[what]
        q = np.einsum("nij,nj->in", axes, p.T - self.centres[what])
        inner = (self.halves[what] - _BEVEL).T
        out = np.where(self.is_ball[what], q, q - np.clip(q, -np.abs(inner), np.abs(inner)))
        out = shapes.unit(out)
        x, y, z = np.abs(out)
        level = (y >= x) & (y >= z)
        side = (x >= z) & ~level
        shift = self.shifts[what]
        u, v = np.where(side, q[2], q[0]), np.where(level, q[2], q[1])
        texel = bilinear(self.texture, u * 0.23 + 7.0 * shift, v * 0.23 + 3.0 * shift)
        rough = self.roughness[what]
        grain = np.where(rough == 0.0, 1.0, 0.72 + 0.26 * texel[1] + 0.22 * texel[0])
        polish = rough * np.where(rough < 0.0, 0.70 + 0.60 * texel[3], 0.75 + 0.5 * texel[1])
        return Surface(np.einsum("nij,in->jn", axes, out), self.colours[what].T * grain, polish)

    def _pool(self, p: Floats, _: Integers) -> Surface:
        x, z = p[0], p[2]
        wide = bilinear(self.ripples, x * 0.041, z * 0.041)
        fine = bilinear(self.ripples, x * 0.117 + 0.37, z * 0.117 + 0.11)
        calm = 0.42 / (1.0 + 0.0011 * (x * x + z * z))
        slope = (wide[:2] + 0.5 * fine[:2] - 0.75) * calm
        normal = shapes.unit(np.stack([slope[0], np.ones_like(x), slope[1]]))
        albedo = np.zeros_like(p) + shapes.colour(0.012, 0.030, 0.040)
        return Surface(normal, albedo, np.full(x.size, 0.16))

    # ---- the sky ---------------------------------------------------------------------------

    def sky(self, way: Floats) -> Floats:
        """What comes from where nothing is, with clouds and the sun."""
        reach = 1.0 / (np.maximum(way[1], 0.0) + 0.14)
        x, z = way[0] * reach, way[2] * reach
        high = bilinear(self.texture, x * 0.037 + 0.0012 * self.time, z * 0.037)[2]
        wisp = bilinear(self.texture, x * 0.119, z * 0.119 + 0.0009 * self.time)[2]
        cloud = shapes.smooth(0.46, 0.86, 0.74 * high + 0.26 * wisp)
        cloud *= shapes.smooth(0.02, 0.22, way[1])
        s = np.maximum(shapes.dot(way, SUN), 0.0)
        lining = 0.12 + 0.30 * s**2 + 0.50 * s**8
        lit = shapes.blend(shapes.colour(0.34, 0.30, 0.40), shapes.colour(2.1, 1.10, 0.62), lining)
        disc = shapes.colour(26.0, 17.0, 9.0) * shapes.smooth(0.99955, 0.99975, s)
        return shapes.blend(air(way), lit, 0.75 * cloud) + disc


def air(way: Floats) -> Floats:
    """The sky without clouds and sun."""
    low = 1.0 - np.maximum(way[1], 0.0)
    s = np.maximum(shapes.dot(way, SUN), 0.0)
    toward = 0.5 + 0.5 * shapes.dot(way, SUN)
    horizon = shapes.blend(
        shapes.colour(0.30, 0.30, 0.44), shapes.colour(1.30, 0.66, 0.36), toward**2
    )
    share = 0.15 * low**2 + 0.85 * low**8
    colour = shapes.blend(shapes.colour(0.035, 0.080, 0.200), horizon, share)
    colour = colour + shapes.colour(1.0, 0.46, 0.18) * (0.22 * s**8 + 0.7 * s**32)
    return shapes.blend(colour, shapes.colour(0.10, 0.09, 0.10), shapes.sat(-5.0 * way[1]))


def bilinear(texture: Bytes, u: Floats, v: Floats) -> Floats:
    """A repeating square texture between its texels: ``(4, N)``, 0 to 1."""
    edge = len(texture)
    u, v = u * edge, v * edge
    left, top = np.floor(u), np.floor(v)
    fu, fv = u - left, v - top
    x, y = left.astype(np.int64) % edge, top.astype(np.int64) % edge
    x1, y1 = (x + 1) % edge, (y + 1) % edge
    upper = texture[y, x].T * (1.0 - fu) + texture[y, x1].T * fu
    lower = texture[y1, x].T * (1.0 - fu) + texture[y1, x1].T * fu
    mixed: Floats = (upper * (1.0 - fv) + lower * fv) / 255.0
    return mixed

"""Every pass of ``gaming.frame`` by NumPy in float64, for some pixels.

Each pass is computed from what the device's pass before it left, so that rounding does not add
up and every pass must agree closely. The first, raster and shadow, are computed from the scene
alone: edges are where they may disagree. Worker process only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.gaming import shapes
from gpupanel.stress.gaming.sculpture import oracle
from gpupanel.stress.gaming.sculpture.drawing import FAR, Size
from gpupanel.stress.gaming.sculpture.oracle import Floats, Integers, Sculpted
from gpupanel.stress.gaming.sculpture.post_oracle import Rows, Words, between
from gpupanel.stress.gaming.sculpture.scene import FIELD_OF_VIEW, LAMPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAP_HALF, MAP_FAR = 25.0, 40.0
_MAP_X = shapes.colour(-0.74984, 0.0, -0.66162)
_MAP_Y = shapes.colour(-0.27804, 0.90741, 0.31512)
_OCCLUDER = 1.5
_WHITE = shapes.colour(1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Seen:
    """The G-buffer of some pixels, unpacked.

    Attributes:
        depth: Along the view; FAR for the sky.
        levels: Red, green and blue of the surface, then its finish, 0 to 255.
        motion: Pixels right and down.
    """

    depth: Floats
    normal: Floats
    levels: Floats
    motion: Floats

    @classmethod
    def unpack(cls, words: Words) -> Seen:
        """From ``(4, N)`` as the kernel file draws it."""
        octahedron, motion = _halves(words[1]) / 32767.0, _halves(words[3]) / 256.0
        levels = words[2].astype(np.int64) >> np.array([0, 8, 16, 24])[:, None] & 255
        depth = words[0].view(np.float32).astype(np.float64)
        return cls(depth, _from_octahedron(octahedron), levels.astype(np.float64), motion)


def _halves(words: Words) -> Floats:
    """Lower and upper half as signed numbers, ``(2, N)``."""
    return np.stack([words & 0xFFFF, words >> 16]).astype(np.uint16).view(np.int16).astype(float)


def _from_octahedron(uv: Floats) -> Floats:
    y = 1.0 - np.abs(uv).sum(axis=0)
    under = np.maximum(-y, 0.0) * np.where(uv < 0.0, -1.0, 1.0)
    return shapes.unit(np.stack([uv[0] - under[0], y, uv[1] - under[1]]))


class FrameOracle:
    """One frame, ready to be asked for pixels of each pass."""

    def __init__(self, scene: Sculpted, size: Size) -> None:
        """Take the scene at that frame."""
        self._scene, self._size = scene, size
        self._camera = scene.header

    # ---- from the scene alone --------------------------------------------------------------

    def view_rays(self, columns: Floats | Integers, rows: Floats | Integers) -> Floats:
        """From the eye through pixels; their part along the view is 1."""
        width, height, camera = self._size.width, self._size.height, self._camera
        x = (2.0 * (columns + camera[7]) + 1.0 - width) / height
        y = (height - 1.0 - 2.0 * (rows + camera[11])) / height
        rays: Floats = camera[12:15, None] + camera[4:7, None] * x + camera[8:11, None] * y
        return rays

    def raster(self, columns: Floats | Integers, rows: Floats | Integers) -> Seen:
        """The G-buffer, by brute force; pixels may be fractions."""
        way = shapes.unit(self.view_rays(columns, rows))
        start = np.broadcast_to(self._scene.eye, way.shape)
        far, what = self._scene.nearest(start, way)
        p = start + way * far
        surface = self._scene.surfaces(p, what)
        depth = np.where(what == oracle.SKY, FAR, far * shapes.dot(way, self._camera[12:15, None]))
        rough = np.maximum(np.floor(shapes.sat(np.abs(surface.roughness)) * 127.0 + 0.5), 1.0)
        finish = np.where(surface.roughness < 0.0, rough + 128.0, rough)
        finish = np.where(surface.roughness == 0.0, 0.0, finish)
        levels = np.vstack([shapes.sat(surface.albedo) * 255.0, finish])
        went = np.where(what >= 0, self._scene.went[np.maximum(what, 0)].T, 0.0)
        motion = self._on_screen(p, 0) - self._on_screen(p - went, 16)
        return Seen(depth, surface.normal, levels, np.clip(motion, -127.0, 127.0))

    def shadow(self, columns: Floats | Integers, rows: Floats | Integers) -> Floats:
        """The sun's map, by brute force."""
        texel = 2.0 * MAP_HALF / self._size.map_edge
        u, v = (columns + 0.5) * texel - MAP_HALF, (rows + 0.5) * texel - MAP_HALF
        start = oracle.SUN * MAP_FAR + _MAP_X * u + _MAP_Y * v
        return self._scene.nearest_instance(start, np.broadcast_to(-oracle.SUN, start.shape))

    def _on_screen(self, p: Floats, camera: int) -> Floats:
        eye, right, up, forward = (
            self._camera[camera + at : camera + at + 3, None] for at in (0, 4, 8, 12)
        )
        focal = 0.5 * self._size.height / FIELD_OF_VIEW**2 / shapes.dot(p - eye, forward)
        return np.stack([shapes.dot(p - eye, right), -shapes.dot(p - eye, up)]) * focal

    # ---- from the pass before --------------------------------------------------------------

    def occlude(
        self, columns: Integers, rows: Integers, seen: Rows, taps: NDArray[np.int32], frame: int
    ) -> Floats:
        """Share of the sky that pixels are open to."""
        here = Seen.unpack(seen.at(columns, rows))
        p = self.view_rays(columns, rows) * here.depth
        taken = np.zeros(columns.size)
        for right, down in taps[rows % 4 + 4 * (frame % 8)].transpose(1, 2, 0):
            x, y = columns + right, np.clip(rows + down, 0, self._size.height - 1)
            to = self.view_rays(x, y) * seen.depth(x, y) - p
            squared = shapes.dot(to, to)
            near = np.maximum(1.0 - squared / _OCCLUDER**2, 0.0)
            above = np.maximum(shapes.dot(to, here.normal) - 0.0015 * here.depth, 0.0)
            taken += near * above / np.sqrt(squared + 1e-4)
        share = shapes.sat(1.0 - taken * 1.7 / taps.shape[1])
        return np.where(here.depth < FAR, share**2, 1.0)

    def shade(
        self, columns: Integers, rows: Integers, seen: Rows, open_share: Rows, sun_map: Floats
    ) -> Floats:
        """Linear light of pixels, ``(3, N)``."""
        here = Seen.unpack(seen.at(columns, rows))
        ray = self.view_rays(columns, rows)
        way, z = shapes.unit(ray), np.minimum(here.depth, 3000.0)
        p = self._scene.eye + ray * z
        finish, albedo = here.levels[3], here.levels[:3] / 255.0
        metal = finish > 127
        roughness = finish % 128 / 127.0
        lit = _Lit(
            here.normal, -way, np.where(metal, 0.0, albedo), np.where(metal, albedo, 0.04),
            np.maximum(roughness**2, 0.04), np.maximum(shapes.dot(here.normal, -way), 0.02),
        )  # fmt: skip
        sky_share = self._openness(columns, rows, seen, open_share, here.depth)
        sun = self._sunlit(p + here.normal * 0.05, sun_map)
        light = lit.bounced(oracle.SUN, lit.alpha) * oracle.SUN_LIGHT * (sun * np.pi)
        light = light + self._from_lamps(lit, p) + lit.from_sky(roughness, sky_share)
        light = np.where(finish == 0, albedo * oracle.LAMP_LIGHT, light)
        fog = 1.0 - 1.0 / (1.0 + (z * 0.011) ** 3)
        level = shapes.unit(np.stack([way[0], np.maximum(way[1], 0.0), way[2]]))
        light = shapes.blend(light, oracle.air(level), fog)
        return np.where(here.depth < FAR, light, self._scene.sky(way))

    def _openness(
        self, columns: Integers, rows: Integers, seen: Rows, open_share: Rows, depth: Floats
    ) -> Floats:
        total = weights = np.zeros(columns.size)
        for down in range(-1, 3):
            y = np.clip(rows + down, 0, self._size.height - 1)
            apart = np.abs(seen.depth(columns, y) - depth) / depth
            weight = 1.0 / (1.0 + 400.0 * apart)
            total = total + weight * open_share.depth(columns, y)
            weights = weights + weight
        return total / weights

    def _sunlit(self, p: Floats, sun_map: Floats) -> Floats:
        edge = len(sun_map)
        u, v = (
            (shapes.dot(p, axis) + MAP_HALF) * 0.5 / MAP_HALF * edge - 0.5
            for axis in (_MAP_X, _MAP_Y)
        )
        depth = MAP_FAR - shapes.dot(p, oracle.SUN)
        left, top = np.floor(u), np.floor(v)
        lit = np.zeros(u.size)
        for y, down in zip(range(-1, 3), _box_weights(v - top), strict=True):
            for x, across in zip(range(-1, 3), _box_weights(u - left), strict=True):
                row, column = (
                    np.clip(start.astype(np.int64) + off, 0, edge - 1)
                    for start, off in ((top, y), (left, x))
                )
                lit += down * across * shapes.sat((sun_map[row, column] - depth) * 6.0 + 1.3)
        return lit / 9.0

    def _from_lamps(self, lit: _Lit, p: Floats) -> Floats:
        total = np.zeros_like(p)
        for centre, radius, colour in zip(
            self._scene.centres[:LAMPS], self._scene.radii, self._scene.colours, strict=False
        ):
            to = centre[:, None] - p
            squared = shapes.dot(to, to)
            away = np.sqrt(squared)
            strength = np.pi * oracle.LAMP_LIGHT * radius**2 / (squared + radius**2)
            strength = strength / (1.0 + 0.004 * squared**2)
            sent = lit.bounced(to / away, shapes.sat(lit.alpha + 0.5 * radius / away))
            total += sent * colour[:, None] * strength
        return total

    def resolve(
        self, columns: Integers, rows: Integers, seen: Rows, light: Rows, before: Rows
    ) -> Floats:
        """The history after this frame, ``(3, N)``."""
        width, height = self._size.width, self._size.height
        beside = [np.clip(columns + x, 0, width - 1) for x in (-1, 0, 1)]
        below = [np.clip(rows + y, 0, height - 1) for y in (-1, 0, 1)]
        near = np.stack([_tamed(light.floats(x, y)) for y in below for x in beside])
        tent = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]).ravel()
        smooth = np.tensordot(tent, near, axes=1)
        if self._camera[15] == 0.0:
            return _untamed(smooth)
        motion = Seen.unpack(seen.at(columns, rows)).motion
        x, y = columns - motion[0], rows - motion[1]
        known = (x >= 0.0) & (x <= width - 1.0) & (y >= 0.0) & (y <= height - 1.0)
        old = np.clip(
            _tamed(between(before, x, y, (width, height))), near.min(axis=0), near.max(axis=0)
        )
        return _untamed(np.where(known, old + 0.10 * (near[4] - old), smooth))


@dataclass(frozen=True, slots=True)
class _Lit:
    """See ``Material`` of the kernel file."""

    normal: Floats
    to_eye: Floats
    colour: Floats
    straight: Floats
    alpha: Floats
    facing: Floats

    def bounced(self, way: Floats, alpha: Floats) -> Floats:
        """What a light from ``way`` sends to the eye, per its strength."""
        cosine = np.maximum(shapes.dot(self.normal, way), 0.0)
        half_way = shapes.unit(way + self.to_eye)
        nh = np.maximum(shapes.dot(self.normal, half_way), 0.0)
        vh = np.maximum(shapes.dot(self.to_eye, half_way), 0.0)
        slope = nh**2 * (alpha**2 - 1.0) + 1.0
        k = 0.5 * alpha
        masked = 4.0 * (cosine * (1.0 - k) + k) * (self.facing * (1.0 - k) + k)
        peak = alpha**2 / (np.pi * slope**2 * masked)
        mirrored = shapes.blend(self.straight, _WHITE, (1.0 - vh) ** 5) * peak
        return (self.colour / np.pi + mirrored) * cosine

    def from_sky(self, roughness: Floats, open_share: Floats) -> Floats:
        """From the sky, diffuse and mirrored."""
        above = shapes.blend(
            shapes.colour(0.16, 0.13, 0.13), shapes.colour(0.34, 0.38, 0.54),
            0.5 + 0.5 * self.normal[1],
        ) * open_share  # fmt: skip
        back = self.normal * (2.0 * shapes.dot(self.normal, self.to_eye)) - self.to_eye
        mirrored = shapes.blend(oracle.air(back), above, shapes.sat(roughness * 1.2 - 0.1))
        r = 1.0 - roughness
        a004 = np.minimum(r * r, np.exp2(-9.28 * self.facing)) * r + 0.0425 - 0.0275 * roughness
        share = self.straight * (-1.04 * a004 + 1.04 - 0.572 * roughness)
        share = share + (1.04 * a004 + 0.022 * roughness - 0.04)
        return self.colour * above + share * mirrored * (0.25 + 0.75 * open_share)


def _box_weights(share: Floats) -> tuple[Floats, ...]:
    one = np.ones_like(share)
    return 1.0 - share, one, one, share


def _tamed(light: Floats) -> Floats:
    return light / (1.0 + _luma(light))


def _untamed(light: Floats) -> Floats:
    return light / (1.0 - _luma(light))


def _luma(light: Floats) -> Floats:
    strength: Floats = 0.25 * light[0] + 0.65 * light[1] + 0.10 * light[2]
    return strength

"""The same picture as ``kernels/gaming_raymarch.cl``, by NumPy in float64, for some pixels.

The oracle of ``gaming.raymarch``: nothing here comes from a device. Points and colours are
``(3, N)``; one column per ray. Worker process only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np  # noqa: TID253 - worker process only
from numpy.typing import NDArray  # noqa: TID253 - worker process only

from gpupanel.stress.gaming import shapes
from gpupanel.stress.gaming.scene import BODIES, HEADER, TEXELS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

_FAR = 1.0e6
_SKY, _WATER, _BUILT, _OBJECT = 0, 1, 2, 3


_SUN = shapes.colour(-0.5692, 0.2357, -0.7877)
_SUN_LIGHT = shapes.colour(4.3, 2.45, 1.15)
_GROUND_LIGHT = shapes.colour(0.24, 0.17, 0.15)
_SKY_LIGHT = shapes.colour(0.36, 0.42, 0.62)
_WHITE = shapes.colour(1.0, 1.0, 1.0)


@dataclass(slots=True)
class _Surface:
    """See ``Surface`` of the kernel file."""

    normal: Floats
    albedo: Floats
    mirror: Floats
    emission: Floats
    gloss: Floats


class Scene:
    """One frame's scene, ready to be asked for pixels."""

    def __init__(self, tick: NDArray[np.float32], texture: NDArray[np.uint8]) -> None:
        """Take one frame's tick and the texture, both as ``gaming.scene`` makes them."""
        header = tick[:HEADER].astype(np.float64)
        objects = tick[HEADER:].astype(np.float64).reshape(-1, 8)
        self.eye, self.time = header[0:3, None], header[3]
        self.right, self.up = header[4:7, None], header[8:11, None]
        self.forward = header[12:15, None]
        self.axes = header[16:28].reshape(3, 4)[:, :3]
        self.centres, self.radii = objects[:, :3], objects[:, 3]
        self.colours, self.emissions = objects[:, 4:7], objects[:, 7]
        self.texture = texture

    def light(self, columns: Integers, rows: Integers, width: int, height: int) -> Floats:
        """Linear light of pixels, ``(3, N)``."""
        across = (2.0 * columns + 1.0 - width) / height
        above = (height - 1.0 - 2.0 * rows) / height
        ways = shapes.unit(self.forward + self.right * across + self.up * above)
        start = np.broadcast_to(self.eye, ways.shape)
        seen, surface, back = self._see(start, ways, 96, 40)
        again = np.flatnonzero(surface.max(axis=0) > 0.012)
        if again.size:
            mirrored, _, _ = self._see(back[0][:, again], back[1][:, again], 64, 24)
            seen[:, again] += surface[:, again] * mirrored
        return seen

    def _see(
        self, start: Floats, way: Floats, steps: int, shadow_steps: int
    ) -> tuple[Floats, Floats, tuple[Floats, Floats]]:
        """Light along rays without mirror images; what a mirror image would be worth; its ray."""
        far, what = self._trace(start, way, steps)
        at = start + way * np.minimum(far, 2000.0)
        surface = self._surfaces(at, way, far, what)
        lamps, glow = self._lanterns(start, way, far, at, surface.normal)
        met = what > _SKY
        here = self._lit(at, way, surface, lamps, what >= _BUILT, shadow_steps)
        thick = far * 0.0085
        fog = np.where(met, 1.0 - 1.0 / (1.0 + thick * thick), 0.0)
        beyond = _haze(way)
        open_air = np.flatnonzero(~met)
        if open_air.size:
            beyond[:, open_air] = self._sky(way[:, open_air])
        seen = np.where(met, shapes.blend(here, beyond, fog), beyond) + glow
        back = way - surface.normal * (2.0 * shapes.dot(surface.normal, way))
        back[1] = np.where(what == _WATER, np.maximum(back[1], 0.004), back[1])
        worth = np.where(met, surface.mirror * (1.0 - fog), 0.0)
        length = np.maximum(shapes.dot(back, back), 1e-20)
        return seen, worth, (at + surface.normal * 0.015, back / np.sqrt(length))

    # ---- what stands where ---------------------------------------------------------------

    def _trace(self, start: Floats, way: Floats, steps: int) -> tuple[Floats, Integers]:
        """Distance and surface of the nearest thing along each ray."""
        down = way[1] < -1e-4
        best = np.where(down, -start[1] / np.minimum(way[1], -1e-4), _FAR)
        what = np.where(best < _FAR, _WATER, _SKY)
        b, past = self._pass_by(start, way, slice(None))
        disc = self.radii[:, None] ** 2 - past
        ahead = np.where(disc > 0.0, b - np.sqrt(np.maximum(disc, 0.0)), -1.0)
        ahead = np.where(ahead > 0.0, ahead, _FAR)
        first = ahead.argmin(axis=0)
        nearest = ahead[first, np.arange(first.size)]
        what = np.where(nearest < best, _OBJECT + first, what)
        best = np.minimum(nearest, best)
        t, far = shapes.clip(start, way)
        far = np.minimum(far, best)
        live = np.flatnonzero(t < far)
        for _ in range(steps):
            if not live.size:
                break
            free = shapes.distance(start[:, live] + way[:, live] * t[live], self.axes)
            hit = free < 0.0006 * t[live] + 0.0004
            best[live[hit]] = t[live[hit]]
            what[live[hit]] = _BUILT
            t[live] += free
            live = live[~hit & (t[live] < far[live])]
        return best, what

    def _pass_by(self, start: Floats, way: Floats, which: slice) -> tuple[Floats, Floats]:
        """For objects by rays: how far along the nearest approach, and its distance squared."""
        centres = self.centres[which]
        b = centres @ way - shapes.dot(start, way)
        squared = (
            (centres**2).sum(axis=1)[:, None] - 2.0 * centres @ start + shapes.dot(start, start)
        )
        return b, squared - b * b

    # ---- surfaces ------------------------------------------------------------------------

    def _surfaces(self, p: Floats, way: Floats, far: Floats, what: Integers) -> _Surface:
        none = np.zeros_like(p)
        up = none + shapes.colour(0.0, 1.0, 0.0)
        surface = _Surface(up, none.copy(), none.copy(), none.copy(), np.zeros(p.shape[1]))
        for kind, paint in (
            (what == _WATER, self._water), (what == _BUILT, self._built),
            (what >= _OBJECT, self._object),
        ):  # fmt: skip
            here = np.flatnonzero(kind)
            if here.size:
                part = paint(p[:, here], way[:, here], far[here], what[here] - _OBJECT)
                surface.normal[:, here], surface.albedo[:, here] = part.normal, part.albedo
                surface.mirror[:, here], surface.emission[:, here] = part.mirror, part.emission
                surface.gloss[here] = part.gloss
        return surface

    def _water(self, p: Floats, way: Floats, far: Floats, _: Integers) -> _Surface:
        x, z, time = p[0], p[2], self.time
        wide = self._sample(x * 0.031 + 0.006 * time, z * 0.031 - 0.004 * time)
        fine = self._sample(x * 0.097 - 0.009 * time, z * 0.097 + 0.011 * time)
        calm = 0.34 / (1.0 + 0.045 * far)
        slope = (wide[2:] + 0.6 * fine[2:] - 0.8) * calm
        normal = shapes.unit(np.stack([slope[0], np.ones_like(x), slope[1]]))
        mirror = _fresnel(normal, way, 0.03) * shapes.colour(0.92, 0.97, 1.0)
        none = np.zeros_like(p)
        return _Surface(
            normal, none + shapes.colour(0.01, 0.03, 0.036), mirror, none, np.zeros_like(x)
        )

    def _built(self, p: Floats, way: Floats, _far: Floats, _: Integers) -> _Surface:
        x, y, z = p
        normal = shapes.normal(p, self.axes)
        level = np.abs(normal[1]) > 0.7
        across = np.abs(normal[0]) > np.abs(normal[2])
        u, v = np.where(level | ~across, x, z), np.where(level, z, y)
        grain = self._sample(u * 0.17, v * 0.17 + 0.013 * x)[1]
        r2 = x * x + z * z
        tile, grout = shapes.tiles(x, z)
        tile = tile * (0.6 + 0.65 * grain) * (0.35 + 0.65 * grout)
        paved = (normal[1] > 0.9) & (y < 1.0) & (r2 < 7.1**2)
        brass = ((r2 + (y - 4.0) ** 2 < 3.45**2) & (y > 1.8)) | (y > 5.55)
        metal = brass | ((r2 > 100.0) & (y > 2.62))
        albedo = np.where(paved, tile, shapes.colour(0.58, 0.50, 0.42) * (0.72 + 0.40 * grain))
        albedo = np.where(metal, shapes.colour(0.42, 0.235, 0.075), albedo)
        f = _fresnel(normal, way, 0.04)
        gold = shapes.blend(shapes.colour(0.68, 0.43, 0.17), _WHITE, f)
        mirror = np.where(metal, gold, np.where(paved, f * grout * 0.9, 0.0))
        gloss = np.where(metal, 1.6, np.where(paved, 0.5, 0.12))
        return _Surface(normal, albedo, mirror, np.zeros_like(p), gloss)

    def _object(self, p: Floats, way: Floats, _far: Floats, which: Integers) -> _Surface:
        normal = (p - self.centres[which].T) / self.radii[which]
        colour, emission = self.colours[which].T, self.emissions[which]
        planet = emission == 0.0
        f = _fresnel(normal, way, 0.06)
        facing = shapes.sat(-shapes.dot(normal, way))
        fire = emission * (0.30 + 0.75 * facing * facing) * (1.0 - 0.55 * normal[1])
        mirror = np.where(planet, shapes.blend(colour * 0.75, _WHITE, f), 0.0)
        gloss = np.where(planet, 1.2, 0.0)
        return _Surface(normal, colour * np.where(planet, 0.45, 0.15), mirror, colour * fire, gloss)

    def _sample(self, u: Floats, v: Floats) -> Floats:
        """Bilinear, repeating: ``(4, N)``."""
        u, v = u * TEXELS, v * TEXELS
        left, top = np.floor(u), np.floor(v)
        fu, fv = u - left, v - top
        x, y = left.astype(np.int64) % TEXELS, top.astype(np.int64) % TEXELS
        x1, y1 = (x + 1) % TEXELS, (y + 1) % TEXELS
        upper = self.texture[y, x].T * (1.0 - fu) + self.texture[y, x1].T * fu
        lower = self.texture[y1, x].T * (1.0 - fu) + self.texture[y1, x1].T * fu
        mixed: Floats = (upper * (1.0 - fv) + lower * fv) / 255.0
        return mixed

    # ---- light ---------------------------------------------------------------------------

    def _sky(self, way: Floats) -> Floats:
        up = np.maximum(way[1], 0.0)
        low4 = (1.0 - up) ** 4
        haze = _haze(way)
        colour = shapes.blend(
            shapes.colour(0.060, 0.115, 0.26), haze, low4 * low4 * 0.75 + 0.25 * low4
        )
        s = np.maximum(shapes.dot(way, _SUN), 0.0)
        colour = colour + shapes.colour(1.0, 0.42, 0.14) * (0.35 * s**8 + 0.7 * s**64)
        disc = s**1536 + shapes.smooth(0.99930, 0.99965, s)
        colour = colour + shapes.colour(9.0, 6.0, 3.2) * disc
        reach = 1.0 / (up + 0.12)
        x, z = way[0] * reach, way[2] * reach
        high = self._sample(x * 0.043 + 0.0011 * self.time, z * 0.043)[0]
        wisp = self._sample(x * 0.131 - 0.0007 * self.time, z * 0.131 + 0.37)[0]
        cloud = shapes.smooth(0.50, 0.88, high * 0.72 + wisp * 0.28) * shapes.smooth(
            0.02, 0.20, way[1]
        )
        lining = 0.10 + 0.9 * s**8 * 0.6 + 0.3 * s
        lit = shapes.blend(shapes.colour(0.34, 0.25, 0.33), shapes.colour(2.3, 1.05, 0.50), lining)
        return self._mountains(way, haze, shapes.blend(colour, lit, cloud * 0.80))

    def _mountains(self, way: Floats, haze: Floats, colour: Floats) -> Floats:
        flat = 1.0 / np.sqrt(way[0] ** 2 + way[2] ** 2 + 1e-6)
        x, slope, z = way * flat
        for near in (0.0, 1.0):
            size = 0.19 + 0.17 * near
            ridge = self._sample(x * size + 0.31 * near, z * size + 0.13)
            crest = (0.23 - 0.12 * near) * ridge[0] ** 2 + 0.022 - 0.008 * near + 0.012 * ridge[1]
            mist = shapes.sat(0.62 - 0.30 * near - 1.1 * slope)
            hill = shapes.blend(shapes.colour(0.050, 0.070, 0.115), haze, mist)
            colour = shapes.blend(colour, hill, shapes.smooth(0.0, 0.004, crest - slope))
        return colour

    def _shadow(self, p: Floats, steps: int) -> Floats:
        """Share of the sun that reaches each point."""
        sun = np.broadcast_to(_SUN, p.shape)
        b, past = self._pass_by(p, sun, slice(BODIES))
        radii = self.radii[:BODIES, None]
        soft = shapes.sat((past - radii**2) / (0.10 * radii * np.maximum(b, 0.05)))
        lit: Floats = np.where(b > 0.0, soft, 1.0).min(axis=0)
        t, far = shapes.clip(p, sun)
        t = np.maximum(t, 0.03)
        live = np.flatnonzero((t < far) & (lit > 0.004))
        for _ in range(steps):
            if not live.size:
                break
            free = shapes.distance(p[:, live] + _SUN * t[live], self.axes)
            lit[live] = np.minimum(lit[live], 14.0 * free / t[live])
            t[live] += np.clip(free, 0.02, 1.5)
            live = live[(lit[live] > 0.004) & (t[live] < far[live])]
        return shapes.smooth(0.0, 1.0, lit)

    def _occlusion(self, p: Floats, normal: Floats) -> Floats:
        out = 0.13 * np.arange(1, 5)
        around = (p[:, None, :] + normal[:, None, :] * out[:, None]).reshape(3, -1)
        closed = np.maximum(out[:, None] - shapes.distance(around, self.axes).reshape(4, -1), 0.0)
        weights: Floats = np.array([1.0, 0.72, 0.72**2, 0.72**3])
        return shapes.sat(1.0 - 1.35 * (weights @ closed))

    def _lanterns(
        self, start: Floats, way: Floats, far: Floats, p: Floats, normal: Floats
    ) -> tuple[Floats, Floats]:
        """Their light on each point, and the glow along each ray."""
        size, power = self.radii[:, None], self.emissions[:, None]
        squared = (self.centres**2).sum(axis=1)[:, None] - 2.0 * self.centres @ p + shapes.dot(p, p)
        facing = self.centres @ normal - shapes.dot(p, normal) + 0.25 * size
        fall = 1.0 / (squared + 0.4 * size + 0.15)
        on = self.colours.T @ (power * size * 2.4 * np.maximum(facing, 0.0) * fall * fall)
        b, past = self._pass_by(start, way, slice(None))
        halo = size**2 / (np.maximum(past, 0.0) + 0.35 * size**2)
        halo = np.where((b > 0.0) & (b < far + size), halo * halo, 0.0)
        return on, self.colours.T @ (power * 0.030 * halo)

    def _lit(
        self, p: Floats, way: Floats, surface: _Surface, lamps: Floats, solid: Bools, steps: int
    ) -> Floats:
        """What leaves surfaces toward the eye without their mirror images."""
        normal = surface.normal
        off = p + normal * 0.012
        facing = np.maximum(shapes.dot(normal, _SUN), 0.0)
        sun, open_share = np.zeros_like(facing), np.ones_like(facing)
        bright, some = np.flatnonzero(solid & (facing > 0.0)), np.flatnonzero(solid)
        sun[bright] = self._shadow(off[:, bright], steps)
        open_share[some] = self._occlusion(off[:, some], normal[:, some])
        from_sky = shapes.blend(_GROUND_LIGHT, _SKY_LIGHT, 0.5 + 0.5 * normal[1])
        light = _SUN_LIGHT * (sun * facing) + (from_sky + lamps) * open_share
        half_way = shapes.unit(_SUN - way)
        shine = np.maximum(shapes.dot(normal, half_way), 0.0) ** 64
        highlight = _SUN_LIGHT * (surface.gloss * shine * sun)
        leaving: Floats = surface.albedo * light + surface.emission + highlight
        return leaving


def post(taps: Floats, columns: Integers, rows: Integers, width: int, height: int) -> Integers:
    """What the screen shows, ``(3, N)`` of 0 to 255.

    ``taps`` is the linear light of each pixel and its neighbours, ``(9, 3, N)``, row by row, so
    that number 4 is the pixel; outside the picture a neighbour is the pixel at the border.
    """
    colour = film(taps)
    l = np.sqrt(0.25 * colour[:, 0] + 0.65 * colour[:, 1] + 0.10 * colour[:, 2])  # noqa: E741
    gx = l[2] + 2.0 * l[5] + l[8] - l[0] - 2.0 * l[3] - l[6]
    gy = l[6] + 2.0 * l[7] + l[8] - l[0] - 2.0 * l[1] - l[2]
    steep = np.maximum(np.abs(gx), np.abs(gy)) + 1e-6
    ux, uy = -gy / steep, gx / steep
    along = np.zeros_like(colour[4])
    for number in range(9):
        x, y = number % 3 - 1, number // 3 - 1
        weight = shapes.hat(ux - x) * shapes.hat(uy - y) + shapes.hat(ux + x) * shapes.hat(uy + y)
        along += colour[number] * weight
    seen = shapes.blend(colour[4], 0.5 * along, 0.6 * shapes.smooth(0.12, 0.60, steep))
    grain = (((columns * 73 + rows * 151) * 2654 >> 8) & 255) / 256.0
    shown = developed(seen, columns, rows, width, height) + grain
    levels: Integers = np.clip(shown, 0.0, 255.0).astype(np.int64)
    return levels


def film(light: Floats) -> Floats:
    """K. Narkowicz's fit of the ACES film curve: 0 to 1."""
    return shapes.sat(light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14))


def developed(colour: Floats, columns: Integers, rows: Integers, width: int, height: int) -> Floats:
    """Vignette and gamma on what the film holds: 0 to 255, in the shape of ``colour``."""
    x, y = (columns + 0.5) * 2.0 / width - 1.0, (rows + 0.5) * 2.0 / height - 1.0
    r2 = x * x + y * y
    levels: Floats = (colour * (1.0 - 0.20 * r2 * (0.5 + 0.25 * r2))) ** (1.0 / 2.2) * 255.0
    return levels


def _haze(way: Floats) -> Floats:
    toward = shapes.sat(0.5 + 0.5 * shapes.dot(way, _SUN))
    return shapes.blend(shapes.colour(0.30, 0.31, 0.42), shapes.colour(1.25, 0.62, 0.30), toward**3)


def _fresnel(normal: Floats, way: Floats, straight: float) -> Floats:
    c = 1.0 - shapes.sat(-shapes.dot(normal, way))
    share: Floats = straight + (1.0 - straight) * c**5
    return share

"""What the host gives the sculpture: its textures once, all that moves in every frame.

A disc of pillars stands in a pool at dusk; waves go through it, balls and lamps circle above.
Everything is a function of the seed and the frame number, so a frame can be made again.
Worker process only.
"""

from __future__ import annotations

import numpy as np  # noqa: TID253 - worker process only
from numpy.typing import NDArray  # noqa: TID253 - worker process only

from gpupanel.stress.gaming.scene import FRAMES_PER_S, noise

INSTANCES = 2048
LAMPS = 24
PILLARS = 1600
HEADER, INSTANCE = 32, 24
FIELD_OF_VIEW = 0.52
JITTERS = 8
RIPPLE_FRAMES = 32
"""The water's movement is baked, and repeats after as many frames."""

HISTORY_FRAMES = 64
"""Every so many frames, anti-aliasing starts without a history: a frame is a function of its
number, and is made again from the last such frame."""

Floats = NDArray[np.float64]

_BALLS = INSTANCES - PILLARS - LAMPS
_HALF = np.array([0.43, 1.9, 0.43])
_IVORY, _SLATE, _TEAL = [0.66, 0.61, 0.54], [0.075, 0.105, 0.16], [0.02, 0.26, 0.29]
_COPPER, _GOLD, _STEEL = [0.93, 0.52, 0.36], [1.0, 0.76, 0.38], [0.72, 0.74, 0.78]
_SOURCES = np.array([[0.0, 0.0], [13.0, -9.0], [-12.0, 11.0]])
_WAVES = np.array([[0.62, 0.55, 1.5], [0.42, 0.45, 1.1], [0.34, 0.72, 1.9]])
"""Height, radians per unit of length, radians per second."""


def texture(seed: int) -> NDArray[np.uint8]:
    """Four repeating noises, ``(512, 512, 4)``: veins, grain, clouds, scratches."""
    rng = np.random.default_rng([seed, 11])
    veins = 1.0 - np.minimum(3.0 * np.abs(noise(rng, 1.9, 2)), 1.0)
    grain = 0.5 + 0.20 * noise(rng, 0.9, 20)
    clouds = 0.5 + 0.2 * noise(rng, 1.9, 2)
    fine = noise(rng, 0.6, 8)
    scratches = np.mean([np.roll(fine, shift, axis=1) for shift in range(-6, 7)], axis=0)
    layers = (veins, grain, clouds, 0.5 + 0.25 * scratches / scratches.std())
    return np.clip(np.rint(np.stack(layers, axis=-1) * 255.0), 0, 255).astype(np.uint8)


def ripples(seed: int, edge: int) -> NDArray[np.uint8]:
    """Slopes of the water in x and in z, ``(RIPPLE_FRAMES, edge, edge, 4)``, in a loop of waves.

    A sum of waves that each fit the edge and turn a whole number of times per loop repeats in
    space and time.
    """
    rng = np.random.default_rng([seed, 12])
    z = np.fft.fftfreq(edge)[:, None] * edge
    x = np.fft.rfftfreq(edge)[None, :] * edge
    wave = np.hypot(x, z)
    strength = np.where((wave >= 3.0) & (wave < 60.0), np.maximum(wave, 1.0) ** -2.6, 0.0)
    start = strength * np.exp(2j * np.pi * rng.random(wave.shape))
    turns = np.rint(np.sqrt(wave) * 0.5)
    baked = np.full((RIPPLE_FRAMES, edge, edge, 4), 255, np.uint8)
    scale = 0.0
    for number in range(RIPPLE_FRAMES):
        height = start * np.exp(2j * np.pi * turns * number / RIPPLE_FRAMES)
        slopes = [np.fft.irfft2(1j * part * height, s=(edge, edge)) for part in (x, z)]
        scale = scale or 0.16 / max(slope.std() for slope in slopes)
        for part, slope in enumerate(slopes):
            levels = np.rint((0.5 + scale * slope) * 255.0)
            baked[number, ..., part] = np.clip(levels, 0, 255)
    return baked


class Sculpture:
    """The moving scene of one seed."""

    def __init__(self, seed: int) -> None:
        """Choose what stays the same: places, sizes, colours, finishes."""
        rng = np.random.default_rng([seed, 13])
        side = np.arange(-24, 25)
        grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
        near = np.argsort((grid**2).sum(axis=1), kind="stable")[:PILLARS]
        self._places = grid[near].astype(np.float64)
        self._pillar_waves = _Waves(self._places)
        self._around = rng.random(_BALLS + LAMPS) * 2.0 * np.pi
        self._out = 3.0 + 19.0 * rng.random(_BALLS + LAMPS)
        self._above = rng.random(_BALLS + LAMPS)
        self._still = np.zeros((INSTANCES, INSTANCE))
        self._still[:, [4, 9, 14]] = 1.0
        self._still[:, 19] = 0.05 + 0.9 * rng.random(INSTANCES)
        self._still[: INSTANCES - PILLARS, 19] *= -1.0
        self._paint_round(rng)
        self._paint_pillars(rng)

    def tick(self, frame: int) -> NDArray[np.float32]:
        """Camera and every instance at a frame, as ``kernels/gaming_scene.cl`` draws it."""
        time = frame / FRAMES_PER_S
        instances = self._still.copy()
        pillars = instances[-PILLARS:]
        pillars[:, [0, 2]] = self._places
        pillars[:, 1] = self._pillar_waves.heights(time)
        pillars[:, 4:15] = _tilted(self._pillar_waves.slopes(time))
        pillars[:, [7, 11, 15]] = _HALF
        instances[:-PILLARS, :3] = self._circling(time)
        before = (frame - 1) / FRAMES_PER_S
        instances[-PILLARS:, [16, 18]] = self._places
        instances[-PILLARS:, 17] = self._pillar_waves.heights(before)
        instances[:-PILLARS, 16:19] = self._circling(before)
        header = _camera(frame)
        return np.concatenate([header, instances.ravel()]).astype(np.float32)

    def _paint_round(self, rng: np.random.Generator) -> None:
        """Lamps, then balls; the first ball is the large one in the middle."""
        lamps, balls = self._still[:LAMPS], self._still[LAMPS:-PILLARS]
        lamps[:, 3] = 0.22 + 0.16 * rng.random(LAMPS)
        warm = (np.arange(LAMPS) % 4 != 0)[:, None]
        lamps[:, 20:23] = np.where(warm, [1.0, 0.44, 0.11], [0.16, 0.62, 1.0])
        balls[:, 3] = 0.10 + 0.42 * rng.random(_BALLS) ** 3
        palette = np.array([_GOLD, _STEEL, _COPPER, _IVORY, _TEAL])
        finish = np.array([-0.16, -0.10, -0.24, 0.30, 0.22])
        choice = rng.integers(0, len(palette), _BALLS)
        balls[:, 20:23], balls[:, 23] = palette[choice], finish[choice]
        balls[0, 3], balls[0, 20:23], balls[0, 23] = 2.3, _GOLD, -0.22
        self._out[LAMPS], self._above[LAMPS] = 0.0, 0.55

    def _paint_pillars(self, rng: np.random.Generator) -> None:
        pillars = self._still[-PILLARS:]
        pillars[:, 3] = np.linalg.norm(_HALF)
        pillars[:, 20:23], pillars[:, 23] = _SLATE, 0.34
        lot = rng.random(PILLARS)
        far = np.hypot(*self._places.T)
        for colour, finish, chosen in (
            (_IVORY, 0.42, lot < 0.34 - 0.012 * far),
            (_TEAL, 0.22, (lot > 0.84) & (lot < 0.92)),
            (_COPPER, -0.30, lot >= 0.92),
        ):
            pillars[chosen, 20:23], pillars[chosen, 23] = colour, finish

    def _circling(self, time: float) -> Floats:
        """Where lamps and balls are: each on its circle, some way above the waves."""
        angle = self._around + time * 1.5 / (3.0 + self._out)
        centres = np.stack(
            [self._out * np.cos(angle), np.zeros_like(angle), self._out * np.sin(angle)], axis=-1
        )
        heights = _Waves(centres[:, [0, 2]]).heights(time)
        lift = 2.2 + 9.0 * self._above**2 * (1.0 - self._out / 30.0)
        lift[:LAMPS] = 2.5 + 0.9 * self._above[:LAMPS]
        centres[:, 1] = heights + lift + 0.25 * np.sin(1.1 * time + 6.0 * self._above)
        return centres


class _Waves:
    """The height of the waves at places ``(N, 2)`` that do not move."""

    def __init__(self, places: Floats) -> None:
        from_source = places - _SOURCES[:, None, :]
        far = np.sqrt((from_source**2).sum(axis=-1)) + 1e-6
        self._height, per_length, self._per_s = (column[:, None] for column in _WAVES.T)
        self._phase = per_length * far
        self._steepest = (self._height * per_length / far)[..., None] * from_source

    def heights(self, time: float) -> Floats:
        height: Floats = (self._height * np.sin(self._phase - self._per_s * time)).sum(axis=0)
        return height

    def slopes(self, time: float) -> Floats:
        cosine = np.cos(self._phase - self._per_s * time)
        slope: Floats = (self._steepest * cosine[..., None]).sum(axis=0)
        return slope


def _tilted(slopes: Floats) -> Floats:
    """Three axes at a distance of four columns, the second leaning against the slope."""
    lean = -0.22 * slopes
    up = np.stack([lean[:, 0], np.ones(len(lean)), lean[:, 1]], axis=-1)
    up /= np.linalg.norm(up, axis=1)[:, None]
    side = np.stack([up[:, 1], -up[:, 0], np.zeros(len(up))], axis=-1)
    side /= np.linalg.norm(side, axis=1)[:, None]
    columns = np.zeros((len(up), 11))
    columns[:, 0:3], columns[:, 4:7], columns[:, 8:11] = side, up, np.cross(side, up)
    return columns


def _camera(frame: int) -> Floats:
    header = np.zeros(HEADER)
    for at, moment in ((0, frame), (16, frame - 1)):
        time = moment / FRAMES_PER_S
        turn = 0.35 + 0.8 * np.sin(0.06 * time)
        eye = np.array([24.0 * np.cos(turn), 8.6 + 1.6 * np.sin(0.13 * time), 24.0 * np.sin(turn)])
        forward = np.array([0.0, 3.0, 0.0]) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        header[at : at + 3] = eye
        header[at + 4 : at + 7] = right * FIELD_OF_VIEW
        header[at + 8 : at + 11] = np.cross(right, forward) * FIELD_OF_VIEW
        header[at + 12 : at + 15] = forward
    header[3] = frame / FRAMES_PER_S
    header[7], header[11] = _halton(frame % JITTERS, 2) - 0.5, _halton(frame % JITTERS, 3) - 0.5
    header[15] = float(frame % HISTORY_FRAMES != 0)
    return header


def _halton(index: int, base: int) -> float:
    """J. H. Halton's sequence: places between 0 and 1 that stay far from each other."""
    result, share, index = 0.0, 1.0, index + 1
    while index:
        share /= base
        result += share * (index % base)
        index //= base
    return result


def occlusion_taps(height: int, count: int) -> NDArray[np.int32]:
    """Where ambient occlusion looks: ``(32, count, 2)`` of columns right and rows down.

    One set per row modulo 4 and frame modulo 8; each a spiral, turned a little from the last.
    """
    turns = np.arange(32)[:, None] * 0.61803399
    number = np.arange(count)[None, :]
    angle = 2.0 * np.pi * (turns + number * 0.38196601)
    reach = height / 16.0 * ((number + 0.5 + 0.5 * (turns % 1.0)) / count) ** 0.8
    taps = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=-1)
    return np.rint(taps).astype(np.int32)

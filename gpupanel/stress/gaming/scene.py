"""What the host gives the scene of ``gaming.raymarch``: its texture once, its tick every frame.

Everything is a function of the seed and the frame number, so a frame can be made again.
Worker process only.
"""

from __future__ import annotations

import numpy as np  # noqa: TID253 - worker process only
from numpy.typing import NDArray  # noqa: TID253 - worker process only

FRAMES_PER_S = 60
"""Scene time per frame, whatever the device manages."""

BODIES = 16
OBJECTS = 64
TEXELS = 512
HEADER = 32
FIELD_OF_VIEW = 0.56

Floats = NDArray[np.float64]

_CENTRE = np.array([0.0, 4.0, 0.0])
_RING_RADII = np.array([3.30, 2.60, 1.90])
_BODY_SIZES = np.array([0.26, 0.21, 0.17])
_BODY_COLOURS = np.array(
    [
        [0.85, 0.55, 0.25], [0.35, 0.55, 0.85], [0.80, 0.80, 0.78],
        [0.75, 0.25, 0.20], [0.30, 0.70, 0.55],
    ]
)  # fmt: skip


def texture(seed: int) -> NDArray[np.uint8]:
    """Four repeating noises, ``(TEXELS, TEXELS, 4)``: clouds, stone, ripple slope in x and in z."""
    rng = np.random.default_rng([seed, 1])
    clouds = 0.5 + 0.2 * noise(rng, 1.9, 2)
    veins = 1.0 - np.abs(noise(rng, 1.7, 3))
    stone = 0.5 + 0.28 * (0.6 * veins + 0.5 * noise(rng, 1.2, 12))
    ripple = noise(rng, 2.3, 5)
    slope_x = np.roll(ripple, -1, 1) - np.roll(ripple, 1, 1)
    slope_z = np.roll(ripple, -1, 0) - np.roll(ripple, 1, 0)
    steepness = 0.16 / max(slope_x.std(), slope_z.std())
    layers = (clouds, stone, 0.5 + steepness * slope_x, 0.5 + steepness * slope_z)
    return np.clip(np.rint(np.stack(layers, axis=-1) * 255.0), 0, 255).astype(np.uint8)


def noise(rng: np.random.Generator, slope: float, lowest: float) -> Floats:
    """Noise whose spectrum falls as a power; it repeats because it is a sum of whole waves."""
    wave = np.hypot(
        np.fft.fftfreq(TEXELS)[:, None] * TEXELS, np.fft.rfftfreq(TEXELS)[None, :] * TEXELS
    )
    amplitude = np.where(wave >= lowest, np.maximum(wave, 1.0) ** -slope, 0.0)
    field = np.fft.irfft2(amplitude * np.exp(2j * np.pi * rng.random(wave.shape)), s=(TEXELS,) * 2)
    normed: Floats = field / field.std()
    return normed


def tick(frame: int, seed: int) -> NDArray[np.float32]:
    """Camera and every object at a frame: the flat array that the kernel file draws as ``tick``."""
    time = frame / FRAMES_PER_S
    axes = np.stack(
        [_axis(0.35, 0.21 * time), _axis(0.9, 2.1 - 0.34 * time), _axis(1.4, 4.0 + 0.55 * time)]
    )
    header = _camera(time)
    for ring, axis in enumerate(axes):
        header[16 + 4 * ring : 19 + 4 * ring] = axis
    objects = np.concatenate([_bodies(time, axes), _lanterns(time, seed)])
    return np.concatenate([header, objects.ravel()]).astype(np.float32)


def _camera(time: float) -> Floats:
    turn = 0.60 + 0.045 * time
    height = 3.6 + 1.2 * np.sin(0.11 * time)
    eye = np.array([18.5 * np.cos(turn), height, 18.5 * np.sin(turn)])
    forward = _unit(np.array([0.0, 4.4, 0.0]) - eye)
    right = _unit(np.cross(forward, [0.0, 1.0, 0.0]))
    header = np.zeros(HEADER)
    header[0:3] = eye
    header[3] = time
    header[4:7] = right * FIELD_OF_VIEW
    header[8:11] = np.cross(right, forward) * FIELD_OF_VIEW
    header[12:15] = forward
    return header


def _bodies(time: float, axes: Floats) -> Floats:
    """The glowing core and the planets, five to a ring."""
    place, ring = np.divmod(np.arange(BODIES - 1), 3)
    first = np.cross(axes, [0.3, 0.2, 0.9])
    first /= np.linalg.norm(first, axis=1)[:, None]
    second = np.cross(axes, first)
    phase = (2.0 * np.pi * place / 5 + (0.5 + 0.2 * ring) * time)[:, None]
    way = np.cos(phase) * first[ring] + np.sin(phase) * second[ring]
    bodies = np.zeros((BODIES, 8))
    bodies[0] = [*_CENTRE, 0.66, 1.0, 0.55, 0.20, 4.0]
    bodies[1:, :3] = _CENTRE + _RING_RADII[ring][:, None] * way
    bodies[1:, 3] = _BODY_SIZES[ring] * (1.0 + 0.25 * (np.arange(1, BODIES) * 7 % 3))
    bodies[1:, 4:7] = _BODY_COLOURS[np.arange(1, BODIES) * 2 % 5]
    return bodies


def _lanterns(time: float, seed: int) -> Floats:
    """Half of them drift on the lake, half rise and are lit and put out on the way."""
    rng = np.random.default_rng([seed, 2])
    count = OBJECTS - BODIES
    angle, far, pace = rng.random((3, count))
    angle = 2.0 * np.pi * angle + 0.03 * time * (1.0 - 0.5 * pace)
    far = np.where(far < 0.4, 9.5 + 14.0 * far, 22.0 + 14.0 * far)
    rising = np.arange(count) % 2 == 1
    climb = (14.0 * pace + 0.35 * time * (0.6 + 0.4 * pace)) % 16.0
    lanterns = np.zeros((count, 8))
    lanterns[:, 0] = far * np.cos(angle)
    lanterns[:, 1] = np.where(rising, 2.0 + climb, 0.16 + 0.03 * np.sin(1.3 * time + 9.0 * pace))
    lanterns[:, 2] = far * np.sin(angle)
    lanterns[:, 3] = np.where(rising, 0.26, 0.20)
    lanterns[:, 4] = 1.0
    lanterns[:, 5] = 0.36 + 0.12 * pace
    lanterns[:, 6] = 0.07 + 0.08 * pace
    burning = np.where(rising, np.minimum(climb, 16.0 - climb), 1.0)
    lanterns[:, 7] = 2.0 * np.clip(burning, 0.0, 1.0) + 0.001
    return lanterns


def _axis(tilt: float, turn: float) -> Floats:
    return np.array([np.sin(tilt) * np.cos(turn), np.cos(tilt), np.sin(tilt) * np.sin(turn)])


def _unit(vector: Floats) -> Floats:
    unit: Floats = vector / np.linalg.norm(vector)
    return unit

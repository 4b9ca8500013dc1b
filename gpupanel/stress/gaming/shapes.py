"""Vectors and solids of the scene in NumPy: the geometry half of ``gaming.reference``.

Points and colours are ``(3, N)``, one column per ray. Worker process only.
"""

from __future__ import annotations

from functools import reduce

import numpy as np  # noqa: TID253 - worker process only
from numpy.typing import NDArray  # noqa: TID253 - worker process only

Floats = NDArray[np.float64]

_CORNERS = np.array([[-1, -1, 1], [1, -1, -1], [-1, 1, -1], [1, 1, 1]], dtype=float).T


def colour(*parts: float) -> Floats:
    """One colour or point, for all columns."""
    return np.array(parts)[:, None]


def dot(a: Floats, b: Floats) -> Floats:
    """Dot product of each column."""
    product: Floats = (a * b).sum(axis=0)
    return product


def unit(a: Floats) -> Floats:
    """Columns of length 1."""
    unit: Floats = a / np.sqrt(dot(a, a))
    return unit


def blend(a: Floats, b: Floats, share: Floats) -> Floats:
    """From ``a`` at share 0 to ``b`` at share 1."""
    return a + (b - a) * share


def sat(x: Floats) -> Floats:
    """Limited to 0 to 1."""
    limited: Floats = np.clip(x, 0.0, 1.0)
    return limited


def hat(x: Floats) -> Floats:
    """1 at 0, falling to 0 at 1 and -1."""
    height: Floats = np.maximum(1.0 - np.abs(x), 0.0)
    return height


def smooth(low: float, high: float, x: Floats) -> Floats:
    """0 below ``low``, 1 above ``high``, smooth between."""
    s = sat((x - low) / (high - low))
    return s * s * (3.0 - 2.0 * s)


def distance(p: Floats, axes: Floats) -> Floats:
    """Distance to everything that stands."""
    x, y, z = p
    r = np.hypot(x, z)
    fold_x, fold_z = _fold(x, z)
    steps = np.minimum(np.maximum(r - 8.3, y - 0.3), np.maximum(r - 7.7, y - 0.6))
    steps = np.minimum(steps, np.maximum(r - 7.1, y - 0.9))
    from_beam = np.abs(r - 6.0)
    beam = np.maximum(from_beam - 0.44, np.abs(y - 5.17) - 0.15)
    cornice = np.maximum(from_beam - 0.52, np.abs(y - 5.40) - 0.085)
    plinth = np.maximum(r - 0.75 + 0.35 * sat(y - 1.1), y - 1.75)
    side = np.maximum(np.abs(fold_x - 12.5), fold_z)
    needle = np.maximum(side - 0.36 + 0.055 * y, 0.55 * (y - 3.1) + 0.83 * (side - 0.08))
    base = np.maximum(side - 0.60, y - 0.25)
    nearest = reduce(np.minimum, [steps, beam, cornice, plinth, 0.97 * needle, base])
    nearest = np.minimum(nearest, _column(y, fold_x, fold_z))
    under = 5.45 - y
    high = np.flatnonzero(y > 4.3)
    under[high] = _dome(y[high] - 5.45, r[high], fold_z[high])
    near = np.hypot(r, y - 4.0) - 3.5
    inside = np.flatnonzero(near < 1.0)
    near[inside] = _rings(p[:, inside], axes)
    all_of_it: Floats = np.minimum(nearest, np.minimum(under, near))
    return all_of_it


def _rings(p: Floats, axes: Floats) -> Floats:
    q = p - colour(0.0, 4.0, 0.0)
    along = axes @ q
    flat = np.sqrt(np.maximum(dot(q, q) - along * along, 0.0))
    tubes = np.hypot(flat - np.array([[3.3], [2.6], [1.9]]), along) - 0.055
    nearest: Floats = tubes.min(axis=0)
    return nearest


def normal(p: Floats, axes: Floats) -> Floats:
    """Which way the surface near each point faces."""
    corners = (p[:, None, :] + 0.004 * _CORNERS[:, :, None]).reshape(3, -1)
    around = distance(corners, axes).reshape(4, -1)
    n = _CORNERS @ around
    upright: Floats = n / np.sqrt(dot(n, n) + 1e-20)
    return upright


def _fold(x: Floats, z: Floats) -> tuple[Floats, Floats]:
    a, b = np.abs(x), np.abs(z)
    major, minor = np.maximum(a, b), np.minimum(a, b)
    beyond = np.maximum(0.92387953 * minor - 0.38268343 * major, 0.0)
    return major + 0.76536686 * beyond, minor - 1.84775907 * beyond


def _column(y: Floats, fold_x: Floats, fold_z: Floats) -> Floats:
    x, z = fold_x - 5.5433, fold_z - 2.2961
    across = np.hypot(x, z)
    x, z = _fold(x, z)
    shaft = across - 0.40 + 0.07 * (y - 0.9) / 4.1
    groove = 0.060 - np.hypot(x - 0.3825, z - 0.0761)
    half_side = np.maximum(x, np.abs(z))
    foot = np.maximum(np.maximum(across - 0.50, half_side - 0.47), np.abs(y - 1.02) - 0.14)
    widened = half_side - 0.34 - 0.5 * np.maximum(y - 4.62, 0.0)
    head = np.maximum(widened, np.abs(y - 4.82) - 0.20)
    body = np.maximum(np.maximum(shaft, groove), np.abs(y - 2.95) - 2.05)
    nearest: Floats = 0.9 * np.minimum(body, np.minimum(foot, head))
    return nearest


def _dome(up: Floats, r: Floats, fold_z: Floats) -> Floats:
    rib = np.hypot(np.hypot(r, up) - 5.9, fold_z) - 0.10
    hoop = np.hypot(r - 4.172, up - 4.172) - 0.085
    crown = np.hypot(r - 1.30, up - 5.755) - 0.17
    cage = np.minimum(np.minimum(np.maximum(rib, 1.15 - r), hoop), crown)
    shell: Floats = np.maximum(cage, -up)
    return shell


def clip(start: Floats, way: Floats) -> tuple[Floats, Floats]:
    """Where rays enter and leave the cylinder that holds all that stands."""
    a = np.maximum(way[0] ** 2 + way[2] ** 2, 1e-9)
    b = start[0] * way[0] + start[2] * way[2]
    disc = b * b - a * (start[0] ** 2 + start[2] ** 2 - 14.0**2)
    root = np.sqrt(np.maximum(disc, 0.0))
    rise = np.where(np.abs(way[1]) < 1e-6, 1e-6, way[1])
    top, lake = (11.6 - start[1]) / rise, (-0.01 - start[1]) / rise
    near = np.maximum(np.maximum((-b - root) / a, np.minimum(top, lake)), 0.0)
    far = np.where(disc > 0.0, np.minimum((-b + root) / a, np.maximum(top, lake)), -1.0)
    return near, far


def tiles(x: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Colour of the floor's tiles, and 0 in the joints to 1."""
    x, z = x * 0.8, z * 0.8
    tx, tz = x - np.floor(x), z - np.floor(z)
    odd = (np.floor(x) + np.floor(z)) % 2.0
    edge = np.minimum(np.minimum(tx, 1.0 - tx), np.minimum(tz, 1.0 - tz))
    tile = np.where(odd > 0.5, colour(0.60, 0.53, 0.45), colour(0.115, 0.105, 0.13))
    return tile, smooth(0.010, 0.030, edge)

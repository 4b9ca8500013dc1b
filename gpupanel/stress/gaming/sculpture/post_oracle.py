"""The post kernels by NumPy in float64: ``kernels/gaming_post.cl`` without its ``resolve``.

Worker process only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np  # noqa: TID253 - worker process only
from numpy.typing import NDArray  # noqa: TID253 - worker process only

from gpupanel.stress.gaming import reference, shapes
from gpupanel.stress.gaming.sculpture.drawing import GLOW_X, GLOW_Y, MARGIN, Size
from gpupanel.stress.gaming.sculpture.oracle import Floats, Integers

Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of planes as the device left them.

    Attributes:
        words: ``(planes, rows, stride)``.
        first: The row of the picture that ``words`` begins with.
        margin: Columns left of the picture.
    """

    words: Words
    first: int
    margin: int = MARGIN

    def floats(self, columns: Integers, rows: Integers) -> Floats:
        """All planes at pixels, ``(planes, N)``."""
        return self.at(columns, rows).view(np.float32).astype(np.float64)

    def depth(self, columns: Integers, rows: Integers) -> Floats:
        """The first plane alone, ``(N,)``."""
        words: Words = self.words[0, rows - self.first, columns + self.margin]
        return words.view(np.float32).astype(np.float64)

    def at(self, columns: Integers, rows: Integers) -> Words:
        """The same as they are in memory."""
        picked: Words = np.ascontiguousarray(
            self.words[:, rows - self.first, columns + self.margin]
        )
        return picked

    def has(self, rows: Integers) -> NDArray[np.bool_]:
        """Whether these rows are among those that were read."""
        inside: NDArray[np.bool_] = (rows >= self.first) & (rows < self.first + self.words.shape[1])
        return inside


def bright(after: Floats) -> Floats:
    """What is too bright for the film of ``(3, rows, columns, pixels)``, the mean of the last."""
    strength = np.tensordot([0.25, 0.65, 0.10], after, axes=1)
    over = np.maximum(strength - 1.1, 0.0) / (strength + 0.5)
    mean: Floats = (after * over / (1.0 + 0.06 * strength)).mean(axis=-1)
    return mean


def halo(bright: Floats) -> Floats:
    """The glow of ``(3, GLOW_Y, GLOW_X)``."""
    far = np.abs(np.arange(-14, 15))
    weights = 0.6 * np.exp(-((far / 2.2) ** 2)) + 0.4 * np.exp(-((far / 6.5) ** 2))
    weights /= weights.sum()
    for axis in (2, 1):
        widths = [(0, 0)] * 3
        widths[axis] = (14, 14)
        padded = np.pad(bright, widths, mode="edge")
        count = bright.shape[axis]
        bright = sum(
            weight * np.take(padded, np.arange(k, k + count), axis=axis)
            for k, weight in enumerate(weights)
        )
    return bright


def develop(size: Size, columns: Integers, rows: Integers, after: Rows, glow: Rows) -> Floats:
    """What the screen shows, ``(3, N)`` of 0 to 255, not yet rounded down."""
    per = GLOW_Y / size.height
    across, down = (at.astype(np.float64) * per + 0.5 * per - 0.5 for at in (columns, rows))
    halo = between(glow, across, down, (GLOW_X, GLOW_Y))
    x = (columns + 0.5) * 2.0 / size.width - 1.0
    y = (rows + 0.5) * 2.0 / size.height - 1.0
    r2 = x * x + y * y
    exposure = 0.82 * (1.0 - 0.17 * r2 * (0.4 + 0.3 * r2))
    colour = reference.film((after.floats(columns, rows) + 0.55 * halo) * exposure)
    grain = (((columns * 73 + rows * 151) * 2654 >> 8) & 255) / 256.0
    return np.clip(colour ** (1.0 / 2.2) * 255.0 + grain, 0.0, 255.0)


def between(planes: Rows, x: Floats, y: Floats, edges: tuple[int, int]) -> Floats:
    """Planes between their pixels; beyond the edges, the pixels at the edges."""
    left, top = np.floor(x), np.floor(y)
    columns = [np.clip(left.astype(np.int64) + k, 0, edges[0] - 1) for k in (0, 1)]
    rows = [np.clip(top.astype(np.int64) + k, 0, edges[1] - 1) for k in (0, 1)]
    upper, lower = (
        shapes.blend(planes.floats(columns[0], row), planes.floats(columns[1], row), x - left)
        for row in rows
    )
    return shapes.blend(upper, lower, y - top)

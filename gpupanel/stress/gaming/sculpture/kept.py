"""Frames that come back from the device to be checked, and what every check of them shares.

Some bands of rows are read back from every pass, and a few pixels of each are computed again.
Worker process only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
from numpy.typing import NDArray  # noqa: TID253 - worker process only

from gpupanel.stress.gaming.sculpture.drawing import (
    GLOW_X,
    GLOW_Y,
    MARGIN,
    Drawing,
    Size,
)
from gpupanel.stress.gaming.sculpture.oracle import Floats, Integers
from gpupanel.stress.gaming.sculpture.post_oracle import Rows, bright, halo
from gpupanel.stress.workload import Check

if TYPE_CHECKING:
    import pyopencl as cl

Words = NDArray[np.uint32]

BANDS, SAMPLES_PER_BAND = 4, 16
LEVEL = 1.0 / 255.0
_BAND_ROWS = 8


@dataclass(frozen=True, slots=True)
class Planes:
    """Which rows of a buffer to keep with a band: its own, and ``reach`` more on either side."""

    buffer: str
    count: int
    reach: int


@dataclass(frozen=True, slots=True)
class Band:
    """Rows of a frame, and of what its passes looked at around them."""

    first: int
    last: int
    rows: Mapping[str, Rows]

    def pixels(
        self, width: int, samples: int, rng: np.random.Generator
    ) -> tuple[Integers, Integers]:
        """Columns and rows of random pixels."""
        return rng.integers(0, width, samples), rng.integers(self.first, self.last, samples)


class Kept:
    """One frame on its way back.

    Attributes:
        whole: Buffers by name, all of each.
        bands: Of planes by name; ``before`` and ``after`` are the history around this frame.
    """

    def __init__(
        self,
        drawing: Drawing,
        frame: int,
        bands: list[tuple[int, int]],
        whole: tuple[str, ...],
        planes: Mapping[str, Planes],
    ) -> None:
        """Enqueue the copies, right after the frame's last pass; bands are (first, last) rows."""
        self.frame, self.size = frame, drawing.size
        self._drawing, self._events = drawing, list[Any]()
        self.whole = {
            name: self._keep(*drawing.read(self._own(name)))
            for name in (*whole, "texture", "bright", "glow", "picture")
        }
        planes = {
            **planes,
            "after": Planes(f"history{frame % 2}", 3, 0),
        }
        self.bands = [
            Band(first, last, {name: self._rows(first, last, of) for name, of in planes.items()})
            for first, last in bands
        ]
        drawing.hold(frame, self.copied)

    @property
    def picture(self) -> Words:
        """All of it, ``(height, width)``."""
        return self.whole["picture"].reshape(self.size.height, self.size.width)

    @property
    def copied(self) -> cl.Event:
        """The last copy; all are done when this is."""
        return self._events[-1]

    def glow(self, name: str) -> Rows:
        """What is too ``bright``, or its ``glow``."""
        return Rows(self.whole[name].reshape(3, GLOW_Y, GLOW_X), first=0, margin=0)

    def _own(self, name: str) -> str:
        """An upload's buffer is that of this frame's parity."""
        uploaded = f"{name}{self.frame % 2}"
        return uploaded if uploaded in self._drawing.buffers else name

    def _rows(self, first: int, last: int, planes: Planes) -> Rows:
        start, end = max(first - planes.reach, 0), min(last + planes.reach, self.size.height)
        words = self._drawing.read_rows(planes.buffer, planes.count, start, end)
        return Rows(self._keep(*words), start)

    def _keep(self, array: Words, copied: cl.Event) -> Words:
        self._events.append(copied)
        return array


def choose_bands(size: Size, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Rows at a random place in each quarter of the picture, whole rows of the glow."""
    rows = max(_BAND_ROWS, size.glow_factor)
    places = size.height // rows
    chosen = (np.arange(BANDS) + rng.random(BANDS)) * places / BANDS
    return [(rows * place, rows * place + rows) for place in chosen.astype(int).tolist()]


def same_memory(kept: Kept, given: Mapping[str, NDArray[Any]]) -> Check:
    """What was uploaded is still there, bit for bit."""
    found = {
        name: int((kept.whole[name] != array.view(np.uint32).ravel()).sum())
        for name, array in given.items()
    }
    wrong = [f"{count} words of {name} differ" for name, count in found.items() if count]
    return Check("scene in the device's memory", not wrong, ", ".join(wrong))


def alive(kept: Kept) -> Check:
    """The scene has light and dark in every frame; X marks pixels that are not finite."""
    broken = int((kept.picture >> 24 != 255).sum())
    spread = float((kept.picture[::4, ::4] >> 8 & 255).std())
    detail = f"{broken} pixels not finite, contrast {spread:.0f}/255"
    return Check("a picture", broken == 0 and spread > 10.0, detail)


def judged(name: str, off: Floats, wrong_share: float = 0.0) -> Check:
    """All but a share within tolerance; ``off`` is in tolerances, and no number is not within."""
    wrong = int((~(off <= 1.0)).sum())
    detail = f"{wrong} of {off.size} wrong, worst {off.max():.2f} tolerances"
    return Check(name, wrong <= wrong_share * off.size, detail)


def light_off(exact: Floats, device: Floats) -> Floats:
    """Linear light ``(3, ...)`` in tolerances: one level of 255, and half a percent."""
    worst: Floats = (np.abs(exact - device) / (LEVEL + 0.005 * np.abs(exact))).max(axis=0)
    return worst


def levels_off(kept: Kept, exact: Floats, columns: Integers, rows: Integers) -> Floats:
    """The picture in tolerances of one level; ``exact`` as ``post_oracle.develop`` makes it."""
    levels = kept.picture[rows, columns] >> np.array([[0], [8], [16]], np.uint32) & 255
    worst: Floats = np.abs(np.floor(exact) - levels).max(axis=0)
    return worst


def glow_off(kept: Kept) -> Floats:
    """In tolerances: what is too bright where bands were kept, and all of its halo."""
    device = _planes(kept.glow("bright").words)
    off = [light_off(halo(device), _planes(kept.glow("glow").words)).ravel()]
    factor = kept.size.glow_factor
    for band in kept.bands:
        cells = _planes(band.rows["after"].words[:, :, MARGIN:-MARGIN])
        cells = cells.reshape(3, -1, factor, GLOW_X, factor).transpose(0, 1, 3, 2, 4)
        exact = bright(cells.reshape(3, -1, GLOW_X, factor**2))
        rows = slice(band.first // factor, band.last // factor)
        off.append(light_off(exact, device[:, rows]).ravel())
    return np.concatenate(off)


def _planes(words: Words) -> Floats:
    return np.ascontiguousarray(words).view(np.float32).astype(np.float64)

"""What is kept of a frame of ``gaming.frame``, and its comparison with the oracle.

Some bands of rows are read back from every pass, and a few pixels of each are computed again.
Worker process only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
from numpy.typing import NDArray  # noqa: TID253 - worker process only

from gpupanel.stress.gaming.sculpture import frame_oracle
from gpupanel.stress.gaming.sculpture.frame_oracle import FrameOracle, Rows, Seen
from gpupanel.stress.gaming.sculpture.oracle import Floats, Integers, Sculpted
from gpupanel.stress.gaming.sculpture.passes import GLOW_X, GLOW_Y, MARGIN, Passes, Size
from gpupanel.stress.workload import Check

if TYPE_CHECKING:
    import pyopencl as cl

Words = NDArray[np.uint32]

BANDS, SAMPLES_PER_BAND = 4, 16
_BAND_ROWS = 8
_HISTORY_REACH = 16
"""Rows that nothing in the scene moves beyond from one frame to the next."""

LEVEL = 1.0 / 255.0
_EDGE_PX = 1.0 / 16.0
"""A ray that passes an edge this close may be on its other side in single precision."""

_AROUND = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1], [-1, 0], [1, 0], [0, -1], [0, 1]])


@dataclass(frozen=True, slots=True)
class Host:
    """What the host gave the device for one frame.

    Attributes:
        taps: Of occlusion, as ``scene.occlusion_taps`` makes them.
    """

    tick: NDArray[np.float32]
    ripples: NDArray[np.uint8]
    texture: NDArray[np.uint8]
    taps: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Band:
    """Rows of a frame, and of what their passes looked at around them."""

    first: int
    last: int
    seen: Words
    open: Words
    light: Words
    before: Words
    after: Words


class Kept:
    """One frame on its way back from the device."""

    def __init__(self, passes: Passes, frame: int, bands: list[tuple[int, int]]) -> None:
        """Enqueue the copies, right after the frame's last pass; bands are (first, last) rows."""
        self.frame, self.size = frame, passes.size
        self._passes, self._events = passes, list[Any]()
        parity = frame % 2
        self.whole = {
            name: self._keep(*passes.read(source))
            for name, source in (
                ("tick", f"tick{parity}"), ("ripples", f"ripples{parity}"), ("texture", "texture"),
                ("map", "map"), ("bright", "bright"), ("glow", "glow"), ("picture", "picture"),
            )
        }  # fmt: skip
        self.bands = [self._band(*rows) for rows in bands]

    @property
    def picture(self) -> Words:
        """All of it, ``(height, width)``."""
        return self.whole["picture"].reshape(self.size.height, self.size.width)

    @property
    def copied(self) -> cl.Event:
        """The last copy; all are done when this is."""
        return self._events[-1]

    def _band(self, first: int, last: int) -> _Band:
        size, parity = self.size, self.frame % 2
        return _Band(
            first, last,
            self._rows("seen", 4, first - size.occlusion_reach, last + size.occlusion_reach),
            self._rows("open", 1, first - 1, last + 2),
            self._rows("light", 3, first - 1, last + 1),
            self._rows(f"history{1 - parity}", 3, first - _HISTORY_REACH, last + _HISTORY_REACH),
            self._rows(f"history{parity}", 3, first, last),
        )  # fmt: skip

    def _rows(self, name: str, planes: int, first: int, last: int) -> Words:
        first, last = max(first, 0), min(last, self.size.height)
        return self._keep(*self._passes.read_rows(name, planes, first, last))

    def _keep(self, array: Words, copied: cl.Event) -> Words:
        self._events.append(copied)
        return array


def choose_bands(size: Size, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Rows at a random place in each quarter of the picture, whole rows of the glow."""
    rows = max(_BAND_ROWS, size.height // GLOW_Y)
    places = size.height // rows
    chosen = (np.arange(BANDS) + rng.random(BANDS)) * places / BANDS
    return [(rows * place, rows * place + rows) for place in chosen.astype(int).tolist()]


def checks_of(
    kept: Kept, host: Host, rng: np.random.Generator, samples: int = SAMPLES_PER_BAND
) -> list[Check]:
    """Every pass of a frame that has come back against the oracle, at samples in each band."""
    oracle = FrameOracle(Sculpted(host.tick, host.texture, host.ripples), kept.size)
    sun_map = kept.whole["map"].view(np.float32).astype(np.float64)
    sun_map = sun_map.reshape(kept.size.map_edge, kept.size.map_edge)
    texels = rng.integers(0, kept.size.map_edge, (2, BANDS * samples))
    off = {"sun's map": [_map_off(oracle, sun_map, *texels)], "glow": _glow_off(kept)}
    for band in kept.bands:
        columns = rng.integers(0, kept.size.width, samples)
        rows = rng.integers(band.first, band.last, samples)
        pixels = _Pixels(kept, band, columns, rows)
        for name, values in pixels.off(oracle, host, sun_map).items():
            off.setdefault(name, []).append(values)
    checks = [_same_memory(kept, host), _alive(kept)]
    checks += [_check(name, np.concatenate(parts)) for name, parts in off.items()]
    named = f"frame {kept.frame}, "
    return [Check(named + check.name, check.passed, check.detail) for check in checks]


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Samples of one band; ``off`` is in tolerances, so that more than 1 is wrong."""

    kept: Kept
    band: _Band
    columns: Integers
    rows: Integers

    def off(self, oracle: FrameOracle, host: Host, sun_map: Floats) -> dict[str, Floats]:
        """How far each pass is from the oracle."""
        columns, rows = self.columns, self.rows
        seen, reach = self._rows("seen", self.kept.size.occlusion_reach), _HISTORY_REACH
        open_share, light = self._rows("open", 1), self._rows("light", 1)
        before, after = self._rows("before", reach), self._rows("after", 0)
        occluded = oracle.occlude(columns, rows, seen, host.taps, self.kept.frame)
        shaded = oracle.shade(columns, rows, seen, open_share, sun_map)
        followed = self._followed(seen, before)
        resolved = oracle.resolve(columns[followed], rows[followed], seen, light, before)
        shown = np.floor(oracle.develop(columns, rows, after, _glow(self.kept)))
        levels = self.kept.picture[rows, columns] >> np.array([0, 8, 16], np.uint32)[:, None] & 255
        return {
            "G-buffer": _raster_off(oracle, columns, rows, Seen.unpack(seen.at(columns, rows))),
            "occlusion": np.abs(occluded - open_share.depth(columns, rows)) / (2.0 * LEVEL),
            "light": _light_off(shaded, light.floats(columns, rows)),
            "history": _light_off(resolved, after.floats(columns, rows)[:, followed]),
            "picture": np.abs(shown - levels).max(axis=0) / 2.0,
        }

    def _rows(self, name: str, reach: int) -> Rows:
        return Rows(getattr(self.band, name), max(self.band.first - reach, 0))

    def _followed(self, seen: Rows, before: Rows) -> NDArray[np.bool_]:
        """Pixels whose past is in the rows that were kept: nearly all."""
        down = Seen.unpack(seen.at(self.columns, self.rows)).motion[1]
        top = np.clip(np.floor(self.rows - down).astype(np.int64), 0, self.kept.size.height - 2)
        return before.has(top) & before.has(top + 1)


def _raster_off(oracle: FrameOracle, columns: Integers, rows: Integers, device: Seen) -> Floats:
    def off(x: Floats, y: Floats, which: Integers) -> Floats:
        exact = oracle.raster(x, y)
        apart = (
            (np.abs(exact.depth - device.depth[which]) / exact.depth / 1e-3)[None, :],
            np.abs(exact.normal - device.normal[:, which]) / (2.0 * LEVEL),
            np.abs(exact.levels - device.levels[:, which]) / 2.0,
            np.abs(exact.motion - device.motion[:, which]) / 0.02,
        )
        worst: Floats = np.vstack(apart).max(axis=0)
        return worst

    return _off_beside_edges(off, columns, rows)


def _map_off(oracle: FrameOracle, sun_map: Floats, columns: Integers, rows: Integers) -> Floats:
    def off(x: Floats, y: Floats, which: Integers) -> Floats:
        return np.abs(oracle.shadow(x, y) - sun_map[rows[which], columns[which]]) / 0.02

    return _off_beside_edges(off, columns, rows)


def _off_beside_edges(
    off: Callable[[Floats, Floats, Integers], Floats], columns: Integers, rows: Integers
) -> Floats:
    """``off`` of pixels; at an edge, what a ray close by sees is right as well.

    Single and double precision may disagree on which side of an edge a ray passes.
    """
    x, y = columns.astype(np.float64), rows.astype(np.float64)
    values = off(x, y, np.arange(x.size))
    for across, down in _EDGE_PX * _AROUND:
        doubtful = np.flatnonzero(~(values <= 1.0))
        if not doubtful.size:
            break
        beside = off(x[doubtful] + across, y[doubtful] + down, doubtful)
        values[doubtful] = np.where(beside <= 1.0, beside, values[doubtful])
    return values


def _light_off(exact: Floats, device: Floats) -> Floats:
    worst: Floats = (np.abs(exact - device) / (2.0 * LEVEL + 0.01 * np.abs(exact))).max(axis=0)
    return worst


def _glow(kept: Kept) -> Rows:
    return Rows(kept.whole["glow"].reshape(3, GLOW_Y, GLOW_X), first=0, margin=0)


def _glow_off(kept: Kept) -> list[Floats]:
    """What is too bright where bands were kept, and all of its halo."""
    device = kept.whole["bright"].view(np.float32).astype(np.float64).reshape(3, GLOW_Y, GLOW_X)
    halo = kept.whole["glow"].view(np.float32).astype(np.float64).reshape(3, GLOW_Y, GLOW_X)
    factor = kept.size.height // GLOW_Y
    off = [_light_off(frame_oracle.halo(device), halo).ravel()]
    for band in kept.bands:
        after = np.ascontiguousarray(band.after[:, :, MARGIN:-MARGIN]).view(np.float32)
        cells = after.astype(np.float64).reshape(3, -1, factor, GLOW_X, factor)
        exact = frame_oracle.bright(
            cells.transpose(0, 1, 3, 2, 4).reshape(3, -1, GLOW_X, factor**2)
        )
        rows = slice(band.first // factor, band.last // factor)
        off.append(_light_off(exact, device[:, rows]).ravel())
    return off


def _same_memory(kept: Kept, host: Host) -> Check:
    """What was uploaded is still there, bit for bit."""
    wrong = [
        f"{int((kept.whole[name] != given.view(np.uint32).ravel()).sum())} words of {name} differ"
        for name, given in (
            ("tick", host.tick), ("ripples", host.ripples), ("texture", host.texture)
        )
        if not np.array_equal(kept.whole[name], given.view(np.uint32).ravel())
    ]  # fmt: skip
    return Check("scene in the device's memory", not wrong, ", ".join(wrong))


def _alive(kept: Kept) -> Check:
    """The scene has light and dark in every frame; X marks pixels that are not finite."""
    broken = int((kept.picture >> 24 != 255).sum())
    spread = float((kept.picture[::4, ::4] >> 8 & 255).std())
    detail = f"{broken} pixels not finite, contrast {spread:.0f}/255"
    return Check("a picture", broken == 0 and spread > 10.0, detail)


def _check(name: str, off: Floats) -> Check:
    """All within tolerance; a number that is none is not."""
    wrong = int((~(off <= 1.0)).sum())
    return Check(name, wrong == 0, f"{wrong} of {off.size} wrong, worst {off.max():.2f} tolerances")

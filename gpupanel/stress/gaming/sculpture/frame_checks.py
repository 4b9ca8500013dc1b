"""A frame of ``gaming.frame`` that came back, pass by pass against the oracle.

Worker process only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.gaming.sculpture import post_oracle
from gpupanel.stress.gaming.sculpture.drawing import Drawing
from gpupanel.stress.gaming.sculpture.frame_oracle import FrameOracle, Seen
from gpupanel.stress.gaming.sculpture.kept import (
    BANDS,
    LEVEL,
    SAMPLES_PER_BAND,
    Band,
    Kept,
    Planes,
    alive,
    glow_off,
    judged,
    levels_off,
    light_off,
    same_memory,
)
from gpupanel.stress.gaming.sculpture.oracle import Floats, Integers, Sculpted
from gpupanel.stress.gaming.sculpture.passes import occlusion_reach
from gpupanel.stress.gaming.sculpture.post_oracle import Rows
from gpupanel.stress.workload import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HISTORY_REACH = 16
"""Rows that hardly anything in the scene moves beyond from one frame to the next."""

_EDGES_PX = np.array([1.0 / 16.0, 1.0 / 512.0])
"""A ray that passes an edge this close may be on its other side in single precision; where two
edges leave a narrow gap, only the nearer place is in it."""

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


def keep(drawing: Drawing, frame: int, bands: list[tuple[int, int]]) -> Kept:
    """Start to read what ``checks_of`` looks at."""
    planes = {
        "seen": Planes("seen", 4, occlusion_reach(drawing.size)),
        "open": Planes("open", 1, 2),
        "light": Planes("light", 3, 1),
        "before": Planes(f"history{1 - frame % 2}", 3, _HISTORY_REACH),
    }
    return Kept(drawing, frame, bands, ("tick", "ripples", "map"), planes)


def checks_of(
    kept: Kept, host: Host, rng: np.random.Generator, samples: int = SAMPLES_PER_BAND
) -> list[Check]:
    """Every pass of a frame that has come back, at samples in each band."""
    oracle = FrameOracle(Sculpted(host.tick, host.texture, host.ripples), kept.size)
    edge = kept.size.map_edge
    sun_map = kept.whole["map"].view(np.float32).astype(np.float64).reshape(edge, edge)
    texels = rng.integers(0, edge, (2, BANDS * samples))
    off = {"sun's map": [_map_off(oracle, sun_map, *texels)], "glow": [glow_off(kept)]}
    for band in kept.bands:
        pixels = _Pixels(kept, band, *band.pixels(kept.size.width, samples, rng))
        for name, values in pixels.off(oracle, host.taps, sun_map).items():
            off.setdefault(name, []).append(values)
    given: dict[str, NDArray[Any]] = {
        "tick": host.tick,
        "ripples": host.ripples,
        "texture": host.texture,
    }
    checks = [same_memory(kept, given), alive(kept)]
    checks += [judged(name, np.concatenate(parts)) for name, parts in off.items()]
    named = f"frame {kept.frame}, "
    return [Check(named + check.name, check.passed, check.detail) for check in checks]


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Samples of one band; ``off`` is in tolerances, so that more than 1 is wrong."""

    kept: Kept
    band: Band
    columns: Integers
    rows: Integers

    def off(
        self, oracle: FrameOracle, taps: NDArray[np.int32], sun_map: Floats
    ) -> dict[str, Floats]:
        """How far each pass is from the oracle."""
        columns, rows, kept = self.columns, self.rows, self.kept
        seen, open_share, light, before, after = (
            self.band.rows[name] for name in ("seen", "open", "light", "before", "after")
        )
        occluded = oracle.occlude(columns, rows, seen, taps, kept.frame)
        shaded = oracle.shade(columns, rows, seen, open_share, sun_map)
        followed = self._followed(seen, before)
        resolved = oracle.resolve(columns[followed], rows[followed], seen, light, before)
        shown = post_oracle.develop(kept.size, columns, rows, after, kept.glow("glow"))
        return {
            "G-buffer": _raster_off(oracle, columns, rows, Seen.unpack(seen.at(columns, rows))),
            "occlusion": np.abs(occluded - open_share.depth(columns, rows)) / (2.0 * LEVEL),
            "light": light_off(shaded, light.floats(columns, rows)),
            "history": light_off(resolved, after.floats(columns, rows)[:, followed]),
            "picture": levels_off(kept, shown, columns, rows),
        }

    def _followed(self, seen: Rows, before: Rows) -> NDArray[np.bool_]:
        """Pixels whose past is in the rows that were kept: nearly all."""
        down = Seen.unpack(seen.at(self.columns, self.rows)).motion[1]
        top = np.clip(np.floor(self.rows - down).astype(np.int64), 0, self.kept.size.height - 2)
        return before.has(top) & before.has(top + 1)


def _raster_off(oracle: FrameOracle, columns: Integers, rows: Integers, device: Seen) -> Floats:
    def exact(x: Floats, y: Floats) -> Floats:
        return _in_tolerances(oracle.raster(x, y))

    return _off_beside_edges(exact, columns, rows, _in_tolerances(device))


def _in_tolerances(seen: Seen) -> Floats:
    """All of a pixel's G-buffer, ``(10, N)``, such that a difference of 1 is the most allowed."""
    depth = np.log(seen.depth)[None, :] * 1000.0
    parts = (depth, seen.normal / (2.0 * LEVEL), seen.levels, seen.motion / 0.02)
    return np.vstack(parts)


def _map_off(oracle: FrameOracle, sun_map: Floats, columns: Integers, rows: Integers) -> Floats:
    def exact(x: Floats, y: Floats) -> Floats:
        return oracle.shadow(x, y)[None, :] / 0.02

    return _off_beside_edges(exact, columns, rows, sun_map[None, rows, columns] / 0.02)


def _off_beside_edges(
    exact: Callable[[Floats, Floats], Floats], columns: Integers, rows: Integers, device: Floats
) -> Floats:
    """How far the device is from the oracle; at an edge, from all that rays close by meet.

    Single and double precision may disagree on which side of an edge a ray passes, and on where
    it meets a surface that it grazes.
    """
    x, y = columns.astype(np.float64), rows.astype(np.float64)
    low = exact(x, y)
    off: Floats = np.abs(low - device).max(axis=0)
    doubtful = np.flatnonzero(~(off <= 1.0))
    low = high = low[:, doubtful]
    for across, down in (_EDGES_PX[:, None, None] * _AROUND).reshape(-1, 2):
        beside = exact(x[doubtful] + across, y[doubtful] + down)
        low, high = np.minimum(low, beside), np.maximum(high, beside)
    outside = np.maximum(low - device[:, doubtful], device[:, doubtful] - high)
    off[doubtful] = outside.max(axis=0)
    return off

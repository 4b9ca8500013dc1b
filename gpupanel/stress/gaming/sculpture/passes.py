"""The passes of ``gaming.frame`` on the device. Worker process only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.gaming.sculpture import scene
from gpupanel.stress.gaming.sculpture.drawing import (
    FAR,
    TICK_WORDS,
    Drawing,
    Programs,
    Size,
    Strip,
)

if TYPE_CHECKING:
    import pyopencl as cl

KERNEL_FILE = "gaming_frame.cl"
TILE, TAPS = 16, 16
_BIN_SHARE = 8

_BANDS_CPU = {"shadow": 1, "raster": 4, "occlude": 1, "shade": 4, "resolve": 2, "develop": 2}
"""Passes by row, in order, and in how many launches each is cut on a processor: about equal ones.
A GPU is fast enough to do each in one."""


def strips(size: Size, *, is_cpu: bool) -> list[Strip]:
    """A frame as its launches, in order."""
    return [
        strip
        for name, bands in _BANDS_CPU.items()
        for strip in Strip.cut(
            name, size.map_edge if name == "shadow" else size.height, bands if is_cpu else 1
        )
    ]


def occlusion_reach(size: Size) -> int:
    """Rows that ambient occlusion looks away from a pixel, at most."""
    return size.height // 16 + 1


class Passes(Drawing):
    """One frame's G-buffer, map, light and history, and the kernels between them."""

    def __init__(
        self, queue: cl.CommandQueue, programs: Programs, size: Size, texture: cl.Buffer
    ) -> None:
        """Allocate; the texture is shared between pictures."""
        import pyopencl as cl

        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        taps = cl.Buffer(queue.context, flags, hostbuf=scene.occlusion_taps(size.height, TAPS))
        super().__init__(queue, programs, size, {"texture": texture, "taps": taps})
        # Occlusion looks beyond the picture's edges and finds nothing there.
        depth_bytes = 4 * size.plane
        cl.enqueue_fill_buffer(queue, self.buffers["seen"], np.float32(FAR), 0, depth_bytes)

    @classmethod
    def words(cls, size: Size) -> dict[str, int]:
        """See ``Drawing``."""
        masks = _tiles(size) * scene.INSTANCES // 32
        return {
            "tick0": TICK_WORDS, "tick1": TICK_WORDS,
            "ripples0": size.ripple_edge**2, "ripples1": size.ripple_edge**2,
            "bounds": 8 * scene.INSTANCES, "masks": masks, "map": size.map_edge**2,
            "seen": 4 * size.plane, "open": size.plane, "light": 3 * size.plane,
        }  # fmt: skip

    def draw(self, frame: int, strip: Strip, uploaded: list[cl.Event]) -> dict[str, list[cl.Event]]:
        """See ``Drawing``; sorting goes before the map, the glow before the picture."""
        parts = {}
        if strip.name == "shadow" and strip.first == 0:
            parts["sort"] = self._sort(frame, uploaded)
        if strip.name == "develop" and strip.first == 0:
            parts["glow"] = self._glow(frame)
        edge = self.size.map_edge if strip.name == "shadow" else self.size.width
        return {**parts, strip.name: [self._rows(frame, strip, edge)]}

    def _sort(self, frame: int, uploaded: list[cl.Event]) -> list[cl.Event]:
        """Project the instances and bin them."""
        kernels, shares = self._kernels[frame % 2], scene.INSTANCES // 32 // _BIN_SHARE
        kernels["occlude"].set_arg(5, np.int32(frame))
        projected = self._cl.enqueue_nd_range_kernel(
            self._queue, kernels["project"], (scene.INSTANCES,), (64,), wait_for=uploaded
        )
        return [projected, self._enqueue(frame, "bin", (_tiles(self.size), shares))]

    def _main_kernels(self, programs: Programs, parity: int) -> dict[str, cl.Kernel]:
        arguments = {
            "project": "tick bounds",
            "bin": "bounds masks",
            "shadow": "tick masks map",
            "raster": "tick texture ripples masks seen",
            "occlude": "tick seen taps open",
            "shade": "tick texture seen open map light",
        }
        resolve = "tick seen light before history"
        return {
            name: self._kernel(programs.main, name, parity, names)
            for name, names in arguments.items()
        } | {"resolve": self._kernel(programs.post, "resolve", parity, resolve)}


def _tiles(size: Size) -> int:
    """Of the screen, then of the map."""
    across, down, in_map = (-(-edge // TILE) for edge in (size.width, size.height, size.map_edge))
    return across * down + in_map**2

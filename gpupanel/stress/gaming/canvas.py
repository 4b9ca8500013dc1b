"""The buffers and kernels that make one picture of ``gaming.raymarch``. Worker process only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.gaming import scene
from gpupanel.stress.program import build

if TYPE_CHECKING:
    import pyopencl as cl
    from numpy.typing import NDArray

KERNEL_FILE = "gaming_raymarch.cl"
BANDS = 8
"""A frame is launched in this many bands of rows, so that a slow device has small chunks too."""

_MARGIN = 16
_ROUND = 32
_PLANES_SEEN, _PLANES_LIGHT = 2, 3


def stride(width: int) -> int:
    """Floats from row to row of a plane, as the kernel file draws it."""
    return -(-width // _ROUND) * _ROUND + 2 * _MARGIN


def memory_bytes(width: int, height: int) -> int:
    """What one canvas allocates."""
    planes = (_PLANES_SEEN + _PLANES_LIGHT) * stride(width) * height
    return 4 * (planes + width * height)


def band_rows(height: int, band: int) -> tuple[int, int]:
    """First row of a band, and the first after it."""
    return height * band // BANDS, height * (band + 1) // BANDS


@dataclass(frozen=True, slots=True)
class Program:
    """The kernel file, built for one size of picture and one packet width."""

    built: cl.Program
    width: int
    height: int
    lanes: int

    @classmethod
    def make(cls, context: cl.Context, width: int, height: int, lanes: int) -> Program:
        """Compile.

        Raises:
            BuildFailed: With the compiler's log.
        """
        knobs = {
            "LANES": lanes, "WIDTH": width, "HEIGHT": height, "STRIDE": stride(width),
            "BODIES": scene.BODIES, "OBJECTS": scene.OBJECTS, "TEXELS": scene.TEXELS,
        }  # fmt: skip
        return cls(build(context, KERNEL_FILE, knobs), width, height, lanes)


class Canvas:
    """One picture's memory on the device; every method enqueues and returns at once."""

    def __init__(self, queue: cl.CommandQueue, program: Program, texture: cl.Buffer) -> None:
        """Allocate for ``program``'s size; the texture is shared between canvases."""
        import pyopencl as cl

        self._cl, self._queue, self._program = cl, queue, program
        context, flags = queue.context, cl.mem_flags
        plane_bytes = 4 * stride(program.width) * program.height
        self.tick = cl.Buffer(context, flags.READ_ONLY, 4 * (scene.HEADER + 8 * scene.OBJECTS))
        self.seen = cl.Buffer(context, flags.READ_WRITE, _PLANES_SEEN * plane_bytes)
        self.light = cl.Buffer(context, flags.READ_WRITE, _PLANES_LIGHT * plane_bytes)
        self.picture = cl.Buffer(context, flags.READ_WRITE, 4 * program.width * program.height)
        self._march = cl.Kernel(program.built, "march")
        self._march.set_args(self.tick, self.seen)
        self._shade = cl.Kernel(program.built, "shade")
        self._shade.set_args(self.tick, texture, self.seen, self.light)
        self._post = cl.Kernel(program.built, "post")
        self._post.set_args(self.light, self.picture)

    def upload(self, tick: NDArray[np.float32]) -> cl.Event:
        """This frame's camera and objects; the event keeps ``tick`` alive until it is done."""
        return self._cl.enqueue_copy(self._queue, self.tick, tick, is_blocking=False)

    def draw(self, first_row: int, last_row: int) -> tuple[cl.Event, cl.Event]:
        """March and shade rows; the events of the two kernels."""
        return (
            self._enqueue(self._march, first_row, last_row),
            self._enqueue(self._shade, first_row, last_row),
        )

    def finish(self, first_row: int, last_row: int) -> cl.Event:
        """Post-process rows; the row above and the row below must be drawn as well."""
        return self._enqueue(self._post, first_row, last_row)

    def read(self, first_row: int, last_row: int) -> tuple[NDArray[np.uint8], cl.Event]:
        """Start to copy rows of the picture: the array that fills, and when it is full."""
        width = self._program.width
        rows = np.empty((last_row - first_row, width, 4), np.uint8)
        copied = self._cl.enqueue_copy(
            self._queue, rows, self.picture,
            src_offset=4 * width * first_row, is_blocking=False,
        )  # fmt: skip
        return rows, copied

    def _enqueue(self, kernel: cl.Kernel, first_row: int, last_row: int) -> cl.Event:
        """A fixed work-group size: PoCL compiles a kernel again for every other one."""
        across = -(-self._program.width // _ROUND) * _ROUND // self._program.lanes
        group = _ROUND if self._program.lanes == 1 else 1
        return self._cl.enqueue_nd_range_kernel(
            self._queue, kernel,
            (across, last_row - first_row), (group, 1), (0, first_row),
        )  # fmt: skip

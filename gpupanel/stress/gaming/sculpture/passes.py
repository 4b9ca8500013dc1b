"""The buffers and kernels that make one picture of ``gaming.frame``. Worker process only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.gaming.scene import TEXELS
from gpupanel.stress.gaming.sculpture import scene
from gpupanel.stress.program import build

if TYPE_CHECKING:
    import pyopencl as cl
    from numpy.typing import NDArray

KERNEL_FILE, POST_FILE = "gaming_frame.cl", "gaming_post.cl"
MARGIN, TILE, TAPS = 144, 16, 16
FAR = 1.0e6
GLOW_X, GLOW_Y = 160, 90
_BIN_SHARE = 8
_GROUP = (32, 4)
"""On a GPU; on a processor every packet is a group. Fixed, since PoCL compiles a kernel again for
every size of group."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a picture and of what it is made from.

    Attributes:
        map_edge: Of the sun's map.
        ripple_edge: Of the texture that is new in every frame.
    """

    width: int
    height: int
    map_edge: int
    ripple_edge: int

    @property
    def stride(self) -> int:
        """Words from row to row of a plane."""
        return self.width + 2 * MARGIN

    @property
    def plane(self) -> int:
        """Words of a plane."""
        return self.stride * self.height

    @property
    def tiles(self) -> tuple[int, int]:
        """Of the screen, and of the map."""
        across = [-(-edge // TILE) for edge in (self.width, self.height, self.map_edge)]
        return across[0] * across[1], across[2] ** 2

    @property
    def occlusion_reach(self) -> int:
        """Pixels that ambient occlusion looks away from a pixel, at most."""
        return self.height // 16 + 1

    def memory_bytes(self) -> int:
        """What one ``Passes`` allocates."""
        planes = (4 + 1 + 3 + 2 * 3) * self.plane
        tick = scene.HEADER + scene.INSTANCE * scene.INSTANCES
        masks = sum(self.tiles) * scene.INSTANCES // 32
        uploads = 2 * (tick + self.ripple_edge**2)
        return 4 * (planes + masks + uploads + self.map_edge**2 + self.width * self.height)


@dataclass(frozen=True, slots=True)
class Programs:
    """The two kernel files, built for one packet width; they serve every size of picture."""

    frame: cl.Program
    post: cl.Program
    lanes: int

    @classmethod
    def make(cls, context: cl.Context, lanes: int, ripple_edge: int) -> Programs:
        """Compile.

        Raises:
            BuildFailed: With the compiler's log.
        """
        knobs = {
            "LANES": lanes, "INSTANCES": scene.INSTANCES, "LAMPS": scene.LAMPS,
            "TEXELS": TEXELS, "RIPPLES": ripple_edge, "MARGIN": MARGIN,
        }  # fmt: skip
        post = build(context, POST_FILE, {"LANES": lanes, "MARGIN": MARGIN})
        return cls(build(context, KERNEL_FILE, knobs), post, lanes)


@dataclass(frozen=True, slots=True)
class Textures:
    """What all frames share on the device."""

    surface: cl.Buffer
    taps: cl.Buffer

    @classmethod
    def upload(cls, context: cl.Context, texture: NDArray[np.uint8], height: int) -> Textures:
        """Copy the texture, and the taps of occlusion at this height of picture."""
        import pyopencl as cl

        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        taps = scene.occlusion_taps(height, TAPS)
        return cls(*(cl.Buffer(context, flags, hostbuf=array) for array in (texture, taps)))


class Passes:
    """One picture's memory on the device and the kernels on it; every method returns at once.

    What a frame uploads and the history that it writes are there twice, for even frames and for
    odd ones: a frame's upload runs beside the frame before.
    """

    def __init__(
        self, queue: cl.CommandQueue, programs: Programs, size: Size, textures: Textures
    ) -> None:
        """Allocate; textures are shared between pictures."""
        import pyopencl as cl

        self.size, self._cl, self._queue = size, cl, queue
        self._lanes = programs.lanes
        self._transfer = cl.CommandQueue(
            queue.context, queue.device, properties=cl.command_queue_properties.PROFILING_ENABLE
        )
        self._used: list[cl.Event | None] = [None, None]
        self.buffers = self._allocate(textures)
        self._kernels = (self._arguments(programs, 0), self._arguments(programs, 1))

    def begin(self) -> cl.Event:
        """The first command of a frame: when it was queued, the host began the frame."""
        return self._cl.enqueue_fill_buffer(
            self._queue, self.buffers["bounds"], np.float32(0.0), 0, 4
        )

    def upload(
        self, frame: int, tick: NDArray[np.float32], ripples: NDArray[np.uint8]
    ) -> list[cl.Event]:
        """This frame's scene; what the screen shows waits for it."""
        parity = frame % 2
        free = self._used[parity]
        events = [
            self._cl.enqueue_copy(
                self._transfer, self.buffers[f"{name}{parity}"], array,
                is_blocking=False, wait_for=[free] if free else None,
            )
            for name, array in (("tick", tick), ("ripples", ripples))
        ]  # fmt: skip
        self._transfer.flush()
        return events

    def sort(self, frame: int, uploaded: list[cl.Event]) -> list[cl.Event]:
        """Project the instances and bin them, once they are there."""
        shares = scene.INSTANCES // 32 // _BIN_SHARE
        kernels = self._kernels[frame % 2]
        kernels["occlude"].set_arg(5, np.int32(frame))
        projected = self._cl.enqueue_nd_range_kernel(
            self._queue, kernels["project"], (scene.INSTANCES,), (64,), wait_for=uploaded
        )
        return [projected, self._enqueue(frame, "bin", (sum(self.size.tiles), shares))]

    def rows(self, frame: int, name: str, first_row: int, last_row: int) -> cl.Event:
        """One pass over rows of the picture, or of the map for ``shadow``."""
        edge = self.size.map_edge if name == "shadow" else self.size.width
        items = (edge // self._lanes, last_row - first_row)
        event = self._enqueue(frame, name, items, first_row)
        self._used[frame % 2] = event
        return event

    def glow(self, frame: int) -> list[cl.Event]:
        """What is too bright, and its halo."""
        items = (GLOW_X // min(self._lanes, 8), GLOW_Y)
        return [
            self._enqueue(frame, name, items) for name in ("bright", "blur_across", "blur_down")
        ]

    def start_from(self, other: Passes, frame: int) -> cl.Event:
        """Take over the history that ``other`` is about to draw ``frame`` with."""
        name = f"history{1 - frame % 2}"
        return self._cl.enqueue_copy(self._queue, self.buffers[name], other.buffers[name])

    def read(self, name: str) -> tuple[NDArray[np.uint32], cl.Event]:
        """Start to copy a buffer: the array that fills, and when it is full."""
        array = np.empty(self.buffers[name].size // 4, np.uint32)
        copied = self._cl.enqueue_copy(self._queue, array, self.buffers[name], is_blocking=False)
        return array, copied

    def read_rows(
        self, name: str, planes: int, first_row: int, last_row: int
    ) -> tuple[NDArray[np.uint32], cl.Event]:
        """The same for rows of planes: an array ``(planes, rows, stride)``."""
        rows, row_bytes = last_row - first_row, 4 * self.size.stride
        array = np.empty((planes, rows, self.size.stride), np.uint32)
        copied = self._cl.enqueue_copy(
            self._queue, array, self.buffers[name], is_blocking=False,
            buffer_origin=(0, first_row, 0), host_origin=(0, 0, 0), region=(row_bytes, rows, planes),
            buffer_pitches=(row_bytes, 4 * self.size.plane),
            host_pitches=(row_bytes, row_bytes * rows),
        )  # fmt: skip
        return array, copied

    def _allocate(self, textures: Textures) -> dict[str, cl.Buffer]:
        size, flags = self.size, self._cl.mem_flags
        tick = scene.HEADER + scene.INSTANCE * scene.INSTANCES
        words = {
            "tick0": tick, "tick1": tick,
            "ripples0": size.ripple_edge**2, "ripples1": size.ripple_edge**2,
            "bounds": 8 * scene.INSTANCES, "masks": sum(size.tiles) * scene.INSTANCES // 32,
            "map": size.map_edge**2, "seen": 4 * size.plane, "open": size.plane,
            "light": 3 * size.plane, "history0": 3 * size.plane, "history1": 3 * size.plane,
            "bright": 3 * GLOW_X * GLOW_Y, "across": 3 * GLOW_X * GLOW_Y,
            "glow": 3 * GLOW_X * GLOW_Y, "picture": size.width * size.height,
        }  # fmt: skip
        buffers = {
            name: self._cl.Buffer(self._queue.context, flags.READ_WRITE, 4 * count)
            for name, count in words.items()
        }
        # Occlusion looks beyond the picture's edges and finds nothing there.
        self._cl.enqueue_fill_buffer(
            self._queue, buffers["seen"], np.float32(FAR), 0, 4 * size.plane
        )
        return {**buffers, "texture": textures.surface, "taps": textures.taps}

    def _arguments(self, programs: Programs, parity: int) -> Mapping[str, cl.Kernel]:
        """The kernels with the arguments of even or odd frames: setting them again costs time."""
        vector = self._cl.cltypes
        edges = (self.size.width, self.size.height, self.size.stride, self.size.map_edge)
        buffers = {name.removesuffix(str(parity)): it for name, it in self.buffers.items()}
        buffers["before"] = self.buffers[f"history{1 - parity}"]

        def of(
            program: cl.Program, kernel: str, names: str, last: Any = vector.make_int4(*edges)
        ) -> cl.Kernel:
            made = self._cl.Kernel(program, kernel)
            for number, name in enumerate(names.split()):
                made.set_arg(number, buffers[name])
            made.set_arg(len(names.split()), last)
            return made

        frame, post = programs.frame, programs.post
        return {
            "project": of(frame, "project", "tick bounds"),
            "bin": of(frame, "bin", "bounds masks"),
            "shadow": of(frame, "shadow", "tick masks map"),
            "raster": of(frame, "raster", "tick texture ripples masks seen"),
            "occlude": of(frame, "occlude", "tick seen taps open"),
            "shade": of(frame, "shade", "tick texture seen open map light"),
            "resolve": of(post, "resolve", "tick seen light before history"),
            "bright": of(post, "bright", "history bright"),
            "blur_across": of(post, "blur", "bright across", vector.make_int2(1, 0)),
            "blur_down": of(post, "blur", "across glow", vector.make_int2(0, 1)),
            "develop": of(post, "develop", "history glow picture"),
        }

    def _enqueue(
        self, frame: int, name: str, items: tuple[int, int], first_row: int = 0
    ) -> cl.Event:
        group = _GROUP if self._lanes == 1 else (1, 1)
        rounded = tuple(-(-count // by) * by for count, by in zip(items, group, strict=True))
        return self._cl.enqueue_nd_range_kernel(
            self._queue, self._kernels[frame % 2][name], rounded, group, (0, first_row)
        )

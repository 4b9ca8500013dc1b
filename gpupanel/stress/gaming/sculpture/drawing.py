"""The device side that both loads of the sculpture share: memory, uploads, post kernels, reads.

Worker process only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.gaming.sculpture import scene
from gpupanel.stress.program import build

if TYPE_CHECKING:
    import pyopencl as cl
    from numpy.typing import NDArray

    Words = NDArray[np.uint32]

POST_FILE = "gaming_post.cl"
MARGIN = 144
FAR = 1.0e6
GLOW_X, GLOW_Y = 160, 90
TICK_WORDS = scene.HEADER + scene.INSTANCE * scene.INSTANCES

_GROUP = (32, 4)
"""On a GPU; on a processor every packet is a group. Fixed, since PoCL compiles a kernel again for
every size of group."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a picture and of what it is made from.

    Attributes:
        ripple_edge: Of the texture that is new in every frame.
        map_edge: Of the sun's map; 0 where there is none.
    """

    width: int
    height: int
    ripple_edge: int
    map_edge: int = 0

    @property
    def stride(self) -> int:
        """Words from row to row of a plane."""
        return self.width + 2 * MARGIN

    @property
    def plane(self) -> int:
        """Words of a plane."""
        return self.stride * self.height

    @property
    def glow_factor(self) -> int:
        """Pixels of the picture, across and down, to one of the glow."""
        return self.height // GLOW_Y


@dataclass(frozen=True, slots=True)
class Strip:
    """The smallest launch: some rows of one pass, and what goes before or after that pass."""

    name: str
    first: int
    last: int

    @classmethod
    def cut(cls, name: str, rows: int, bands: int) -> list[Self]:
        """One pass as so many strips."""
        edges = [rows * band // bands for band in range(bands + 1)]
        return [cls(name, edges[band], edges[band + 1]) for band in range(bands)]


@dataclass(frozen=True, slots=True)
class Programs:
    """A load's kernel file and the post kernels, built for one packet width and all sizes."""

    main: cl.Program
    post: cl.Program
    lanes: int

    @classmethod
    def make(
        cls, context: cl.Context, kernel_file: str, lanes: int, knobs: Mapping[str, int]
    ) -> Self:
        """Compile.

        Raises:
            BuildFailed: With the compiler's log.
        """
        shared = {"LANES": lanes, "MARGIN": MARGIN}
        main = build(context, kernel_file, {**shared, **knobs})
        return cls(main, build(context, POST_FILE, shared), lanes)


class Drawing(ABC):
    """One picture's memory on the device and the kernels on it; every method returns at once.

    What a frame uploads and the history that it writes are there twice, for even frames and for
    odd ones: a frame's upload runs beside the frame before.
    """

    def __init__(
        self,
        queue: cl.CommandQueue,
        programs: Programs,
        size: Size,
        shared: Mapping[str, cl.Buffer],
    ) -> None:
        """Allocate; the ``shared`` buffers belong to several drawings."""
        import pyopencl as cl

        self.size, self._cl, self._queue = size, cl, queue
        self._lanes = programs.lanes
        profiled = cl.command_queue_properties.PROFILING_ENABLE
        self._transfer = cl.CommandQueue(queue.context, queue.device, properties=profiled)
        self._used: list[cl.Event | None] = [None, None]
        flags = cl.mem_flags.READ_WRITE
        words = {**_post_words(size), **self.words(size)}
        self.buffers: dict[str, cl.Buffer] = {
            name: cl.Buffer(queue.context, flags, 4 * count) for name, count in words.items()
        } | dict(shared)
        self._kernels = tuple(
            {**self._post_kernels(programs, parity), **self._main_kernels(programs, parity)}
            for parity in (0, 1)
        )

    # ---- what a load adds ----------------------------------------------------------------

    @classmethod
    @abstractmethod
    def words(cls, size: Size) -> dict[str, int]:
        """The load's own buffers and their lengths; uploads end with the parity of frames."""

    @abstractmethod
    def draw(self, frame: int, strip: Strip, uploaded: list[cl.Event]) -> dict[str, list[cl.Event]]:
        """Enqueue one strip; its events by pass, in order. The first strip waits for uploads."""

    @abstractmethod
    def _main_kernels(self, programs: Programs, parity: int) -> dict[str, cl.Kernel]:
        """The load's own kernels with the arguments of even or odd frames."""

    # ---- one frame -----------------------------------------------------------------------

    @classmethod
    def memory_bytes(cls, size: Size) -> int:
        """What one drawing allocates."""
        return 4 * sum({**_post_words(size), **cls.words(size)}.values())

    def begin(self) -> cl.Event:
        """The first command of a frame: when it was queued, the host began the frame."""
        return self._cl.enqueue_fill_buffer(
            self._queue, self.buffers["bright"], np.float32(0.0), 0, 4
        )

    def upload(self, frame: int, arrays: Mapping[str, NDArray[Any]]) -> list[cl.Event]:
        """This frame's scene, into the buffers of its parity; its first pass waits for it."""
        free = self._used[frame % 2]
        events = [
            self._cl.enqueue_copy(
                self._transfer, self.buffers[f"{name}{frame % 2}"], array,
                is_blocking=False, wait_for=[free] if free else None,
            )
            for name, array in arrays.items()
        ]  # fmt: skip
        self._transfer.flush()
        return events

    def hold(self, frame: int, until: cl.Event) -> None:
        """What was uploaded for ``frame`` is in use until this event."""
        self._used[frame % 2] = until

    def start_from(self, other: Drawing, frame: int) -> cl.Event:
        """Take over the history that ``other`` is about to draw ``frame`` with."""
        name = f"history{1 - frame % 2}"
        return self._cl.enqueue_copy(self._queue, self.buffers[name], other.buffers[name])

    def read(self, name: str) -> tuple[Words, cl.Event]:
        """Start to copy a buffer: the array that fills, and when it is full."""
        array = np.empty(self.buffers[name].size // 4, np.uint32)
        copied = self._cl.enqueue_copy(self._queue, array, self.buffers[name], is_blocking=False)
        return array, copied

    def read_rows(
        self, name: str, planes: int, first_row: int, last_row: int
    ) -> tuple[Words, cl.Event]:
        """The same for rows of planes: an array ``(planes, rows, stride)``."""
        rows, row_bytes = last_row - first_row, 4 * self.size.stride
        array = np.empty((planes, rows, self.size.stride), np.uint32)
        copied = self._cl.enqueue_copy(
            self._queue, array, self.buffers[name], is_blocking=False,
            buffer_origin=(0, first_row, 0), host_origin=(0, 0, 0),
            region=(row_bytes, rows, planes), buffer_pitches=(row_bytes, 4 * self.size.plane),
            host_pitches=(row_bytes, row_bytes * rows),
        )  # fmt: skip
        return array, copied

    # ---- kernels -------------------------------------------------------------------------

    def _kernel(
        self, program: cl.Program, kernel: str, parity: int, names: str, last: object = None
    ) -> cl.Kernel:
        """A kernel with its buffers set, and then ``last``, else the sizes: setting costs time."""
        vector, size = self._cl.cltypes, self.size
        made = self._cl.Kernel(program, kernel)
        for number, name in enumerate(names.split()):
            at = f"history{1 - parity}" if name == "before" else f"{name}{parity}"
            made.set_arg(number, self.buffers.get(at) or self.buffers[name])
        sizes = vector.make_int4(size.width, size.height, size.stride, size.map_edge)
        made.set_arg(len(names.split()), sizes if last is None else last)
        return made

    def _post_kernels(self, programs: Programs, parity: int) -> dict[str, cl.Kernel]:
        post, step = programs.post, self._cl.cltypes.make_int2
        return {
            "bright": self._kernel(post, "bright", parity, "history bright"),
            "blur_across": self._kernel(post, "blur", parity, "bright across", step(1, 0)),
            "blur_down": self._kernel(post, "blur", parity, "across glow", step(0, 1)),
            "develop": self._kernel(post, "develop", parity, "history glow picture"),
        }

    def _rows(
        self, frame: int, strip: Strip, edge: int, wait_for: list[cl.Event] | None = None
    ) -> cl.Event:
        """One pass over rows that are ``edge`` pixels long."""
        items = (edge // self._lanes, strip.last - strip.first)
        event = self._enqueue(frame, strip.name, items, strip.first, wait_for)
        self._used[frame % 2] = event
        return event

    def _glow(self, frame: int) -> list[cl.Event]:
        """What is too bright, and its halo."""
        items = (GLOW_X // min(self._lanes, 8), GLOW_Y)
        names = ("bright", "blur_across", "blur_down")
        return [self._enqueue(frame, name, items) for name in names]

    def _enqueue(
        self,
        frame: int,
        name: str,
        items: tuple[int, int],
        first_row: int = 0,
        wait_for: list[cl.Event] | None = None,
    ) -> cl.Event:
        group = _GROUP if self._lanes == 1 else (1, 1)
        rounded = tuple(-(-count // by) * by for count, by in zip(items, group, strict=True))
        return self._cl.enqueue_nd_range_kernel(
            self._queue, self._kernels[frame % 2][name], rounded, group, (0, first_row),
            wait_for=wait_for,
        )  # fmt: skip


def _post_words(size: Size) -> dict[str, int]:
    glow = dict.fromkeys(("bright", "across", "glow"), 3 * GLOW_X * GLOW_Y)
    history = dict.fromkeys(("history0", "history1"), 3 * size.plane)
    return {**glow, **history, "picture": size.width * size.height}

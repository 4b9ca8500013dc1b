"""The frame loop that both loads of the sculpture share. Worker process only.

A frame is a tick on the processor, its upload, then strips of passes on the device. Now and then
one is kept: its passes are compared with the oracle, and it is drawn again from the same history,
which must come out the same, bit for bit.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.gaming.scene import TEXELS
from gpupanel.stress.gaming.screen import Screen
from gpupanel.stress.gaming.sculpture import scene
from gpupanel.stress.gaming.sculpture.drawing import Drawing, Size, Strip
from gpupanel.stress.gaming.sculpture.kept import Kept
from gpupanel.stress.gaming.sculpture.pacing import Pacing
from gpupanel.stress.workload import Check, Chunk, Device, Report, Variant, lane_variants

if TYPE_CHECKING:
    import pyopencl as cl
    from numpy.typing import NDArray

_PROFILED = 8
"""One of so many frames tells what its passes took: reading an event's times costs time."""


@dataclass(slots=True)
class _Timed:
    """The events of one frame, by pass where it is profiled."""

    began: cl.Event
    uploaded: list[cl.Event]
    ended: cl.Event | None = None
    parts: dict[str, list[cl.Event]] = field(default_factory=dict)


@dataclass(slots=True)
class _Again:
    """A frame that is checked, and its second drawing."""

    kept: Kept
    strips: Iterator[Strip]
    uploaded: list[cl.Event] = field(default_factory=list)
    pixels: Any = None
    copied: cl.Event | None = None


class FrameLoop(ABC):
    """Most of ``stress.workload.Workload``; one step is one strip of a frame."""

    name: str

    def __init__(self, device: Device, size: Size, strips: list[Strip], seed: int) -> None:
        """Allocate nothing yet."""
        self.notes: tuple[str, ...] = ()
        self._device, self._size, self._strips, self._seed = device, size, strips, seed
        self._rng = np.random.default_rng([seed, 21])
        self._screen = Screen(size.width, size.height)
        self._pacing = Pacing()
        self._is_measured = False
        self._step = 0
        self._timed: _Timed | None = None
        self._last_end_ns = 0
        self._check_wanted = True
        self._checking = False
        self._kept: Kept | None = None
        self._again: _Again | None = None

    # ---- what a load adds ----------------------------------------------------------------

    @abstractmethod
    def _drawing(self, lanes: int, size: Size) -> Drawing:
        """Compile and allocate; ``_scene``, ``_texture`` and ``_ripples`` are there."""

    @abstractmethod
    def _memory_bytes(self) -> int:
        """What one drawing needs."""

    @abstractmethod
    def _tick(self, frame: int) -> Mapping[str, NDArray[Any]]:
        """What is uploaded for a frame, by buffer."""

    @abstractmethod
    def _keep_rows(self, frame: int) -> Kept:
        """Start to read a frame just enqueued back."""

    @abstractmethod
    def _compare(self, kept: Kept) -> list[Check]:
        """A frame that has come back with the oracle."""

    # ---- the workload --------------------------------------------------------------------

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By pixels per work-item."""
        return lane_variants(device)

    def prepare(self, report: Report) -> None:
        """Bake the water, compile, allocate twice: to show, and to draw again on.

        Raises:
            WorkloadError: The device has too little memory for this size.
        """
        import pyopencl as cl

        need, size = 2 * self._memory_bytes() + TEXELS**2 * 4, self._size
        if need > self._device.memory_bytes:
            raise WorkloadError(
                f"{self.name} at {size.width}x{size.height} needs {need >> 20} MiB and "
                f"{self._device.memory_bytes >> 20} MiB are free: choose a smaller height"
            )
        report("making the scene", 0.0)
        self._scene = scene.Sculpture(self._seed)
        self._texture = scene.texture(self._seed)
        self._ripples = scene.ripples(self._seed, size.ripple_edge)
        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        self._texture_buffer = cl.Buffer(self._device.context, flags, hostbuf=self._texture)
        report("compiling", 0.3)
        self._shown = self._drawing(self._device.lanes, size)
        self._scratch = self._drawing(self._device.lanes, size)
        uploads = sum(array.nbytes for array in self._tick(0).values())
        self.notes = (
            f"{size.width}x{size.height}, {self._device.lanes} pixels per work-item",
            f"{scene.INSTANCES} moving objects, {uploads >> 10} KiB uploaded per frame",
        )
        report("ready", 1.0)

    def launch(self, steps: int) -> Chunk:
        """Enqueue the next ``steps`` strips."""
        self._draw_some_again()
        events: list[cl.Event] = []
        finished: list[_Timed] = []
        for _ in range(steps):
            frame, number = divmod(self._step, len(self._strips))
            if number == 0 or self._timed is None:
                self._timed = self._begin(frame)
                events.append(self._timed.began)
            parts = self._shown.draw(frame, self._strips[number], self._timed.uploaded)
            events += [event for part in parts.values() for event in part]
            if frame % _PROFILED == 0:
                for name, part in parts.items():
                    self._timed.parts.setdefault(name, []).extend(part)
            if number == len(self._strips) - 1:
                self._timed.ended = events[-1]
                finished.append(self._timed)
                self._keep(frame)
            self._step += 1
        self._device.queue.flush()
        return Chunk(steps / len(self._strips), events[0], events[-1], state=finished)

    def complete(self, chunk: Chunk) -> None:
        """Take the times of the frames that ended in it."""
        for timed in chunk.state:
            self._time(timed)
        chunk.state.clear()

    def verify(self) -> list[Check]:
        """A finished frame's passes against the oracle; a frame drawn again, when it is ready."""
        if not self._is_measured:  # frames before the first call were of tuning and ramp
            self._is_measured = True
            self._pacing.start_over()
        checks = []
        if self._kept is not None:
            kept, self._kept = self._kept, None
            kept.copied.wait()
            checks += self._compare(kept)
        if self._again is not None and self._again.copied is not None:
            again, self._again = self._again, None
            checks.append(_same(again))
            self._check_wanted = True
        return checks

    def readings(self) -> Mapping[str, float]:
        """Frame times, and what a frame spends its time on."""
        return self._pacing.readings()

    def frame(self) -> tuple[int, int, bytes] | None:
        """The latest picture that has come back; asks for the next, at most 30 times a second."""
        return self._screen.latest()

    # ---- one frame -----------------------------------------------------------------------

    def _begin(self, frame: int) -> _Timed:
        """The processor's part of a frame."""
        began = self._shown.begin()
        started_s = time.perf_counter()
        arrays = self._tick(frame)
        self._pacing.part("tick_ms", 1000.0 * (time.perf_counter() - started_s))
        self._checking = self._check_wanted and self._again is None
        if self._checking:
            self._check_wanted = False
            self._scratch.start_from(self._shown, frame)
        return _Timed(began, self._shown.upload(frame, arrays))

    def _time(self, timed: _Timed) -> None:
        """A frame lasts from the one before, or from when the host began it after a pause."""
        assert timed.ended is not None
        end_ns = timed.ended.profile.end
        frame_ns = end_ns - max(self._last_end_ns, timed.began.profile.queued)
        self._last_end_ns = end_ns
        if frame_ns <= 0:  # some drivers' clocks step back at times
            return
        self._pacing.add(frame_ns * 1e-9)
        if timed.parts:
            parts_ms = {name: _device_ms(events) for name, events in timed.parts.items()}
            for name, part_ms in parts_ms.items():
                self._pacing.part(f"{name}_ms", part_ms)
            self._pacing.part("upload_ms", _device_ms(timed.uploaded))
            busy_percent = 1e8 * sum(parts_ms.values()) / frame_ns
            self._pacing.part("cpu_wait_percent", max(0.0, 100.0 - busy_percent))

    def _keep(self, frame: int) -> None:
        """Read the frame just enqueued back, where somebody waits for it."""
        if self._checking:
            self._kept = self._keep_rows(frame)
            self._again = _Again(self._kept, iter(self._strips))
            self._checking = False
        if self._screen.wanted:
            self._screen.expect(*self._shown.read("picture"))

    def _draw_some_again(self) -> None:
        """One strip of the second drawing beside every chunk, so that nothing stalls."""
        again = self._again
        if again is None or again.copied is not None:
            return
        frame, strip = again.kept.frame, next(again.strips, None)
        if strip is None:
            again.pixels, again.copied = self._scratch.read("picture")
            return
        if not again.uploaded:
            again.uploaded = self._scratch.upload(frame, self._tick(frame))
        self._scratch.draw(frame, strip, again.uploaded)


def _device_ms(events: list[cl.Event]) -> float:
    return 1e-6 * float(sum(event.profile.end - event.profile.start for event in events))


def _same(again: _Again) -> Check:
    """The same frame from the same history must come out the same, bit for bit."""
    assert again.copied is not None
    again.copied.wait()
    changed = int((again.pixels != again.kept.whole["picture"]).sum())
    name = f"frame {again.kept.frame} drawn again"
    return Check(name, changed == 0, f"{changed} of {again.pixels.size} pixels changed")

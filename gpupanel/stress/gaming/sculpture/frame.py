"""gaming.frame: the host side of a frame loop as a game has it.

A frame is a tick on the processor, its upload, then the passes of a deferred renderer. Every pass
is compared with ``frame_oracle``, and whole frames are drawn again, bit for bit, from the same
history. Worker process only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.gaming.scene import TEXELS
from gpupanel.stress.gaming.screen import Screen
from gpupanel.stress.gaming.sculpture import scene
from gpupanel.stress.gaming.sculpture.frame_checks import Host, Kept, checks_of, choose_bands
from gpupanel.stress.gaming.sculpture.pacing import Pacing
from gpupanel.stress.gaming.sculpture.passes import TAPS, Passes, Programs, Size, Textures
from gpupanel.stress.workload import Check, Chunk, Device, Report, Variant, lane_variants

if TYPE_CHECKING:
    import pyopencl as cl

_BANDS_CPU = {"shadow": 1, "raster": 4, "occlude": 1, "shade": 4, "resolve": 2, "develop": 2}
"""Passes by row, in order, and in how many launches each is cut on a processor: about equal ones.
A GPU is fast enough to do each in one."""

_PROFILED = 8
"""One of so many frames tells what its passes took: reading an event's times costs time."""

_SELF_TEST_FRAMES = (128, 129, 130)
_SELF_TEST_SAMPLES = 500


@dataclass(frozen=True, slots=True)
class _Strip:
    """The smallest launch: some rows of one pass, and what goes before or after a pass."""

    name: str
    first: int
    last: int


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
    strips: Iterator[_Strip]
    uploaded: list[cl.Event] = field(default_factory=list)
    pixels: Any = None
    copied: cl.Event | None = None


class Frame:
    """Implements ``stress.workload.Workload``; one step is one strip of a frame."""

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        """Take the size of the picture from the knob ``height``; the width follows, 16 to 9."""
        self.notes: tuple[str, ...] = ()
        self._device, self._seed = device, seed
        height = knobs["height"]
        map_edge, ripple_edge = (512, 256) if device.is_cpu else (2048, 512)
        self._size = Size(height * 16 // 9, height, map_edge, ripple_edge)
        self._strips = _strips(self._size, is_cpu=device.is_cpu)
        self._rng = np.random.default_rng([seed, 21])
        self._screen = Screen(self._size.width, self._size.height)
        self._pacing = Pacing()
        self._step = 0
        self._timed: _Timed | None = None
        self._last_end_ns = 0
        self._check_wanted = True
        self._checking = False
        self._kept: Kept | None = None
        self._again: _Again | None = None

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By pixels per work-item."""
        return lane_variants(device)

    def prepare(self, report: Report) -> None:
        """Bake the water, compile, allocate twice: to show, and to draw again on.

        Raises:
            WorkloadError: The device has too little memory for this size.
        """
        need = 2 * self._size.memory_bytes() + TEXELS**2 * 4
        if need > self._device.memory_bytes:
            raise WorkloadError(
                f"gaming.frame at {self._size.width}x{self._size.height} needs {need >> 20} MiB "
                f"and {self._device.memory_bytes >> 20} MiB are free: choose a smaller height"
            )
        report("making the scene", 0.0)
        self._scene = scene.Sculpture(self._seed)
        self._texture = scene.texture(self._seed)
        self._ripples = scene.ripples(self._seed, self._size.ripple_edge)
        report("compiling", 0.3)
        self._passes = self._make_passes(self._device.lanes, self._size)
        self._scratch = self._make_passes(self._device.lanes, self._size)
        upload_kib = self._ripples[0].nbytes + self._scene.tick(0).nbytes >> 10
        self.notes = (
            f"{self._size.width}x{self._size.height}, {self._device.lanes} pixels per work-item",
            f"{scene.INSTANCES} moving objects, {upload_kib} KiB uploaded per frame",
        )
        report("ready", 1.0)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """A short run of small frames, every pass of the last against the oracle.

        Raises:
            WorkloadError: ``vectors`` was given; this load has none.
        """
        if vectors is not None:
            raise WorkloadError("gaming.frame has no vector files: run it without one")
        checks = []
        size = Size(160, 90, 256, self._size.ripple_edge)
        for lanes in sorted({1, self._device.lanes}):
            passes = self._make_passes(lanes, size)
            for frame in _SELF_TEST_FRAMES:
                self._draw_whole(passes, frame)
            kept = Kept(passes, _SELF_TEST_FRAMES[-1], [(0, size.height)])
            kept.copied.wait()
            checks += [
                Check(f"packets of {lanes}, {check.name}", check.passed, check.detail)
                for check in checks_of(
                    kept, self._host(kept.frame, size), self._rng, _SELF_TEST_SAMPLES
                )
            ]
        return checks

    def cost(self) -> Cost:
        """Each pass's planes written and read once, as a device must whose caches hold none."""
        size = self._size
        words = {"raster": 4, "occlude": 3, "shade": 7, "resolve": 10, "bright": 3, "develop": 4}
        uploads = self._ripples[0].nbytes + 4 * (scene.HEADER + scene.INSTANCE * scene.INSTANCES)
        pixels = size.width * size.height
        amount = 4 * (sum(words.values()) * pixels + 2 * size.map_edge**2) + 2 * uploads
        return Cost({Ceiling.COPY: amount})

    def launch(self, steps: int) -> Chunk:
        """Enqueue the next ``steps`` strips."""
        self._draw_some_again()
        events: list[cl.Event] = []
        finished: list[_Timed] = []
        for _ in range(steps):
            frame, number = divmod(self._step, len(self._strips))
            if number == 0:
                self._timed = self._begin(frame)
                events.append(self._timed.began)
            parts = _draw(self._passes, frame, self._strips[number], self._timed.uploaded)
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
        checks = []
        if self._kept is not None:
            kept, self._kept = self._kept, None
            kept.copied.wait()
            checks += checks_of(kept, self._host(kept.frame, self._size), self._rng)
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

    # ---- one frame ---------------------------------------------------------------------------

    def _begin(self, frame: int) -> _Timed:
        """The processor's part of a frame."""
        began = self._passes.begin()
        started_s = time.perf_counter()
        tick = self._scene.tick(frame)
        self._pacing.part("tick_ms", 1000.0 * (time.perf_counter() - started_s))
        uploaded = self._passes.upload(frame, tick, self._ripples[frame % scene.RIPPLE_FRAMES])
        self._checking = self._check_wanted and self._again is None
        if self._checking:
            self._check_wanted = False
            self._scratch.start_from(self._passes, frame)
        return _Timed(began, uploaded)

    def _time(self, timed: _Timed) -> None:
        """A frame lasts from the one before, or from when the host began it after a pause."""
        assert timed.ended is not None
        end_ns = timed.ended.profile.end
        frame_ns = end_ns - max(self._last_end_ns, timed.began.profile.queued)
        self._last_end_ns = end_ns
        if frame_ns <= 0:  # some drivers' clocks step back at times
            return
        self._pacing.add(frame_ns * 1e-9)
        if not timed.parts:
            return
        busy_ms = 0.0
        for name, events in timed.parts.items():
            part_ms = sum(event.profile.end - event.profile.start for event in events) * 1e-6
            self._pacing.part(f"{name}_ms", part_ms)
            busy_ms += part_ms
        upload_ns = sum(event.profile.end - event.profile.start for event in timed.uploaded)
        self._pacing.part("upload_ms", upload_ns * 1e-6)
        self._pacing.part("cpu_wait_percent", max(0.0, 100.0 - 1e8 * busy_ms / frame_ns))

    def _keep(self, frame: int) -> None:
        """Read the frame just enqueued back, where somebody waits for it."""
        if self._checking:
            bands = choose_bands(self._size, self._rng)
            self._kept = kept = Kept(self._passes, frame, bands)
            self._again = _Again(kept, iter(self._strips))
            self._checking = False
        if self._screen.wanted:
            self._screen.expect(*self._passes.read("picture"))

    def _draw_whole(self, passes: Passes, frame: int) -> None:
        host = self._host(frame, passes.size)
        uploaded = passes.upload(frame, host.tick, host.ripples)
        for strip in _strips(passes.size, is_cpu=False):
            _draw(passes, frame, strip, uploaded)

    def _draw_some_again(self) -> None:
        """One strip of the second drawing beside every chunk, so that nothing stalls."""
        again = self._again
        if again is None or again.copied is not None:
            return
        frame, strip = again.kept.frame, next(again.strips, None)
        if strip is None:
            again.pixels, again.copied = self._scratch.read("picture")
            return
        if strip == self._strips[0]:
            host = self._host(frame, self._size)
            again.uploaded = self._scratch.upload(frame, host.tick, host.ripples)
        _draw(self._scratch, frame, strip, again.uploaded)

    def _host(self, frame: int, size: Size) -> Host:
        return Host(
            self._scene.tick(frame), self._ripples[frame % scene.RIPPLE_FRAMES],
            self._texture, scene.occlusion_taps(size.height, TAPS),
        )  # fmt: skip

    def _make_passes(self, lanes: int, size: Size) -> Passes:
        context = self._device.context
        programs = Programs.make(context, lanes, size.ripple_edge)
        textures = Textures.upload(context, self._texture, size.height)
        return Passes(self._device.queue, programs, size, textures)


def _draw(
    passes: Passes, frame: int, strip: _Strip, uploaded: list[cl.Event]
) -> dict[str, list[cl.Event]]:
    """Enqueue one strip; its events by pass, in order."""
    parts: dict[str, list[cl.Event]] = {}
    if strip.first == 0 and strip.name == "shadow":
        parts["sort"] = passes.sort(frame, uploaded)
    if strip.first == 0 and strip.name == "develop":
        parts["glow"] = passes.glow(frame)
    parts[strip.name] = [passes.rows(frame, strip.name, strip.first, strip.last)]
    return parts


def _strips(size: Size, *, is_cpu: bool) -> list[_Strip]:
    strips = []
    for name, bands in _BANDS_CPU.items():
        count = bands if is_cpu else 1
        rows = size.map_edge if name == "shadow" else size.height
        edges = [rows * band // count for band in range(count + 1)]
        strips += [_Strip(name, *pair) for pair in pairwise(edges)]
    return strips


def _same(again: _Again) -> Check:
    """The same frame from the same history must come out the same, bit for bit."""
    assert again.copied is not None
    again.copied.wait()
    changed = int((again.pixels != again.kept.whole["picture"]).sum())
    name = f"frame {again.kept.frame} drawn again"
    return Check(name, changed == 0, f"{changed} of {again.pixels.size} pixels changed")

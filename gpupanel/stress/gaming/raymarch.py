"""gaming.raymarch: the host side of a frame loop over a ray-marched, lit, textured scene.

A frame is a tick on the processor and its upload, then march and shade in bands of rows, then
the post pass. The oracle is ``gaming.reference``, which shares no code with the kernels, and the
device itself: a band drawn again must come out bit for bit the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
from numpy.typing import NDArray  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Cost
from gpupanel.stress.gaming import reference, scene
from gpupanel.stress.gaming.canvas import BANDS, Canvas, Program, band_rows, memory_bytes
from gpupanel.stress.gaming.screen import Screen
from gpupanel.stress.workload import Check, Chunk, Device, Report, Variant, lane_variants

if TYPE_CHECKING:
    import pyopencl as cl

Picture = NDArray[np.uint8]

_SAMPLES_ACROSS = 8
_SELF_TEST_SIZE = (96, 54)
_SELF_TEST_FRAME = 100

MEAN_TOLERANCE = 2.0
"""Levels of 255 that sampled pixels may differ on average from the oracle."""
EDGE_TOLERANCE = 8
"""More than this many levels off, a pixel must be explained by an edge: see ``compare``."""
UNEXPLAINED_SHARE = 0.05
"""Of 64 samples."""
UNEXPLAINED_SHARE_OF_ALL = 0.01
"""Of a whole picture; one or two pixels of 5184 were seen."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A picture, or rows of one, on its way back from the device.

    Attributes:
        band: Which band was drawn again; 0 for a whole picture.
        uploaded: Kept, because letting go of an event waits for it.
    """

    frame: int
    band: int
    pixels: Picture
    copied: cl.Event
    uploaded: cl.Event | None = None


class Raymarch:
    """Implements ``stress.workload.Workload``; one step is one band of a frame."""

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        """Take the size of the picture from the knobs ``width`` and ``height``."""
        self.notes: tuple[str, ...] = ()
        self._device, self._seed = device, seed
        self._width, self._height = knobs["width"], knobs["height"]
        self._step = 0
        self._check_wanted = True
        self._checked: _Kept | None = None
        self._again: tuple[_Kept, Picture] | None = None
        self._checks_made = 0
        self._screen = Screen(self._width, self._height)

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By pixels per work-item."""
        return lane_variants(device)

    def prepare(self, report: Report) -> None:
        """Make the texture, compile, allocate two canvases: one to show, one to draw again on.

        Raises:
            WorkloadError: The device has too little memory for this size.
        """
        import pyopencl as cl

        need = 2 * memory_bytes(self._width, self._height) + scene.TEXELS**2 * 4
        if need > self._device.memory_bytes:
            raise WorkloadError(
                f"gaming.raymarch at {self._width}x{self._height} needs {need >> 20} MiB and "
                f"{self._device.memory_bytes >> 20} MiB are free: choose a smaller width and height"
            )
        report("making the texture", 0.0)
        self._texture = scene.texture(self._seed)
        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        self._texture_buffer = cl.Buffer(self._device.context, flags, hostbuf=self._texture)
        report("compiling", 0.3)
        program = Program.make(self._device.context, self._width, self._height, self._device.lanes)
        self._canvas = Canvas(self._device.queue, program, self._texture_buffer)
        self._scratch = Canvas(self._device.queue, program, self._texture_buffer)
        self.notes = (f"{self._width}x{self._height}, {self._device.lanes} pixels per work-item",)
        report("ready", 1.0)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Every pixel of a small frame against the oracle, for each packet width of this device.

        Raises:
            WorkloadError: ``vectors`` was given; this load has none.
        """
        if vectors is not None:
            raise WorkloadError("gaming.raymarch has no vector files: run it without one")
        width, height = _SELF_TEST_SIZE
        oracle = self._oracle_picture(_SELF_TEST_FRAME, width, height)
        tick = scene.tick(_SELF_TEST_FRAME, self._seed)
        checks = []
        for lanes in sorted({1, self._device.lanes}):
            program = Program.make(self._device.context, width, height, lanes)
            canvas = Canvas(self._device.queue, program, self._texture_buffer)
            canvas.upload(tick)
            canvas.draw(0, height)
            canvas.finish(0, height)
            pixels, copied = canvas.read(0, height)
            copied.wait()
            checks.append(_whole_agrees(f"{width}x{height}, packets of {lanes}", pixels, oracle))
        return checks

    def cost(self) -> Cost:
        """Not known: how far a ray marches depends on what it meets."""
        return Cost({})

    def launch(self, steps: int) -> Chunk:
        """Enqueue the next ``steps`` bands."""
        first = last = None
        kept_alive = []
        for _ in range(steps):
            frame, band = divmod(self._step, BANDS)
            if band == 0:
                kept_alive.append(self._canvas.upload(scene.tick(frame, self._seed)))
            marched, last = self._canvas.draw(*band_rows(self._height, band))
            first = first or marched
            if band == BANDS - 1:
                last = self._canvas.finish(0, self._height)
                self._keep(frame)
            self._step += 1
        self._device.queue.flush()
        assert first is not None
        assert last is not None
        return Chunk(work=steps / BANDS, first=first, last=last, state=kept_alive)

    def complete(self, chunk: Chunk) -> None:
        """Let go of the uploads; pictures have events of their own."""
        chunk.state.clear()

    def verify(self) -> list[Check]:
        """Sampled pixels of a finished frame against the oracle, and a band of it drawn again."""
        checks = []
        if self._again is not None:
            drawn_again, before = self._again
            drawn_again.copied.wait()
            checks.append(_same(drawn_again, before))
            self._again = None
        if self._checked is not None:
            kept, self._checked = self._checked, None
            kept.copied.wait()
            checks += [_alive(kept), self._samples_agree(kept)]
            self._draw_again(kept)
            self._checks_made += 1
            self._check_wanted = True
        return checks

    def readings(self) -> Mapping[str, float]:
        """Its rate says it all."""
        return {}

    def frame(self) -> tuple[int, int, bytes] | None:
        """The latest picture that has come back; asks for the next, at most 30 times a second."""
        return self._screen.latest()

    # ---- what is kept of a frame -----------------------------------------------------------

    def _keep(self, frame: int) -> None:
        """Read the frame just enqueued back, where somebody waits for it."""
        if not (self._check_wanted or self._screen.wanted):
            return
        kept = _Kept(frame, 0, *self._canvas.read(0, self._height))
        if self._check_wanted:
            self._checked, self._check_wanted = kept, False
        if self._screen.wanted:
            self._screen.expect(kept.pixels, kept.copied)

    def _draw_again(self, kept: _Kept) -> None:
        """Enqueue one band of a finished frame on the other canvas; the next verify() compares."""
        band = self._checks_made % BANDS
        first, last = band_rows(self._height, band)
        uploaded = self._scratch.upload(scene.tick(kept.frame, self._seed))
        self._scratch.draw(max(first - 1, 0), min(last + 1, self._height))
        self._scratch.finish(first, last)
        pixels, copied = self._scratch.read(first, last)
        self._device.queue.flush()
        again = _Kept(kept.frame, band, pixels, copied, uploaded)
        self._again = (again, kept.pixels[first:last])

    # ---- the oracle ------------------------------------------------------------------------

    def _samples_agree(self, kept: _Kept) -> Check:
        """One random pixel in each cell of a grid, so that no large region goes unseen."""
        rng = np.random.default_rng([self._seed, 3, self._checks_made])
        cell_y, cell_x = np.divmod(np.arange(_SAMPLES_ACROSS**2), _SAMPLES_ACROSS)
        inside = rng.random((2, _SAMPLES_ACROSS**2))
        columns = ((cell_x + inside[0]) * self._width / _SAMPLES_ACROSS).astype(np.int64)
        rows = ((cell_y + inside[1]) * self._height / _SAMPLES_ACROSS).astype(np.int64)
        number = np.arange(9)[:, None]
        near_columns = np.clip(columns + number % 3 - 1, 0, self._width - 1)
        near_rows = np.clip(rows + number // 3 - 1, 0, self._height - 1)
        drawn = reference.Scene(scene.tick(kept.frame, self._seed), self._texture)
        light = drawn.light(near_columns.ravel(), near_rows.ravel(), self._width, self._height)
        taps = light.reshape(3, 9, -1).transpose(1, 0, 2)
        oracle = reference.post(taps, columns, rows, self._width, self._height)
        shown = reference.developed(reference.film(taps), columns, rows, self._width, self._height)
        return compare(
            f"frame {kept.frame} against the oracle",
            kept.pixels[rows, columns, :3].T, oracle, shown.min(axis=0), shown.max(axis=0),
        )  # fmt: skip

    def _oracle_picture(self, frame: int, width: int, height: int) -> NDArray[np.int64]:
        """All of a small frame, ``(height, width, 3)``."""
        rows, columns = np.divmod(np.arange(width * height), width)
        drawn = reference.Scene(scene.tick(frame, self._seed), self._texture)
        light = drawn.light(columns, rows, width, height).reshape(3, height, width)
        ringed = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
        taps = np.stack(
            [ringed[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
        )
        levels = reference.post(taps.reshape(9, 3, -1), columns, rows, width, height)
        return levels.reshape(3, height, width).transpose(1, 2, 0)


def compare(
    name: str,
    pixels: NDArray[Any],
    oracle: NDArray[Any],
    darkest: NDArray[Any],
    brightest: NDArray[Any],
    unexplained_share: float = UNEXPLAINED_SHARE,
) -> Check:
    """Sampled pixels against the oracle, all arguments ``(3, N)`` in levels of 255.

    float32 and float64 may disagree on which side of an edge a ray passes, by far more than
    rounding. Such a pixel shows what the oracle sees beside it: it must lie between the darkest
    and the brightest of the oracle's 3 x 3 neighbourhood. Thin and mirrored edges escape that
    test now and then, hence ``unexplained_share``; all other pixels count toward the mean.
    """
    levels = pixels.astype(np.int64)
    off = np.abs(levels - oracle.astype(np.int64))
    outside = np.maximum(darkest - levels, levels - brightest).max(axis=0) > EDGE_TOLERANCE
    edge = off.max(axis=0) > EDGE_TOLERANCE
    unexplained = int((edge & outside).sum())
    mean = float(off[:, ~edge].mean()) if not edge.all() else float("inf")
    passed = mean <= MEAN_TOLERANCE and unexplained <= unexplained_share * edge.size
    detail = (
        f"{mean:.2f}/255 mean of {edge.size} pixels, {edge.sum()} at edges, {unexplained} wrong"
    )
    return Check(name, passed, detail)


def _whole_agrees(name: str, pixels: Picture, oracle: NDArray[np.int64]) -> Check:
    """Every pixel of a picture by the rule of ``compare``."""
    height, width, _ = oracle.shape
    ringed = np.pad(oracle, ((1, 1), (1, 1), (0, 0)), mode="edge")
    near = np.stack([ringed[y : y + height, x : x + width] for y in range(3) for x in range(3)])
    shown, exact, darkest, brightest = (
        picture.reshape(-1, 3).T
        for picture in (pixels[..., :3], oracle, near.min(axis=0), near.max(axis=0))
    )
    return compare(name, shown, exact, darkest, brightest, UNEXPLAINED_SHARE_OF_ALL)


def _alive(kept: _Kept) -> Check:
    """The scene has light and dark in every frame; X marks pixels that are not finite."""
    broken = int((kept.pixels[..., 3] != 255).sum())
    spread = float(kept.pixels[::4, ::4, :3].std())
    passed = broken == 0 and spread > 10.0
    detail = f"{broken} pixels not finite, contrast {spread:.0f}/255"
    return Check(f"frame {kept.frame} is a picture", passed, detail)


def _same(again: _Kept, before: Picture) -> Check:
    changed = int((again.pixels != before).any(axis=-1).sum())
    name = f"frame {again.frame}, band {again.band + 1} of {BANDS} drawn again"
    return Check(name, changed == 0, f"{changed} of {before[..., 0].size} pixels changed")

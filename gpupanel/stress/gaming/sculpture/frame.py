"""gaming.frame: a deferred renderer's frame, every pass checked while it runs.

Worker process only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.gaming.scene import TEXELS
from gpupanel.stress.gaming.sculpture import scene
from gpupanel.stress.gaming.sculpture.drawing import TICK_WORDS, Programs, Size
from gpupanel.stress.gaming.sculpture.frame_checks import Host, checks_of, keep
from gpupanel.stress.gaming.sculpture.kept import Kept, choose_bands
from gpupanel.stress.gaming.sculpture.loop import FrameLoop
from gpupanel.stress.gaming.sculpture.passes import KERNEL_FILE, TAPS, Passes, strips
from gpupanel.stress.workload import Check, Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SELF_TEST_FRAMES = (128, 129, 130)
_SELF_TEST_SAMPLES = 200


class Frame(FrameLoop):
    """Implements ``stress.workload.Workload``; one step is one strip of a frame."""

    name = "gaming.frame"

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        """Take the size of the picture from the knob ``height``; the width follows, 16 to 9."""
        height = knobs["height"]
        ripple_edge, map_edge = (256, 512) if device.is_cpu else (512, 2048)
        size = Size(height * 16 // 9, height, ripple_edge, map_edge)
        super().__init__(device, size, strips(size, is_cpu=device.is_cpu), seed)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """A short run of small frames, every pass of the last against the oracle.

        Raises:
            WorkloadError: ``vectors`` was given; this load has none.
        """
        if vectors is not None:
            raise WorkloadError("gaming.frame has no vector files: run it without one")
        size = Size(160, 90, self._size.ripple_edge, 256)
        checks = []
        for lanes in sorted({1, self._device.lanes}):
            passes = self._drawing(lanes, size)
            for frame in _SELF_TEST_FRAMES:
                uploaded = passes.upload(frame, self._tick(frame))
                for strip in strips(size, is_cpu=False):
                    passes.draw(frame, strip, uploaded)
            kept = keep(passes, _SELF_TEST_FRAMES[-1], [(0, size.height)])
            kept.copied.wait()
            found = checks_of(kept, self._host(kept), self._rng, _SELF_TEST_SAMPLES)
            checks += [
                Check(f"packets of {lanes}, {check.name}", check.passed, check.detail)
                for check in found
            ]
        return checks

    def cost(self) -> Cost:
        """Each pass's planes written and read once, as a device must whose caches hold none."""
        words = {"raster": 4, "occlude": 3, "shade": 7, "resolve": 10, "bright": 3, "develop": 4}
        size = self._size
        uploads = TICK_WORDS + size.ripple_edge**2
        pixels = size.width * size.height
        return Cost(
            {Ceiling.COPY: 4 * (sum(words.values()) * pixels + 2 * size.map_edge**2 + 2 * uploads)}
        )

    def _drawing(self, lanes: int, size: Size) -> Passes:
        knobs = {
            "INSTANCES": scene.INSTANCES, "LAMPS": scene.LAMPS,
            "TEXELS": TEXELS, "RIPPLES": size.ripple_edge,
        }  # fmt: skip
        programs = Programs.make(self._device.context, KERNEL_FILE, lanes, knobs)
        return Passes(self._device.queue, programs, size, self._texture_buffer)

    def _memory_bytes(self) -> int:
        return Passes.memory_bytes(self._size)

    def _tick(self, frame: int) -> dict[str, NDArray[Any]]:
        ripples = self._ripples[frame % scene.RIPPLE_FRAMES]
        return {"tick": self._scene.tick(frame), "ripples": ripples}

    def _keep_rows(self, frame: int) -> Kept:
        return keep(self._shown, frame, choose_bands(self._size, self._rng))

    def _compare(self, kept: Kept) -> list[Check]:
        return checks_of(kept, self._host(kept), self._rng)

    def _host(self, kept: Kept) -> Host:
        taps = scene.occlusion_taps(kept.size.height, TAPS)
        return Host(texture=self._texture, taps=taps, **self._tick(kept.frame))

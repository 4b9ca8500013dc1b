"""gaming.pathtrace: the scene of gaming.frame by path tracing, checked while it runs.

The scene stands still for a shot of frames, whose paths add up to an ever cleaner picture. A frame
is a function of its number: made again from the first of its shot. Worker process only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Cost
from gpupanel.stress.gaming.scene import TEXELS
from gpupanel.stress.gaming.sculpture import post_oracle, scene
from gpupanel.stress.gaming.sculpture.drawing import Drawing, Programs, Size
from gpupanel.stress.gaming.sculpture.kept import (
    SAMPLES_PER_BAND,
    Kept,
    Planes,
    alive,
    choose_bands,
    glow_off,
    judged,
    levels_off,
    light_off,
    same_memory,
)
from gpupanel.stress.gaming.sculpture.loop import FrameLoop
from gpupanel.stress.gaming.sculpture.oracle import Floats, Sculpted
from gpupanel.stress.gaming.sculpture.path_oracle import PathOracle
from gpupanel.stress.gaming.sculpture.paths import (
    KERNEL_FILE,
    SHOT_FRAMES,
    Paths,
    Plan,
    clustered,
    scene_frame,
    strips,
)
from gpupanel.stress.workload import Check, Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SELF_TEST_FRAMES = (SHOT_FRAMES, SHOT_FRAMES + 1)
_SELF_TEST_SAMPLES = 400

PARTED_SHARE, PARTED_SHARE_OF_SELF_TEST = 0.08, 0.025
"""Of the sampled pixels: in single and double precision, paths part where one passes an edge by
less than rounding, and what they bring from then on has nothing in common. One pixel in 1000 at the
default knobs, in 500 with 4 paths or 8 bounces; the shares are of 64 samples and of 400."""


class Pathtrace(FrameLoop):
    """Implements ``stress.workload.Workload``; one step is one strip of a frame."""

    name = "gaming.pathtrace"

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        """Take the knobs ``height``, ``paths`` and ``bounces``; the width follows, 16 to 9."""
        height = knobs["height"]
        size = Size(height * 16 // 9, height, ripple_edge=256)
        super().__init__(device, size, strips(size, is_cpu=device.is_cpu), seed)
        self._plan = Plan(knobs["paths"], knobs["bounces"])
        self._moment = -1
        self._still: dict[str, NDArray[Any]] = {}

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Two small frames, sampled pixels of the second against the oracle.

        Raises:
            WorkloadError: ``vectors`` was given; this load has none.
        """
        if vectors is not None:
            raise WorkloadError("gaming.pathtrace has no vector files: run it without one")
        size = Size(160, 90, self._size.ripple_edge)
        checks = []
        for lanes in sorted({1, self._device.lanes}):
            paths = self._drawing(lanes, size)
            for frame in _SELF_TEST_FRAMES:
                uploaded = paths.upload(frame, self._tick(frame))
                for strip in strips(size, is_cpu=False):
                    paths.draw(frame, strip, uploaded)
            kept = self._kept_from(paths, _SELF_TEST_FRAMES[-1], [(0, size.height)])
            kept.copied.wait()
            checks += [
                Check(f"packets of {lanes}, {check.name}", check.passed, check.detail)
                for check in self._checks_of(kept, _SELF_TEST_SAMPLES, PARTED_SHARE_OF_SELF_TEST)
            ]
        return checks

    def cost(self) -> Cost:
        """Not known: what a path needs depends on what it meets."""
        return Cost({})

    def _drawing(self, lanes: int, size: Size) -> Paths:
        knobs = {"INSTANCES": scene.INSTANCES, "TEXELS": TEXELS, "RIPPLES": size.ripple_edge}
        programs = Programs.make(self._device.context, KERNEL_FILE, lanes, knobs)
        return Paths(self._device.queue, programs, size, self._texture_buffer, self._plan)

    def _memory_bytes(self) -> int:
        return Paths.memory_bytes(self._size)

    def _tick(self, frame: int) -> dict[str, NDArray[Any]]:
        moment = scene_frame(frame)
        if moment != self._moment:
            tick, clusters = clustered(self._scene.tick(moment))
            ripples = self._ripples[moment % scene.RIPPLE_FRAMES]
            self._moment = moment
            self._still = {"tick": tick, "clusters": clusters, "ripples": ripples}
        return self._still

    def _keep_rows(self, frame: int) -> Kept:
        return self._kept_from(self._shown, frame, choose_bands(self._size, self._rng))

    def _kept_from(self, paths: Drawing, frame: int, bands: list[tuple[int, int]]) -> Kept:
        before = {"before": Planes(f"history{1 - frame % 2}", 3, 0)}
        return Kept(paths, frame, bands, ("tick", "clusters", "ripples"), before)

    def _compare(self, kept: Kept) -> list[Check]:
        return self._checks_of(kept, SAMPLES_PER_BAND, PARTED_SHARE)

    def _checks_of(self, kept: Kept, samples: int, parted_share: float) -> list[Check]:
        """A frame's paths, glow and picture, at samples in each band."""
        given = self._tick(kept.frame)
        oracle = PathOracle(Sculpted(given["tick"], self._texture, given["ripples"]), kept.size)
        off: dict[str, list[Floats]] = {"paths": [], "picture": []}
        for band in kept.bands:
            columns, rows = band.pixels(kept.size.width, samples, self._rng)
            before, after = band.rows["before"], band.rows["after"]
            first, paths, bounces, held = self._plan.of(kept.frame)
            exact = sum(
                oracle.light(columns, rows, first + k, bounces) / paths for k in range(paths)
            )
            # The mean moved by this much: what this frame's paths brought is computed from it.
            old = before.floats(columns, rows) if held else 0.0
            brought = old + (after.floats(columns, rows) - old) * (held + paths) / paths
            off["paths"].append(light_off(np.asarray(exact), brought))
            shown = post_oracle.develop(kept.size, columns, rows, after, kept.glow("glow"))
            off["picture"].append(levels_off(kept, shown, columns, rows))
        checks = [
            same_memory(kept, {**given, "texture": self._texture}),
            alive(kept),
            judged("glow", glow_off(kept)),
            judged("paths", np.concatenate(off["paths"]), parted_share),
            judged("picture", np.concatenate(off["picture"])),
        ]
        named = f"frame {kept.frame}, "
        return [Check(named + check.name, check.passed, check.detail) for check in checks]

"""The paths of ``gaming.pathtrace`` on the device. Worker process only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.gaming.sculpture import scene
from gpupanel.stress.gaming.sculpture.drawing import TICK_WORDS, Drawing, Programs, Size, Strip

if TYPE_CHECKING:
    import pyopencl as cl
    from numpy.typing import NDArray

KERNEL_FILE = "gaming_pathtrace.cl"
CLUSTER = 16
SHOT_FRAMES = 64
"""The scene stands still for as many frames, while their paths add up; then the next shot."""

_SHOT_APART = 150
"""Frames of the moving scene from shot to shot."""

_BANDS_CPU, _BANDS_GPU = 24, 4


@dataclass(frozen=True, slots=True)
class Plan:
    """How many paths a frame adds to each pixel, and how often each may bounce."""

    paths: int
    bounces: int

    def of(self, frame: int) -> tuple[int, int, int, int]:
        """First path, paths, bounces, and how many the mean holds: ``plan`` of the kernel."""
        return frame * self.paths, self.paths, self.bounces, frame % SHOT_FRAMES * self.paths


def strips(size: Size, *, is_cpu: bool) -> list[Strip]:
    """A frame as its launches, in order."""
    bands = _BANDS_CPU if is_cpu else _BANDS_GPU
    return [*Strip.cut("trace", size.height, bands), Strip("develop", 0, size.height)]


def scene_frame(frame: int) -> int:
    """The frame of the moving scene that a frame's shot shows."""
    return frame // SHOT_FRAMES * _SHOT_APART


def clustered(tick: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same scene with near instances side by side, and boxes around every CLUSTER of them.

    They are sorted along G. M. Morton's curve, which interleaves the bits of the coordinates.
    """
    header, instances = tick[: scene.HEADER], tick[scene.HEADER :].reshape(-1, scene.INSTANCE)
    centres = instances[:, :3]
    low, high = centres.min(axis=0), centres.max(axis=0)
    place = ((centres - low) / (high - low) * 1023.0).astype(np.int64)
    code = np.zeros(len(place), np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= (place[:, axis] >> bit & 1) << (3 * bit + axis)
    instances = instances[np.argsort(code, kind="stable")]
    reach = _reach(instances)
    corners = np.zeros((len(instances) // CLUSTER, 8), np.float32)
    members = (-1, CLUSTER, 3)
    corners[:, 0:3] = (instances[:, :3] - reach).reshape(members).min(axis=1) - 1e-4
    corners[:, 4:7] = (instances[:, :3] + reach).reshape(members).max(axis=1) + 1e-4
    return np.concatenate([header, instances.ravel()]), corners


def _reach(instances: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far instances extend along the coordinates, ``(N, 3)``."""
    axes = np.abs(instances[:, 4:16].reshape(-1, 3, 4))
    boxes = (axes[:, :, :3] * axes[:, :, 3:]).sum(axis=1)
    reach: NDArray[np.float32] = np.where(instances[:, 19:20] < 0, instances[:, 3:4], boxes)
    return reach


class Paths(Drawing):
    """The mean of a shot's paths so far, before and after a frame."""

    def __init__(
        self,
        queue: cl.CommandQueue,
        programs: Programs,
        size: Size,
        texture: cl.Buffer,
        plan: Plan,
    ) -> None:
        """Allocate; the texture is shared between pictures."""
        super().__init__(queue, programs, size, {"texture": texture})
        self.plan = plan

    @classmethod
    def words(cls, size: Size) -> dict[str, int]:
        """See ``Drawing``."""
        clusters = 8 * scene.INSTANCES // CLUSTER
        return {
            "tick0": TICK_WORDS, "tick1": TICK_WORDS,
            "clusters0": clusters, "clusters1": clusters,
            "ripples0": size.ripple_edge**2, "ripples1": size.ripple_edge**2,
        }  # fmt: skip

    def draw(self, frame: int, strip: Strip, uploaded: list[cl.Event]) -> dict[str, list[cl.Event]]:
        """See ``Drawing``; the glow goes before the picture."""
        if strip.name == "develop":
            return {
                "glow": self._glow(frame),
                "develop": [self._rows(frame, strip, self.size.width)],
            }
        plan = self._cl.cltypes.make_int4(*self.plan.of(frame))
        self._kernels[frame % 2]["trace"].set_arg(7, plan)
        waits = uploaded if strip.first == 0 else None
        return {"trace": [self._rows(frame, strip, self.size.width, waits)]}

    def _main_kernels(self, programs: Programs, parity: int) -> dict[str, cl.Kernel]:
        names = "tick texture ripples clusters before history"
        return {"trace": self._kernel(programs.main, "trace", parity, names)}

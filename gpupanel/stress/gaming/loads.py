"""The gaming loads. Imports nothing of OpenCL."""

from __future__ import annotations

from gpupanel.model.workload import Family, Knob, Reading, WorkloadInfo

_SCREEN_HEIGHTS = (90, 180, 360, 720, 1080, 1440, 2160)
_PASSES = (
    ("tick", "CPU tick", "Moving the scene on the processor"),
    ("upload", "Upload", "Copying what moved to the device, beside other work"),
    ("sort", "Sorting", "Finding out which objects may show in which tile"),
    ("shadow", "Shadow map", "The scene as the sun sees it"),
    ("raster", "G-buffer", "Depth, normal, material and motion of every pixel"),
    ("occlude", "Ambient occlusion", "How much of the sky each point sees"),
    ("shade", "Shading", "Light of sun, lamps and sky on textured materials"),
    ("resolve", "Anti-aliasing", "This frame and those before it, blended where they belong"),
    ("glow", "Bloom", "The halo of what is too bright"),
    ("develop", "Tone mapping", "From light to what a screen shows"),
)

_PACING = (
    Reading("frame_time_p50_ms", "Frame time", "ms", "Half of the frames are faster."),
    Reading("frame_time_p99_ms", "Frame time, 99 %", "ms", "99 % of the frames are faster."),
    Reading(
        "fps_1_percent_low_percentile", "1 % low (percentile)", "fps",
        "The rate of the frame time that 1 % of the frames exceed.",
    ),
    Reading(
        "fps_1_percent_low_mean", "1 % low (mean)", "fps",
        "The mean rate of the slowest 1 % of the frames.",
    ),
    Reading(
        "cpu_wait_percent", "Waiting for the CPU", "%",
        "Share of a frame in which the device had nothing to do.",
    ),
)  # fmt: skip


def _pass(key: str, title: str, does: str) -> Reading:
    return Reading(f"{key}_ms", title, "ms", f"{does}; one of eight frames is measured.")


LOADS: tuple[WorkloadInfo, ...] = (
    WorkloadInfo(
        name="gaming.raymarch",
        family=Family.GAMING,
        title="Ray-marched scene",
        summary="A lit, textured scene, one frame after another.",
        unit="frame",
        kernel="gaming_raymarch.cl",
        host="gpupanel.stress.gaming.raymarch:Raymarch",
        knobs=(
            Knob("width", 1920, 640, 160, 3840, "Width of the frame in pixels."),
            Knob("height", 1080, 360, 90, 2160, "Height of the frame in pixels."),
        ),
        probe_knobs={"width": 640, "height": 360},
    ),
    WorkloadInfo(
        name="gaming.frame",
        family=Family.GAMING,
        title="Game frame",
        summary="A deferred renderer: 2048 moving objects, shadows, bloom, anti-aliasing.",
        unit="frame",
        kernel="gaming_frame.cl",
        host="gpupanel.stress.gaming.sculpture.frame:Frame",
        knobs=(
            Knob(
                "height", 1080, 360, 90, 2160,
                "Height of the frame in pixels; the width follows, 16 to 9.", _SCREEN_HEIGHTS,
            ),
        ),
        readings=(*_PACING, *(_pass(*each) for each in _PASSES)),
    ),
    WorkloadInfo(
        name="gaming.pathtrace",
        family=Family.GAMING,
        title="Path tracing",
        summary="The scene of the game frame by following light: what ray tracing cores replace.",
        unit="frame",
        kernel="gaming_pathtrace.cl",
        host="gpupanel.stress.gaming.sculpture.pathtrace:Pathtrace",
        knobs=(
            Knob(
                "height", 1080, 360, 90, 2160,
                "Height of the frame in pixels; the width follows, 16 to 9.", _SCREEN_HEIGHTS,
            ),
            Knob("paths", 1, 1, 1, 4, "Paths per pixel and frame."),
            Knob("bounces", 3, 3, 1, 8, "How often a path may bounce."),
        ),
        readings=(
            *_PACING,
            *(_pass(*each) for each in _PASSES if each[0] in ("tick", "upload")),
            _pass("trace", "Tracing", "Following the paths"),
            *(_pass(*each) for each in _PASSES if each[0] in ("glow", "develop")),
        ),
    ),
)  # fmt: skip

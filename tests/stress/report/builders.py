"""Records of runs that never happened, for tests of what is made of them."""

from __future__ import annotations

from gpupanel.model.gpu import GpuInfo, GpuKind, Sample
from gpupanel.model.workload import Failed, Finished, Progress, Run, Started
from gpupanel.stress.report.record import Recorder, RunRecord

RATE, UNCAPPED, LIMIT = 45e6, 90e6, 100e6


def gpu(name: str = "NVIDIA GeForce RTX 3080") -> GpuInfo:
    return GpuInfo("GPU-1", name, "nvidia", GpuKind.GPU, "nvml", driver_version="550.1")


def started(**changes: object) -> Started:
    values: dict[str, object] = {
        "workload": "mining.ethash", "gpu": "GPU-1", "device": "RTX 3080", "platform": "CUDA",
        "unit": "hash", "cap_percent": 50, "chunk_ms": 50.0, "knobs": {"epoch": 0},
        "variant": "one result per work-item",
        "ceilings": {"random_128b": LIMIT * 8192, "int32": 15e12},
        "cost": {"random_128b": 8192.0, "int32": 20e3},
        "limit_per_s": LIMIT, "limited_by": "random_128b", "notes": ("a note",),
    }  # fmt: skip
    return Started(**{**values, **changes})  # type: ignore[arg-type]


def finished(**changes: object) -> Finished:
    values: dict[str, object] = {
        "workload": "mining.ethash", "gpu": "GPU-1", "seconds": 70.0, "work": RATE * 70,
        "work_per_s": RATE, "unit": "hash", "limit_per_s": LIMIT, "limit_share": 0.9,
        "verified": True, "errors": 0, "checks": 140, "cap_percent": 50,
        "uncapped_work_per_s": UNCAPPED, "efficiency_percent": 50.0, "energy_j": 14_000.0,
        "stop_reason": "time", "limited_by": "random_128b", "stability_percent": 99.0,
    }  # fmt: skip
    return Finished(**{**values, **changes})  # type: ignore[arg-type]


def record(
    last: Finished | Failed | None = None, name: str = "NVIDIA GeForce RTX 3080"
) -> RunRecord:
    recorder = Recorder(Run("mining.ethash", "GPU-1", 70.0, 50), gpu(name), 1_800_000_000.0)
    recorder.event(started(), 100.0, 1_800_000_001.0)
    for second in range(1, 71):
        recorder.event(
            Progress("mining.ethash", "GPU-1", float(second), RATE * second, RATE, UNCAPPED,
                     "hash", 2 * second, 0),
            100.0 + second, 1_800_000_001.0 + second,
        )  # fmt: skip
        readings = {"power_draw_w": 200.0, "temperature_gpu_c": 60.0, "utilization_gpu_percent": 50}
        sample = Sample("GPU-1", readings, limited_by=("power_cap",) if second > 35 else ())
        recorder.sample(sample, 100.0 + second)
    recorder.event(last or finished(), 171.0, 1_800_000_071.0)
    return recorder.record()

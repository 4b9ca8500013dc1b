"""METRICS, the one table of what a GPU can report.

Each row: key with its unit, bounds of a plausible value, label, help, and where each vendor's
driver gives it. Labels are marked for translation with a Qt-free QT_TRANSLATE_NOOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


def QT_TRANSLATE_NOOP(context: str, text: str) -> str:  # noqa: N802 - the name that lupdate extracts
    """Mark a text for translation without importing Qt."""
    del context
    return text


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that a GPU can report.

    Attributes:
        key: Name with unit, as in DESIGN section 3.
        unit: As shown on screen: %, W, °C, MHz, B, B/s.
        low: Least plausible value; a reading below is Unavailable("implausible").
        high: Greatest plausible value.
        help: What the number means, for a person.
        sources: Backend name to the call or file it comes from.
    """

    key: str
    unit: str
    low: float
    high: float
    label: str
    help: str
    sources: Mapping[str, str]


METRICS: tuple[Metric, ...] = (
    Metric(
        "utilization_gpu_percent", "%", 0, 100,
        QT_TRANSLATE_NOOP("Metrics", "GPU utilization"),
        QT_TRANSLATE_NOOP("Metrics", "Share of time in which at least one kernel ran."),
        {"nvml": "nvmlDeviceGetUtilizationRates.gpu", "host": "psutil.cpu_times, differentiated"},
    ),
    Metric(
        "utilization_memory_percent", "%", 0, 100,
        QT_TRANSLATE_NOOP("Metrics", "Memory controller"),
        QT_TRANSLATE_NOOP("Metrics", "Share of time in which memory was read or written."),
        {"nvml": "nvmlDeviceGetUtilizationRates.memory"},
    ),
    Metric(
        "power_draw_w", "W", 0, 2000,
        QT_TRANSLATE_NOOP("Metrics", "Power draw"),
        QT_TRANSLATE_NOOP("Metrics", "Power of the whole board; of the package for a processor."),
        {"nvml": "nvmlDeviceGetPowerUsage (mW)", "host": "powercap energy_uj, differentiated"},
    ),
    Metric(
        "power_limit_w", "W", 0, 2000,
        QT_TRANSLATE_NOOP("Metrics", "Power limit"),
        QT_TRANSLATE_NOOP("Metrics", "The limit that the driver enforces now."),
        {"nvml": "nvmlDeviceGetEnforcedPowerLimit (mW)", "host": "powercap power_limit_uw"},
    ),
    Metric(
        "temperature_gpu_c", "°C", -20, 150,
        QT_TRANSLATE_NOOP("Metrics", "Temperature"),
        QT_TRANSLATE_NOOP("Metrics", "Temperature of the chip."),
        {"nvml": "nvmlDeviceGetTemperature", "host": "hwmon coretemp, k10temp, zenpower"},
    ),
    Metric(
        "memory_used_bytes", "B", 0, 2**46,
        QT_TRANSLATE_NOOP("Metrics", "Memory used"),
        QT_TRANSLATE_NOOP("Metrics", "Memory that programs hold; system memory for a processor."),
        {"nvml": "nvmlDeviceGetMemoryInfo_v2.used", "host": "psutil.virtual_memory().used"},
    ),
    Metric(
        "memory_total_bytes", "B", 0, 2**46,
        QT_TRANSLATE_NOOP("Metrics", "Memory"),
        QT_TRANSLATE_NOOP("Metrics", "Memory that programs can hold."),
        {"nvml": "nvmlDeviceGetMemoryInfo_v2.total", "host": "psutil.virtual_memory().total"},
    ),
    Metric(
        "clock_graphics_mhz", "MHz", 0, 10000,
        QT_TRANSLATE_NOOP("Metrics", "Graphics clock"),
        QT_TRANSLATE_NOOP("Metrics", "Clock of the shader cores; mean of a processor's cores."),
        {"nvml": "nvmlDeviceGetClockInfo(GRAPHICS)", "host": "/proc/cpuinfo, else psutil.cpu_freq"},
    ),
    Metric(
        "clock_memory_mhz", "MHz", 0, 20000,
        QT_TRANSLATE_NOOP("Metrics", "Memory clock"),
        QT_TRANSLATE_NOOP("Metrics", "Clock of the memory as the driver counts it."),
        {"nvml": "nvmlDeviceGetClockInfo(MEM)"},
    ),
    Metric(
        "fan_speed_percent", "%", 0, 200,
        QT_TRANSLATE_NOOP("Metrics", "Fan speed"),
        QT_TRANSLATE_NOOP("Metrics", "Speed that the driver asks for; may exceed 100 by design."),
        {"nvml": "nvmlDeviceGetFanSpeed_v2(0)"},
    ),
)  # fmt: skip

METRIC_BY_KEY: Mapping[str, Metric] = {metric.key: metric for metric in METRICS}

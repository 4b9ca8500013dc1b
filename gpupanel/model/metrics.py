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
        unit: As shown on screen: %, W, J, °C, MHz, mV, rpm, B, B/s; empty for a plain number.
        low: Least plausible value; a reading below is Unavailable("implausible").
        high: Greatest plausible value.
        help: What the number means, for a person.
        sources: Backend name to the call or file it comes from.
        pace_s: A backend reads it no more often than this; 0 is every tick.
        is_remembered: Whether history keeps it; limits and counters are only shown as they are.
    """

    key: str
    unit: str
    low: float
    high: float
    label: str
    help: str
    sources: Mapping[str, str]
    pace_s: float = 0.0
    is_remembered: bool = True


COUNTER_PACE_S = 10.0
"""Counters of faults hardly ever move, and some drivers take milliseconds to count them."""

METRICS: tuple[Metric, ...] = (
    Metric(
        "utilization_gpu_percent", "%", 0, 100,
        QT_TRANSLATE_NOOP("Metrics", "GPU utilization"),
        QT_TRANSLATE_NOOP("Metrics", "Share of time in which at least one kernel ran."),
        {
            "nvml": "nvmlDeviceGetUtilizationRates.gpu",
            "amdgpu": "gpu_busy_percent",
            "intel": "busiest engine of fdinfo",
            "wddm": "busiest engine of GPU Engine",
            "host": "psutil.cpu_times, differentiated",
        },
    ),
    Metric(
        "utilization_memory_percent", "%", 0, 100,
        QT_TRANSLATE_NOOP("Metrics", "Memory controller"),
        QT_TRANSLATE_NOOP("Metrics", "Share of time in which memory was read or written."),
        {"nvml": "nvmlDeviceGetUtilizationRates.memory", "amdgpu": "mem_busy_percent"},
    ),
    Metric(
        "utilization_encoder_percent", "%", 0, 100,
        QT_TRANSLATE_NOOP("Metrics", "Video encoder"),
        QT_TRANSLATE_NOOP("Metrics", "Share of time in which the video encoder ran."),
        {"nvml": "nvmlDeviceGetEncoderUtilization", "wddm": "engtype_VideoEncode"},
    ),
    Metric(
        "utilization_decoder_percent", "%", 0, 100,
        QT_TRANSLATE_NOOP("Metrics", "Video decoder"),
        QT_TRANSLATE_NOOP("Metrics", "Share of time in which the video decoder ran."),
        {
            "nvml": "nvmlDeviceGetDecoderUtilization",
            "amdgpu": "vcn_busy_percent",
            "wddm": "engtype_VideoDecode",
        },
    ),
    Metric(
        "utilization_jpeg_percent", "%", 0, 100,
        QT_TRANSLATE_NOOP("Metrics", "JPEG engine"),
        QT_TRANSLATE_NOOP("Metrics", "Share of time in which the JPEG engine ran."),
        {"nvml": "nvmlDeviceGetJpgUtilization"},
    ),
    Metric(
        "utilization_optical_flow_percent", "%", 0, 100,
        QT_TRANSLATE_NOOP("Metrics", "Optical flow engine"),
        QT_TRANSLATE_NOOP("Metrics", "Share of time in which the optical flow engine ran."),
        {"nvml": "nvmlDeviceGetOfaUtilization"},
    ),
    Metric(
        "power_draw_w", "W", 0, 2000,
        QT_TRANSLATE_NOOP("Metrics", "Power draw"),
        QT_TRANSLATE_NOOP("Metrics", "Power of the whole board; of the package for a processor."),
        {
            "nvml": "nvmlDeviceGetPowerUsage (mW)",
            "amdgpu": "hwmon power1_average, power1_input (uW)",
            "intel": "hwmon energy1_input (uJ), differentiated",
            "host": "powercap energy_uj, differentiated",
        },
    ),
    Metric(
        "power_draw_average_w", "W", 0, 2000,
        QT_TRANSLATE_NOOP("Metrics", "Power draw, averaged"),
        QT_TRANSLATE_NOOP("Metrics", "Power averaged over a second by the driver."),
        {"nvml": "field 185 (mW)"},
    ),
    Metric(
        "power_draw_instant_w", "W", 0, 2000,
        QT_TRANSLATE_NOOP("Metrics", "Power draw, instant"),
        QT_TRANSLATE_NOOP("Metrics", "Power at this instant."),
        {"nvml": "field 186 (mW)", "amdgpu": "hwmon power1_input (uW)"},
    ),
    Metric(
        "power_limit_w", "W", 0, 2000,
        QT_TRANSLATE_NOOP("Metrics", "Power limit"),
        QT_TRANSLATE_NOOP("Metrics", "The limit that the driver enforces now."),
        {
            "nvml": "nvmlDeviceGetEnforcedPowerLimit (mW)",
            "amdgpu": "hwmon power1_cap (uW)",
            "intel": "hwmon power1_max (uW)",
            "host": "powercap power_limit_uw",
        },
        is_remembered=False,
    ),
    Metric(
        "power_limit_requested_w", "W", 0, 2000,
        QT_TRANSLATE_NOOP("Metrics", "Power limit, requested"),
        QT_TRANSLATE_NOOP("Metrics", "The limit that was set; the driver may enforce a lower one."),
        {"nvml": "nvmlDeviceGetPowerManagementLimit (mW)"},
        is_remembered=False,
    ),
    Metric(
        "power_limit_default_w", "W", 0, 2000,
        QT_TRANSLATE_NOOP("Metrics", "Power limit, default"),
        QT_TRANSLATE_NOOP("Metrics", "The limit that the board comes with."),
        {
            "nvml": "nvmlDeviceGetPowerManagementDefaultLimit (mW)",
            "amdgpu": "hwmon power1_cap_default (uW)",
            "intel": "hwmon power1_rated_max (uW)",
        },
        is_remembered=False,
    ),
    Metric(
        "energy_j", "J", 0, 2**53,
        QT_TRANSLATE_NOOP("Metrics", "Energy"),
        QT_TRANSLATE_NOOP("Metrics", "Energy since the driver was loaded."),
        {
            "nvml": "nvmlDeviceGetTotalEnergyConsumption (mJ)",
            "intel": "hwmon energy1_input (uJ)",
            "amdgpu": "gpu_metrics energy_accumulator",
        },
        is_remembered=False,
    ),
    Metric(
        "temperature_gpu_c", "°C", -20, 150,
        QT_TRANSLATE_NOOP("Metrics", "Temperature"),
        QT_TRANSLATE_NOOP("Metrics", "Temperature of the chip."),
        {
            "nvml": "nvmlDeviceGetTemperature",
            "amdgpu": "hwmon edge",
            "intel": "hwmon temp (pkg)",
            "wddm": "ADAPTERPERFDATA.Temperature",
            "host": "hwmon coretemp, k10temp, zenpower",
        },
    ),
    Metric(
        "temperature_hotspot_c", "°C", -20, 150,
        QT_TRANSLATE_NOOP("Metrics", "Hotspot temperature"),
        QT_TRANSLATE_NOOP("Metrics", "Temperature of the hottest place of the chip."),
        {"amdgpu": "hwmon junction"},
    ),
    Metric(
        "temperature_memory_c", "°C", -20, 150,
        QT_TRANSLATE_NOOP("Metrics", "Memory temperature"),
        QT_TRANSLATE_NOOP("Metrics", "Temperature of the memory."),
        {"nvml": "field 82", "amdgpu": "hwmon mem", "intel": "hwmon temp (vram)"},
    ),
    Metric(
        "memory_used_bytes", "B", 0, 2**46,
        QT_TRANSLATE_NOOP("Metrics", "Memory used"),
        QT_TRANSLATE_NOOP("Metrics", "Memory that programs hold; system memory for a processor."),
        {
            "nvml": "nvmlDeviceGetMemoryInfo_v2.used",
            "amdgpu": "mem_info_vram_used",
            "wddm": "GPU Adapter Memory, Dedicated Usage",
            "host": "psutil.virtual_memory().used",
        },
    ),
    Metric(
        "memory_total_bytes", "B", 0, 2**46,
        QT_TRANSLATE_NOOP("Metrics", "Memory"),
        QT_TRANSLATE_NOOP("Metrics", "Memory that programs can hold."),
        {
            "nvml": "nvmlDeviceGetMemoryInfo_v2.total",
            "amdgpu": "mem_info_vram_total",
            "wddm": "DXGI",
            "host": "psutil.virtual_memory().total",
        },
        is_remembered=False,
    ),
    Metric(
        "memory_bar1_used_bytes", "B", 0, 2**46,
        QT_TRANSLATE_NOOP("Metrics", "BAR1 memory used"),
        QT_TRANSLATE_NOOP("Metrics", "Memory that the processor maps."),
        {"nvml": "nvmlDeviceGetBAR1MemoryInfo.bar1Used", "amdgpu": "mem_info_vis_vram_used"},
        is_remembered=False,
    ),
    Metric(
        "memory_shared_used_bytes", "B", 0, 2**46,
        QT_TRANSLATE_NOOP("Metrics", "Shared memory used"),
        QT_TRANSLATE_NOOP("Metrics", "System memory that the GPU uses."),
        {"amdgpu": "mem_info_gtt_used", "wddm": "GPU Adapter Memory, Shared Usage"},
    ),
    Metric(
        "clock_graphics_mhz", "MHz", 0, 10000,
        QT_TRANSLATE_NOOP("Metrics", "Graphics clock"),
        QT_TRANSLATE_NOOP("Metrics", "Clock of the shader cores; mean of a processor's cores."),
        {
            "nvml": "nvmlDeviceGetClockInfo(GRAPHICS)",
            "amdgpu": "hwmon freq1_input (Hz), pp_dpm_sclk",
            "intel": "act_freq, gt_act_freq_mhz",
            "host": "/proc/cpuinfo, else psutil.cpu_freq",
        },
    ),
    Metric(
        "clock_memory_mhz", "MHz", 0, 20000,
        QT_TRANSLATE_NOOP("Metrics", "Memory clock"),
        QT_TRANSLATE_NOOP("Metrics", "Clock of the memory as the driver counts it."),
        {"nvml": "nvmlDeviceGetClockInfo(MEM)", "amdgpu": "hwmon freq2_input (Hz), pp_dpm_mclk"},
    ),
    Metric(
        "clock_sm_mhz", "MHz", 0, 10000,
        QT_TRANSLATE_NOOP("Metrics", "SM clock"),
        QT_TRANSLATE_NOOP("Metrics", "Clock of the streaming multiprocessors."),
        {"nvml": "nvmlDeviceGetClockInfo(SM)"},
        is_remembered=False,
    ),
    Metric(
        "clock_video_mhz", "MHz", 0, 10000,
        QT_TRANSLATE_NOOP("Metrics", "Video clock"),
        QT_TRANSLATE_NOOP("Metrics", "Clock of the video engines."),
        {"nvml": "nvmlDeviceGetClockInfo(VIDEO)"},
        is_remembered=False,
    ),
    Metric(
        "performance_state", "", 0, 15,
        QT_TRANSLATE_NOOP("Metrics", "Performance state"),
        QT_TRANSLATE_NOOP("Metrics", "Zero is the fastest, 15 the slowest."),
        {"nvml": "nvmlDeviceGetPerformanceState"},
    ),
    Metric(
        "voltage_mv", "mV", 0, 3000,
        QT_TRANSLATE_NOOP("Metrics", "Voltage"),
        QT_TRANSLATE_NOOP("Metrics", "Voltage of the graphics core."),
        {"amdgpu": "hwmon in0_input", "intel": "hwmon in0_input"},
    ),
    Metric(
        "fan_speed_percent", "%", 0, 200,
        QT_TRANSLATE_NOOP("Metrics", "Fan speed"),
        QT_TRANSLATE_NOOP("Metrics", "Speed that the driver asks for; may exceed 100 by design."),
        {"nvml": "nvmlDeviceGetFanSpeed_v2(0)", "amdgpu": "hwmon pwm1, fan1_input over fan1_max"},
    ),
    Metric(
        "fan_speed_rpm", "rpm", 0, 20000,
        QT_TRANSLATE_NOOP("Metrics", "Fan revolutions"),
        QT_TRANSLATE_NOOP("Metrics", "Measured speed of the first fan."),
        {
            "nvml": "nvmlDeviceGetFanSpeedRPM",
            "amdgpu": "hwmon fan1_input",
            "intel": "hwmon fan1_input",
            "wddm": "ADAPTERPERFDATA.FanRPM",
        },
    ),
    Metric(
        "pcie_link_generation", "", 0, 8,
        QT_TRANSLATE_NOOP("Metrics", "PCIe generation"),
        QT_TRANSLATE_NOOP("Metrics", "Of the link now; it falls at rest."),
        {
            "nvml": "nvmlDeviceGetCurrPcieLinkGeneration",
            "amdgpu": "current_link_speed",
            "intel": "current_link_speed",
        },
        is_remembered=False,
    ),
    Metric(
        "pcie_link_width", "", 0, 32,
        QT_TRANSLATE_NOOP("Metrics", "PCIe lanes"),
        QT_TRANSLATE_NOOP("Metrics", "Of the link now."),
        {
            "nvml": "nvmlDeviceGetCurrPcieLinkWidth",
            "amdgpu": "current_link_width",
            "intel": "current_link_width",
        },
        is_remembered=False,
    ),
    Metric(
        "pcie_rx_bytes_per_s", "B/s", 0, 2**38,
        QT_TRANSLATE_NOOP("Metrics", "PCIe received"),
        QT_TRANSLATE_NOOP("Metrics", "Bytes that the GPU received."),
        {"nvml": "field 198, differentiated"},
    ),
    Metric(
        "pcie_tx_bytes_per_s", "B/s", 0, 2**38,
        QT_TRANSLATE_NOOP("Metrics", "PCIe sent"),
        QT_TRANSLATE_NOOP("Metrics", "Bytes that the GPU sent."),
        {"nvml": "field 197, differentiated"},
    ),
    Metric(
        "pcie_replay_count", "", 0, 2**53,
        QT_TRANSLATE_NOOP("Metrics", "PCIe replays"),
        QT_TRANSLATE_NOOP("Metrics", "Packets that had to be sent again."),
        {"nvml": "nvmlDeviceGetPcieReplayCounter", "amdgpu": "pcie_replay_count"},
        pace_s=COUNTER_PACE_S, is_remembered=False,
    ),
    Metric(
        "nvlink_rx_bytes_per_s", "B/s", 0, 2**42,
        QT_TRANSLATE_NOOP("Metrics", "NVLink received"),
        QT_TRANSLATE_NOOP("Metrics", "Bytes that the GPU received over all links."),
        {"nvml": "field 139, differentiated"},
    ),
    Metric(
        "nvlink_tx_bytes_per_s", "B/s", 0, 2**42,
        QT_TRANSLATE_NOOP("Metrics", "NVLink sent"),
        QT_TRANSLATE_NOOP("Metrics", "Bytes that the GPU sent over all links."),
        {"nvml": "field 138, differentiated"},
    ),
    Metric(
        "ecc_corrected_count", "", 0, 2**53,
        QT_TRANSLATE_NOOP("Metrics", "ECC, corrected"),
        QT_TRANSLATE_NOOP("Metrics", "Errors that the memory repaired since the driver started."),
        {"nvml": "nvmlDeviceGetTotalEccErrors"},
        pace_s=COUNTER_PACE_S, is_remembered=False,
    ),
    Metric(
        "ecc_uncorrected_count", "", 0, 2**53,
        QT_TRANSLATE_NOOP("Metrics", "ECC, uncorrected"),
        QT_TRANSLATE_NOOP("Metrics", "Errors that the memory could not repair."),
        {"nvml": "nvmlDeviceGetTotalEccErrors"},
        pace_s=COUNTER_PACE_S, is_remembered=False,
    ),
    Metric(
        "remapped_rows_count", "", 0, 2**32,
        QT_TRANSLATE_NOOP("Metrics", "Remapped rows"),
        QT_TRANSLATE_NOOP("Metrics", "Rows of memory that were replaced by spare ones."),
        {"nvml": "nvmlDeviceGetRemappedRows"},
        pace_s=COUNTER_PACE_S, is_remembered=False,
    ),
    Metric(
        "retired_pages_count", "", 0, 2**32,
        QT_TRANSLATE_NOOP("Metrics", "Retired pages"),
        QT_TRANSLATE_NOOP("Metrics", "Pages of memory that are no longer used."),
        {"nvml": "nvmlDeviceGetRetiredPages_v2"},
        pace_s=COUNTER_PACE_S, is_remembered=False,
    ),
)  # fmt: skip

METRIC_BY_KEY: Mapping[str, Metric] = {metric.key: metric for metric in METRICS}

"""Every recorded AMD card, as LACT reads it and as we do.

FIELDS names what is compared. Where we disagree, DEVIATIONS says why; an entry there that no
longer disagrees fails too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gpupanel.backends.amdgpu import AmdgpuBackend
from gpupanel.backends.base import ProbeState
from gpupanel.backends.linux.pci import link_generation
from gpupanel.model.gpu import GpuInfo, Sample

CARDS = (
    "r7-240", "rx5500xt", "rx5700xt", "rx580", "rx6600xt", "rx6900xt", "rx7700s", "rx7800xt",
    "rx7900xtx", "rx9070xt", "strixpoint", "vangogh", "vega56",
)  # fmt: skip


class Field(NamedTuple):
    """One thing that both read.

    Attributes:
        theirs: Path in LACT's output.
        kind: reading, limit, memory or detail: where ours is.
        ours: Its key.
        convert: Theirs to our unit.
    """

    theirs: str
    kind: str
    ours: str
    convert: Callable[[Any], Any] = lambda value: value


FIELDS = (
    Field("stats.busy_percent", "reading", "utilization_gpu_percent"),
    Field("stats.clockspeed.gpu_clockspeed", "reading", "clock_graphics_mhz", float),
    Field("stats.clockspeed.vram_clockspeed", "reading", "clock_memory_mhz", float),
    Field("stats.fan.pwm_current", "reading", "fan_speed_percent", lambda pwm: pwm / 255 * 100),
    Field("stats.fan.speed_current", "reading", "fan_speed_rpm"),
    Field("stats.power.average", "reading", "power_draw_w"),
    Field("stats.power.current", "reading", "power_draw_instant_w"),
    Field("stats.power.cap_current", "reading", "power_limit_w"),
    Field("stats.power.cap_default", "reading", "power_limit_default_w"),
    Field("stats.temps.edge.current", "reading", "temperature_gpu_c"),
    Field("stats.temps.junction.current", "reading", "temperature_hotspot_c"),
    Field("stats.temps.mem.current", "reading", "temperature_memory_c"),
    Field("stats.voltage.gpu", "reading", "voltage_mv"),
    Field("stats.vram.total", "reading", "memory_total_bytes"),
    Field("stats.vram.used", "reading", "memory_used_bytes"),
    Field("info.link_info.current_speed", "reading", "pcie_link_generation", link_generation),
    Field("info.link_info.current_width", "reading", "pcie_link_width", int),
    Field("stats.power.cap_max", "limit", "power_limit_w"),
    Field("stats.fan.speed_max", "limit", "fan_speed_rpm"),
    Field("stats.temps.edge.crit", "limit", "temperature_gpu_c"),
    Field("stats.temps.junction.crit", "limit", "temperature_hotspot_c"),
    Field("stats.temps.mem.crit", "limit", "temperature_memory_c"),
    Field("clocks_info.max_sclk", "limit", "clock_graphics_mhz"),
    Field("clocks_info.max_mclk", "limit", "clock_memory_mhz"),
    Field("info.vbios_version", "detail", "VBIOS"),
    Field("info.driver", "backend", ""),
)

_INTEGRATED = "an integrated GPU uses system memory too: ours is both together"

DEVIATIONS = {
    ("rx5500xt", "stats.temps.mem.current"): "0 °C beside 48 °C: this board has no such sensor",
    ("rx580", "stats.clockspeed.gpu_clockspeed"): "they cut 798.08 MHz to 798",
    ("strixpoint", "stats.voltage.gpu"): "0 mV of a running chip: not measured",
    ("strixpoint", "stats.vram.total"): _INTEGRATED,
    ("strixpoint", "stats.vram.used"): _INTEGRATED,
}

NOT_COMPARED = {
    "stats.temps.*.crit_hyst": "junk of the driver (-273.15 °C); no key",
    "stats.temps.*.display_only": "of their window",
    "stats.temps.*.primary": "of their window",
    "stats.temps.vr*": "no key",
    "stats.temps.so*": "no key",
    "stats.temps.skin*": "no key",
    "stats.power.sensors.*": "no key; compared with gpu_metrics in test_gpu_metrics.py",
    "stats.clockspeed.sensors.*": "no key",
    "stats.clockspeed.target_gpu_clockspeed": "no key",
    "stats.power.cap_min": "in words, in details: Power limit",
    "stats.voltage.sensors.*": "no key",
    "stats.performance_level": "a setting: for the controls",
    "stats.active_power_states.*": "a setting: for the controls",
    "stats.fan.control_enabled": "a setting: for the controls",
    "stats.fan.pmfw_info.*": "settings: for the controls",
    "stats.fan.*_min": "a setting: for the controls",
    "stats.fan.pwm_max": "a setting: for the controls",
    "stats.fan.temperature_range": "a setting: for the controls",
    "power_states.*": "settings: for the controls",
    "power_profile_modes*": "settings: for the controls",
    "clocks_info.table.*": "settings: for the controls",
    "clocks_info.max_voltage": "no key",
    "info.link_info.max_*": "in words, in details: PCIe at most",
    "info.pci_info.*": "from the list of PCI ids: test_pci.py",
    "pci_info.*": "from the list of PCI ids: test_pci.py",
    "info.drm_info.*": "needs a render node, which would wake the card",
    "info.flags": "of their program",
    "info.opencl_instances": "the stress page lists them",
    "info.vulkan_instances": "needs Vulkan, which would wake the card",
}
"""What LACT tells besides, and why it is not in FIELDS."""


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _ours(field: Field, info: GpuInfo, sample: Sample) -> Any:
    places = {
        "reading": sample.as_json()["metrics"],
        "limit": info.limits,
        "detail": info.details,
        "backend": {"": info.backend},
    }
    return places[field.kind].get(field.ours)


@pytest.mark.parametrize("card", CARDS)
def test_we_read_what_lact_reads(
    card: str,
    recorded_card: Callable[[str], Path],
    sysfs_of: Callable[..., Path],
    expected_of: Callable[[str], dict[str, Any]],
) -> None:
    backend = AmdgpuBackend(sysfs_of(recorded_card(f"amd-{card}")))
    assert backend.probe().state is ProbeState.OK
    (info,) = backend.gpus()
    sample = backend.sample(info.id)
    expected = expected_of(f"amd-{card}")
    wrong = {}
    compared = 0
    for field in FIELDS:
        theirs = _at(expected, field.theirs)
        if theirs is None:
            continue
        compared += 1
        ours = _ours(field, info, sample)
        converted = field.convert(theirs)
        if isinstance(converted, int | float):
            converted = pytest.approx(converted)
        if ours != converted:
            wrong[field.theirs] = (ours, theirs)
    allowed = {path for name, path in DEVIATIONS if name == card}
    assert {path: pair for path, pair in wrong.items() if path not in allowed} == {}
    assert set(wrong) == allowed
    assert compared >= 10
    backend.close()


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    if not isinstance(value, dict):
        yield path
        return
    for name, part in value.items():
        yield from _leaves(part, f"{path}.{name}".lstrip("."))


@pytest.mark.parametrize("card", CARDS)
def test_every_field_of_theirs_is_compared_or_named(
    card: str, expected_of: Callable[[str], dict[str, Any]]
) -> None:
    compared = {field.theirs for field in FIELDS}
    missed = [
        path
        for path in _leaves(expected_of(f"amd-{card}"))
        if path not in compared
        and path not in {"clocks_info", "power_profile_modes"}  # null: LACT found none
        and not any(fnmatchcase(path, pattern) for pattern in NOT_COMPARED)
    ]
    assert missed == []


def test_every_card_was_compared() -> None:
    recordings = Path(__file__).parents[1] / "recordings" / "sysfs"
    found = {file.stem.removeprefix("amd-") for file in recordings.glob("amd-*.snap")}
    assert found == set(CARDS)

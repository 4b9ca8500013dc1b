"""Every field of Intel cards that LACT reads and we read too, compared on the same recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gpupanel.backends.intel import IntelBackend
from gpupanel.model.gpu import Unavailable

CARDS = ("intel-a380-i915", "intel-a380-xe", "intel-b580", "intel-cometlake")

ABSENT = "absent"


class Field(NamedTuple):
    """One row: ours, and where LACT's document has the same in the same unit."""

    ours: str
    lact: tuple[tuple[str, ...], ...]


FIELDS = (
    Field("clock_graphics_mhz", (("stats", "clockspeed", "gpu_clockspeed"),)),
    Field("power_limit_w", (("stats", "power", "cap_current"),)),
    Field("power_limit_default_w", (("stats", "power", "cap_default"),)),
    Field(
        "temperature_gpu_c",
        (("stats", "temps", "pkg", "current"), ("stats", "temps", "gpu", "current")),
    ),
    Field("temperature_memory_c", (("stats", "temps", "vram", "current"),)),
    Field("voltage_mv", (("stats", "voltage", "gpu"),)),
    Field("fan_speed_rpm", (("stats", "fan", "speed_current"),)),
    Field("power_draw_w", (("stats", "power", "current"),)),
    Field("memory_used_bytes", (("stats", "vram", "used"),)),
    Field("memory_total_bytes", (("stats", "vram", "total"),)),
    Field("utilization_gpu_percent", (("stats", "busy_percent"),)),
    Field("pcie_link_generation", (("info", "link_info", "current_speed"),)),
    Field("pcie_link_width", (("info", "link_info", "current_width"),)),
)

DEVIATIONS: dict[tuple[str, str], tuple[Any, Any, str]] = {
    ("intel-a380-xe", "clock_graphics_mhz"): (
        0, 300, "act_freq is 0 while the GT is powered down; LACT then shows what is requested",
    ),
    ("intel-b580", "clock_graphics_mhz"): (
        0, 400, "act_freq is 0 while the GT is powered down; LACT then shows what is requested",
    ),
    ("intel-a380-i915", "power_limit_default_w"): (
        ABSENT, 55, "power1_rated_max is 0; LACT takes the limit that it saw first for the default",
    ),
    ("intel-a380-xe", "power_limit_default_w"): (
        ABSENT, 55, "there is no rated_max; LACT takes the limit that it saw first",
    ),
    ("intel-b580", "power_limit_default_w"): (
        ABSENT, 190, "there is no rated_max; LACT takes the limit that it saw first",
    ),
    ("intel-cometlake", "utilization_gpu_percent"): (
        0, ABSENT, "no process of the recording uses it; LACT does not read it of Intel",
    ),
}  # fmt: skip
"""(ours, LACT's, why)."""


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.ours)
@pytest.mark.parametrize("name", CARDS)
def test_ours_is_what_lact_reads(
    name: str,
    field: Field,
    recorded_card: Callable[[str], Path],
    sysfs_of: Callable[..., Path],
    expected_of: Callable[[str], dict[str, Any]],
) -> None:
    backend = IntelBackend(sysfs_of(recorded_card(name)))
    backend.probe()
    (gpu,) = backend.gpus()
    reading = backend.sample(gpu.id).readings[field.ours]
    backend.close()
    ours = ABSENT if isinstance(reading, Unavailable) else reading
    found = [value for path in field.lact if (value := _at(expected_of(name), path)) != ABSENT]
    theirs = found[0] if found else ABSENT
    assert (ours, theirs) == DEVIATIONS.get((name, field.ours), (theirs, theirs))[:2]


@pytest.mark.parametrize("name", CARDS)
def test_the_greatest_clock_and_the_identity_are_those_that_lact_reads(
    name: str,
    recorded_card: Callable[[str], Path],
    sysfs_of: Callable[..., Path],
    expected_of: Callable[[str], dict[str, Any]],
) -> None:
    backend = IntelBackend(sysfs_of(recorded_card(name)))
    backend.probe()
    (gpu,) = backend.gpus()
    theirs = expected_of(name)
    table = theirs["clocks_info"]["table"]["value"]
    device = theirs["pci_info"]["device_pci_info"]
    assert gpu.limits["clock_graphics_mhz"] == table["rp0_freq"]
    assert gpu.details["Kernel driver"] == theirs["info"]["driver"]
    assert gpu.details["PCI id"] == f"{device['vendor_id']}:{device['model_id']}".lower()


def test_every_deviation_is_one_that_is_compared() -> None:
    assert {key for _, key in DEVIATIONS} <= {field.ours for field in FIELDS}


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        document = document.get(step, {})
    return ABSENT if document == {} or document is None else document

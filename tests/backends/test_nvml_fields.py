"""Field values, rates, limits and old drivers, through the real pynvml on the double."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.nvidia.nvml_fields import growth, number_of
from gpupanel.backends.nvidia.nvml_readings import limits_of
from gpupanel.backends.nvml import NvmlBackend
from gpupanel.model.gpu import Reading, Sample, Unavailable
from gpupanel.model.limits import LIMIT_BY_NAME
from tests.backends import nvml_double
from tests.backends.nvml_double import NOT_SUPPORTED, UINT, NvmlDouble, gpu_id

FIRST = gpu_id(0)
PCIE_TX, PCIE_RX, NVLINK_TX, NVLINK_RX = 197, 198, 138, 139


class Card:
    def __init__(self, library: NvmlDouble, root: Path) -> None:
        self.library = library
        self.now_s = 50.0
        self.backend = NvmlBackend(lambda: self.now_s, root)
        self.backend.probe()

    def sample(self, seconds: float = 1) -> Sample:
        self.now_s += seconds
        return self.backend.sample(FIRST)

    def reading(self, key: str, seconds: float = 1) -> Reading:
        return self.sample(seconds).readings[key]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Card:
    return Card(nvml_double.install(monkeypatch), tmp_path / "none")


def test_rates_are_differences_over_the_time_between(card: Card) -> None:
    assert card.reading("pcie_rx_bytes_per_s") == Unavailable("known from the second reading on")
    card.library.field(0, PCIE_RX, 20_000_000 + 6_000_000)
    card.library.field(0, NVLINK_TX, 1000 + 30)
    sample = card.sample(3)
    assert sample.readings["pcie_rx_bytes_per_s"] == 2_000_000
    assert sample.readings["nvlink_tx_bytes_per_s"] == 10 * 1024
    assert sample.readings["pcie_tx_bytes_per_s"] == 0


@pytest.mark.parametrize("bits", [32, 64])
def test_a_counter_that_wraps_is_no_surge(card: Card, bits: int) -> None:
    card.library.field(0, PCIE_TX, 2**bits - 500 - (2**64 if bits == 64 else 0))
    card.sample()
    card.library.field(0, PCIE_TX, 500)
    assert card.reading("pcie_tx_bytes_per_s") == 1000


def test_a_counter_that_was_set_back_is_no_surge(card: Card) -> None:
    card.library.field(0, PCIE_TX, 2**50)
    card.sample()
    card.library.field(0, PCIE_TX, 5)
    assert isinstance(card.reading("pcie_tx_bytes_per_s"), Unavailable)


def test_a_field_that_is_not_supported_is_asked_once_and_alone(card: Card) -> None:
    card.library.field(0, 82, 0, UINT, NOT_SUPPORTED)
    for _ in range(3):
        sample = card.sample()
        assert sample.readings["temperature_memory_c"] == Unavailable("not reported by this GPU")
        assert sample.readings["power_draw_average_w"] == 305.0
    card.library.field(0, 82, 60, UINT)
    assert isinstance(card.reading("temperature_memory_c"), Unavailable), "asked once"


def test_a_field_without_a_value_now_is_asked_again(card: Card) -> None:
    card.library.field(0, 82, 0, UINT, 21)
    assert card.reading("temperature_memory_c") == Unavailable("the NVIDIA driver has no value yet")
    card.library.field(0, 82, 66, UINT)
    assert card.reading("temperature_memory_c") == 66


def test_reasons_in_the_words_of_limits(card: Card) -> None:
    for mask, words in [
        (0, ()),
        (1, ("idle",)),
        (0x4 | 0x20, ("power_cap", "thermal")),
        (0x8 | 0x40, ("hardware_slowdown",)),
        (0x8 | 0x80, ("hardware_slowdown", "power_brake")),
        (0x2 | 0x10 | 0x100, ("clock_setting", "sync_boost", "display")),
        (0x200 | 0x400, ("other",)),
    ]:
        card.library.set(0, reasons=mask)
        assert card.sample().limited_by == words


def test_time_limited_follows_the_driver(card: Card) -> None:
    card.library.field(0, 74, 8_500_000_000)
    card.library.field(0, 269, 9_000_000_000)
    limited_s = card.sample().limited_s
    assert limited_s["power_cap"] == pytest.approx(8.5)
    assert limited_s["thermal"] == pytest.approx(9.0), "the greater of two counters of heat"


def test_counters_keep_their_pace(card: Card) -> None:
    assert card.reading("ecc_corrected_count") == 11
    card.library.set(0, ecc_corrected=12)
    assert card.reading("ecc_corrected_count", 5) == 11
    assert card.reading("ecc_corrected_count", 5) == 12


def test_an_old_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = Card(nvml_double.install(monkeypatch, old_driver=True), tmp_path / "none")
    (first, _) = card.backend.gpus()
    assert first.driver_version == "470.82.00"
    sample = card.sample()
    assert sample.limited_by == ("power_cap",), "under its old name"
    assert sample.readings["memory_used_bytes"] == (5 << 30) + (512 << 20), "with the reserved"
    for key in ("utilization_jpeg_percent", "fan_speed_rpm", "utilization_optical_flow_percent"):
        assert sample.readings[key] == Unavailable("not reported by this GPU")
    assert sample.readings["fan_speed_percent"] == 43


def test_an_unknown_performance_state_is_not_a_number(card: Card) -> None:
    card.library.set(0, pstate=32)
    assert isinstance(card.reading("performance_state"), Unavailable)


@given(st.integers(0, 2**70))
def test_every_mask_has_words_that_people_know(mask: int) -> None:
    words = limits_of(mask)
    assert set(words) <= set(LIMIT_BY_NAME)
    assert len(set(words)) == len(words)
    assert bool(words) == bool(mask)


@given(st.integers(0, 2**32), st.binary(min_size=8, max_size=8))
def test_every_value_is_what_pynvml_makes_of_it(kind: int, memory: bytes) -> None:
    theirs = pynvml.c_nvmlValue_t.from_buffer_copy(memory)
    names = {0: "dVal", 1: "uiVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
    ours = number_of(kind, struct.unpack("=Q", memory)[0])
    expected = getattr(theirs, names.get(kind, "ullVal"))
    assert ours == expected or (math.isnan(ours) and math.isnan(expected))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**38))
def test_growth_undoes_the_wrap(last: int, step: int) -> None:
    assert growth(last, (last + step) % 2**64) == step
    if last < 2**32 and step < 2**32:
        assert growth(last, (last + step) % 2**32) == step

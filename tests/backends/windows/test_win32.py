"""The marshalling to the libraries of Windows, on doubles of them: no Windows is at hand."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.windows import win32_d3dkmt as d3dkmt
from gpupanel.backends.windows import win32_devices as devices
from gpupanel.backends.windows.pdh import Counter, Item
from gpupanel.model.errors import BackendError, GpuLost, NotSupported, PermissionDenied
from tests.backends.fake_windows import (
    INTEL,
    LAPTOP_INTEL,
    Clock,
    FakeCard,
    FakeWindows,
    backend_on,
)


@pytest.mark.parametrize(("times", "works"), [(2, True), (9, False)])
def test_counters_that_grow_while_they_are_read(
    windows: FakeWindows, times: int, works: bool
) -> None:
    win32 = windows.win32()
    win32.collect()
    windows.more_data_times = times
    array = win32.collect()[Counter.ENGINE_TIME]
    assert isinstance(array, tuple) is works
    if works:
        assert array == tuple(windows.arrays[Counter.ENGINE_TIME])


def test_names_and_values_pass_the_library_unharmed(windows: FakeWindows) -> None:
    items = [Item("grün_ß", 0, 2**62), Item("", 0xC0000BBA, -1), Item("pid_1", 1, 0)]
    windows.arrays[Counter.ENGINE_TIME] = items
    assert windows.win32().collect()[Counter.ENGINE_TIME] == tuple(items)


@pytest.mark.parametrize(("status", "error"), [(0x5, PermissionDenied), (0xC0000BBB, BackendError)])
def test_a_query_that_does_not_open(
    windows: FakeWindows, status: int, error: type[BackendError]
) -> None:
    windows.open_status = status
    with pytest.raises(error, match="Windows"):
        windows.win32().collect()


class TestStructures:
    """Sizes and offsets of the headers on 64-bit Windows.

    D3DKMT: static_asserts of public C code that declares them (64 and 40), and d3dkmthk.h.
    """

    @pytest.mark.parametrize(
        ("structure", "size", "offsets"),
        [
            (d3dkmt.OpenFromLuid, 12, {"luid_low": 0, "luid_high": 4, "adapter": 8}),
            (d3dkmt.Query, 24, {"adapter": 0, "kind": 4, "answer": 8, "answer_bytes": 16}),
            (d3dkmt.Close, 4, {"adapter": 0}),
            (d3dkmt.SegmentSizes, 24, {"dedicated_video": 0, "shared_system": 16}),
            (d3dkmt.AdapterType, 4, {"bits": 0}),
            (
                d3dkmt.PerformanceData,
                64,
                {
                    "memory_hz": 8,
                    "fan_rpm": 48,
                    "power_tenths_percent": 52,
                    "temperature_tenths_c": 56,
                    "power_state_override": 60,
                },
            ),
            (
                d3dkmt.PerformanceCaps,
                40,
                {"memory_bytes": 8, "fan_rpm": 24, "temperature_most_tenths_c": 28},
            ),
            (devices.PropertyKey, 20, {"format_id": 0, "number": 16}),
        ],
    )
    def test_layout(
        self, structure: type[ctypes.Structure], size: int, offsets: dict[str, int]
    ) -> None:
        assert ctypes.sizeof(structure) == size
        assert {name: getattr(structure, name).offset for name in offsets} == offsets

    def test_a_guid_has_its_first_three_parts_in_little_endian(self) -> None:
        assert bytes(devices.POWER_DATA.format_id).hex() == "4e255ca41cdffd4e802067d146a850e0"
        assert devices.POWER_DATA.number == 32


class TestPlugAndPlay:
    def test_virtual_displays_are_no_cards(self, clock: Clock) -> None:
        cards = [
            FakeCard(r"ROOT\BASICRENDER\0000", "Microsoft Basic Render Driver", 7),
            FakeCard(r"SWD\REMOTEDISPLAYENUM\RdpIdd", "Microsoft Remote Display Adapter", 8),
            FakeCard(r"ACPI\VEN_QCOM&DEV_0C36\0", "Qualcomm(R) Adreno(TM) X1-85 GPU", 9),
        ]
        windows = FakeWindows(cards)
        backend = backend_on(windows, clock)
        backend.probe()
        (gpu,) = backend.gpus()
        assert (gpu.vendor, gpu.pci_bus_id) == ("Qualcomm", None)
        assert gpu.id == r"ACPI\VEN_QCOM&DEV_0C36\0"
        backend = backend_on(FakeWindows([]), clock)
        assert backend.probe().reason == "Windows lists no graphics card"

    @pytest.mark.parametrize(
        ("bus", "address", "bus_id"),
        [
            (0x01, 0x0000_0000, "00000000:01:00.0"),
            (0xC1, 0x0002_0001, "00000000:c1:02.1"),
            (0x10065, 0x001F_0007, "00000100:65:1f.7"),
            (0x01, 0x0020_0000, None),
            (0x01, 0x0000_0008, None),
            (0x01, 0xFFFF_FFFF, None),
        ],
    )
    def test_pci_addresses(self, bus: int, address: int, bus_id: str | None) -> None:
        places = bus.to_bytes(4, "little"), address.to_bytes(4, "little")
        assert devices.pci_bus_id_of(r"PCI\VEN_10DE&DEV_1", *places) == bus_id
        assert devices.pci_bus_id_of(r"ACPI\VEN_QCOM", *places) is None

    @given(st.binary(max_size=80))
    def test_any_record_is_a_state_or_none(self, record: bytes) -> None:
        assert devices.power_state_of(record) in {None, 1, 2, 3, 4}
        assert all(devices.texts_of(record))
        devices.pci_bus_id_of("PCI\\", record, record)

    @pytest.mark.parametrize(("state", "asleep"), [(0, False), (1, False), (3, True), (4, True)])
    def test_states(self, windows: FakeWindows, clock: Clock, state: int, asleep: bool) -> None:
        backend = backend_on(windows, clock)
        backend.probe()
        windows.cards[0].state = state
        windows.cards[0].status = {} if state == 1 else {62: 0xC00000BB}
        assert backend.gates()[INTEL].is_asleep() is asleep


@pytest.mark.parametrize(
    ("status", "error"),
    [(0xC00000BB, NotSupported), (0xC0000022, PermissionDenied), (0xC000000E, GpuLost)],
)
def test_codes_of_the_graphics_kernel(
    windows: FakeWindows, status: int, error: type[BackendError]
) -> None:
    windows.cards[0].status[62] = status
    with pytest.raises(error):
        windows.win32().performance(LAPTOP_INTEL, has_fan=False)
    windows.cards[0].status[62] = 0xC0DE0001
    with pytest.raises(BackendError, match="0xC0DE0001"):
        windows.win32().performance(LAPTOP_INTEL, has_fan=False)
    assert windows.open_adapters == 0

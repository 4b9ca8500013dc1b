"""GPUs on Windows, on doubles of its libraries (fake_windows): no Windows is at hand."""

from __future__ import annotations

import ctypes
import getpass
import json
import os
import subprocess
import sys

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.base import ProbeState
from gpupanel.backends.wddm import WddmBackend
from gpupanel.backends.windows import win32_d3dkmt as d3dkmt
from gpupanel.backends.windows import win32_devices as devices
from gpupanel.backends.windows.pdh import Counter, Item
from gpupanel.backends.windows.win32_processes import Identities, filetime
from gpupanel.model.errors import BackendError, GpuLost, NotSupported, PermissionDenied
from gpupanel.model.gpu import GpuState, Reading, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY, METRICS
from tests.backends.fake_windows import (
    LAPTOP_INTEL,
    LAPTOP_NVIDIA,
    Clock,
    FakeCard,
    FakeWindows,
    backend_on,
    looks,
)

INTEL, NVIDIA = "PCI-00000000:00:02.0", "PCI-00000000:01:00.0"
POWER = (devices._DEVICE, 32)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def windows() -> FakeWindows:
    return FakeWindows()


@pytest.fixture
def backend(windows: FakeWindows, clock: Clock) -> WddmBackend:
    made = backend_on(windows, clock)
    assert made.probe().state is ProbeState.OK
    return made


def second_look(windows: FakeWindows, clock: Clock) -> None:
    windows.look(looks("laptop.txt")[1][1])
    clock.now_s += 1.0


def why(reading: Reading) -> str:
    assert isinstance(reading, Unavailable)
    return reading.reason


def test_elsewhere_it_says_that_it_is_not_there() -> None:
    result = WddmBackend().probe()
    assert result.state is ProbeState.ABSENT
    assert result.reason == "this way to GPUs is Windows' own"
    assert (WddmBackend().gpus(), WddmBackend().processes()) == ((), ())


def test_the_cards_are_named_placed_and_measured(backend: WddmBackend) -> None:
    intel, nvidia = backend.gpus()
    assert (intel.id, intel.vendor, intel.name) == (INTEL, "Intel", "Intel(R) Iris(R) Xe Graphics")
    assert (nvidia.id, nvidia.vendor) == (NVIDIA, "NVIDIA")
    assert nvidia.pci_bus_id == "00000000:01:00.0"
    assert nvidia.driver_version == "31.0.101.2125"
    assert nvidia.memory_total_bytes == 8 << 30
    assert nvidia.limits == {"temperature_gpu_c": 95.0}
    assert intel.limits == {}


def test_readings(backend: WddmBackend, windows: FakeWindows, clock: Clock) -> None:
    first = backend.sample(NVIDIA).readings
    assert first["utilization_gpu_percent"] == Unavailable("measuring")
    second_look(windows, clock)
    readings = backend.sample(NVIDIA).readings
    assert set(readings) == set(METRIC_BY_KEY)
    numbers = {key: value for key, value in readings.items() if not isinstance(value, Unavailable)}
    assert numbers == pytest.approx(
        {
            "utilization_gpu_percent": 75,
            "utilization_encoder_percent": 10,
            "temperature_gpu_c": 61.5,
            "fan_speed_rpm": 1480,
            "memory_used_bytes": 8_804_600_000,
            "memory_shared_used_bytes": 162_000_000,
            "memory_total_bytes": 8 << 30,
        }
    )
    assert "not in watts" in why(readings["power_draw_w"])
    intel = backend.sample(INTEL).readings
    assert intel["utilization_decoder_percent"] == pytest.approx(40)
    assert why(intel["temperature_gpu_c"]) == "this GPU's driver does not tell Windows"
    assert why(intel["fan_speed_rpm"]) == "this GPU's driver does not tell Windows"


def test_all_that_is_reported_the_table_promises(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    second_look(windows, clock)
    promised = {metric.key for metric in METRICS if "wddm" in metric.sources}
    reported = set()
    for gpu in backend.gpus():
        reported |= set(backend.sample(gpu.id).as_json()["metrics"])
    assert reported == promised


def test_one_look_serves_all_gpus_of_a_tick(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    for _ in range(3):
        clock.now_s += 1
        before = windows.calls["PdhCollectQueryData"]
        for gpu in backend.gpus():
            backend.sample(gpu.id)
        backend.processes()
        assert windows.calls["PdhCollectQueryData"] == before + 1
    assert windows.calls["PdhOpenQueryW"] == 1


def test_a_sleeping_gpu_costs_one_read_of_its_power_state(
    windows: FakeWindows, clock: Clock
) -> None:
    for card in windows.cards:
        card.state = 4
    backend = backend_on(windows, clock)
    backend.probe()
    windows.calls.clear()
    windows.properties_read.clear()
    for _ in range(60):
        clock.now_s += 1
        sample = backend.sample(NVIDIA)
        assert (sample.state, sample.state_since_unix_s) == (GpuState.ASLEEP, 1_700_001_000.0)
        assert set(sample.as_json()["unavailable"].values()) == {"asleep"}
    assert windows.properties_read == [POWER] * 60
    assert set(windows.calls) == {"CM_Locate_DevNodeW", "CM_Get_DevNode_PropertyW"}
    assert backend.processes() == ()
    assert set(windows.calls) == {"CM_Locate_DevNodeW", "CM_Get_DevNode_PropertyW"}


def test_it_wakes_up_is_known_then_and_sleeps_again(windows: FakeWindows, clock: Clock) -> None:
    card = windows.cards[1]
    card.state = 4
    backend = backend_on(windows, clock)
    backend.probe()
    assert backend.gpus()[1].memory_total_bytes is None
    card.state = 1
    second_look(windows, clock)
    assert backend.sample(NVIDIA).state is GpuState.ACTIVE
    assert backend.gpus()[1].memory_total_bytes == 8 << 30
    card.state = 4
    clock.now_s += 1
    sample = backend.sample(NVIDIA)
    assert sample.state_since_unix_s == 1_700_000_000.0 + clock.now_s
    assert [device.gate.wakes for device in backend._devices.values()] == [0, 1]


def test_an_idle_gpu_that_can_sleep_is_left_alone(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    second_look(windows, clock)
    assert backend.sample(NVIDIA).readings["temperature_gpu_c"] == 61.5
    for second in range(1, 20):
        clock.now_s += 1
        windows.calls.clear()
        readings = backend.sample(NVIDIA).readings
        asked = windows.calls["D3DKMTOpenAdapterFromLuid"]
        assert asked == (1 if second <= 10 else 0)
    assert why(readings["temperature_gpu_c"]) == "idle: left alone so that it can fall asleep"
    assert readings["utilization_gpu_percent"] == 0
    windows.cards[1].type_bits = 0b11  # a desktop's only card is asked always
    windows.cards[1].luid = LAPTOP_NVIDIA + 1
    clock.now_s += 1
    assert backend.sample(NVIDIA).readings["temperature_gpu_c"] == 61.5


def test_a_gpu_whose_driver_restarts_is_lost_and_found_under_its_new_number(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    card = windows.cards[1]
    card.luid = None
    lost = backend.sample(NVIDIA)
    assert lost.state is GpuState.LOST
    assert "Windows has stopped this GPU" in why(lost.readings["power_draw_w"])
    card.luid, card.dedicated_bytes = 0x1_0000_0005, 12 << 30
    clock.now_s += 1
    found = backend.sample(NVIDIA)
    assert found.state is GpuState.ACTIVE
    assert found.readings["memory_total_bytes"] == 12 << 30
    assert windows.open_adapters == 0


@pytest.mark.parametrize("status", [0xC00002B6, 0xC01E0003])
def test_a_gpu_that_goes_while_it_is_asked_is_lost(
    backend: WddmBackend, windows: FakeWindows, status: int
) -> None:
    windows.cards[0].status[62] = status
    assert backend.sample(INTEL).state is GpuState.LOST
    assert windows.open_adapters == 0


def test_an_old_driver_without_sensors_still_shows_load(windows: FakeWindows, clock: Clock) -> None:
    windows.cards[1].status = {62: 0xC000000D, 63: 0xC000000D}
    backend = backend_on(windows, clock)
    backend.probe()
    second_look(windows, clock)
    readings = backend.sample(NVIDIA).readings
    assert readings["utilization_gpu_percent"] == pytest.approx(75)
    assert "WDDM 2.4" in why(readings["temperature_gpu_c"])


def test_garbage_of_a_sensor_is_said(backend: WddmBackend, windows: FakeWindows) -> None:
    windows.cards[0].temperature_tenths_c = 65535
    windows.cards[0].fan_rpm = 4_000_000_000
    readings = backend.sample(INTEL).readings
    assert why(readings["temperature_gpu_c"]) == "implausible: 6553.5 °C"
    assert why(readings["fan_speed_rpm"]).startswith("implausible")


def test_a_fan_that_stands_still_is_zero_where_there_is_a_fan(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    windows.cards[1].fan_rpm = 0
    second_look(windows, clock)
    assert backend.sample(NVIDIA).readings["fan_speed_rpm"] == 0


def test_without_counters_there_are_names_and_a_reason(windows: FakeWindows, clock: Clock) -> None:
    for counter in Counter:
        windows.add_status[counter.value] = 0xC0000BB8
    backend = backend_on(windows, clock)
    result = backend.probe()
    assert result.state is ProbeState.OK
    assert "no GPU counters" in result.reason
    readings = backend.sample(INTEL).readings
    assert "no GPU counters" in why(readings["utilization_gpu_percent"])
    assert "no GPU counters" in why(readings["memory_used_bytes"])
    assert readings["memory_total_bytes"] == 128 << 20
    assert windows.open_queries == 0


def test_one_counter_that_is_missing_takes_no_other_along(
    windows: FakeWindows, clock: Clock
) -> None:
    windows.add_status[Counter.ADAPTER_SHARED.value] = 0xC0000BB9
    windows.array_status[Counter.ADAPTER_DEDICATED] = 0x800007D5
    backend = backend_on(windows, clock)
    backend.probe()
    second_look(windows, clock)
    readings = backend.sample(NVIDIA).readings
    assert readings["utilization_gpu_percent"] == pytest.approx(75)
    assert "does not have this GPU counter" in why(readings["memory_shared_used_bytes"])
    assert "no GPU counters now" in why(readings["memory_used_bytes"])


def test_a_query_that_breaks_is_opened_anew(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    windows.collect_status = 0xC0000BBC
    clock.now_s += 1
    assert "let go" in why(backend.sample(INTEL).readings["utilization_gpu_percent"])
    assert windows.open_queries == 0
    windows.collect_status = 0
    second_look(windows, clock)
    backend.sample(INTEL)
    assert windows.open_queries == 1
    backend.close()
    assert (windows.open_queries, backend.gpus(), backend.processes()) == (0, (), ())


def test_no_data_is_an_answer(backend: WddmBackend, windows: FakeWindows, clock: Clock) -> None:
    windows.collect_status = 0x800007D5
    clock.now_s += 1
    windows.array_status = dict.fromkeys(Counter, 0x800007D5)
    assert "no GPU counters now" in why(backend.sample(INTEL).readings["utilization_gpu_percent"])
    assert windows.open_queries == 1


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


class TestProcesses:
    def with_pids(self, windows: FakeWindows, clock: Clock, pids: dict[int, int]) -> WddmBackend:
        """A backend whose second look has the recording's processes under the pids that live."""
        backend = backend_on(windows, clock)
        recorded = looks("laptop.txt")
        for _, arrays in recorded:
            for items in arrays.values():
                for old, new in pids.items():
                    items[:] = [
                        item._replace(name=item.name.replace(f"pid_{old}_", f"pid_{new}_"))
                        for item in items
                    ]
        windows.look(recorded[0][1])
        backend.probe()
        windows.look(recorded[1][1])
        clock.now_s += 1
        return backend

    def test_who_uses_which_gpu(self, windows: FakeWindows, clock: Clock) -> None:
        # The other pids of the recording are beyond this machine's, and so gone.
        pids = {7788: os.getpid(), 4: 2**31 - 4, 1404: 2**31 - 5, 10472: 2**31 - 6}
        backend = self.with_pids(windows, clock, pids)
        (row,) = backend.processes()
        me = psutil.Process()
        assert (row.gpu_id, row.pid, row.name) == (NVIDIA, os.getpid(), me.name())
        assert row.user == getpass.getuser()
        assert row.memory_used_bytes == 333_795_328
        assert row.utilization_percent == pytest.approx(75)
        assert row.engines == pytest.approx({"3D": 60, "Cuda": 75, "VideoEncode": 10})
        assert row.started == filetime(me.create_time())
        assert json.dumps(row.as_json())

    def test_a_process_on_a_sleeping_gpu_is_not_listed(
        self, windows: FakeWindows, clock: Clock
    ) -> None:
        backend = self.with_pids(windows, clock, {7788: os.getpid()})
        windows.cards[1].state = 4
        assert [row for row in backend.processes() if row.gpu_id == NVIDIA] == []

    def test_a_name_is_asked_once_and_not_kept_of_the_dead(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        identities = Identities()
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            first = identities.of(child.pid)
            assert first is not None
            assert identities.of(child.pid) is first
            child.communicate(b"\n", timeout=30)
            assert identities.of(child.pid) is None
        assert identities._known == {}

    def test_rights_that_are_missing_leave_the_pid(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def denied(pid: int) -> None:
            raise psutil.AccessDenied(pid)

        monkeypatch.setattr(psutil, "Process", denied)
        identity = Identities().of(4)
        assert identity is not None
        assert (identity.started, identity.name, identity.user) == (0, "pid 4", None)

    def test_filetime(self) -> None:
        # Microsoft's documented difference of the two epochs in seconds: 11 644 473 600.
        assert filetime(1.0) == 11_644_473_601 * 10_000_000
        assert filetime(0.0) == 0


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
        assert next(iter(backend._devices.values())).gate.is_asleep() is asleep


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

"""GPUs of every vendor on Windows: what Task Manager shows, and who uses it.

Performance counters give load and memory, the graphics kernel heat and fan, Plug and Play names
and power states; a GPU that sleeps is asked for its power state and nothing else. Nothing here has
run on Windows so far: it is written from Microsoft's documentation and tested on doubles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from gpupanel.backends.base import ProbeResult, ProbeState, checked, unavailable_sample
from gpupanel.backends.sleep import SleepGate
from gpupanel.backends.windows.pdh import Counter, EngineClock, Item, Luid
from gpupanel.backends.windows.pnp_power import PnpPower
from gpupanel.backends.windows.wddm_look import Look
from gpupanel.backends.windows.win32_d3dkmt import Adapter, Performance
from gpupanel.backends.windows.win32_devices import Display
from gpupanel.backends.windows.win32_processes import Identities
from gpupanel.backends.windows.win32_system import open_windows
from gpupanel.model.errors import BackendError, DriverMissing, GpuLost
from gpupanel.model.gpu import (
    GpuId,
    GpuInfo,
    GpuKind,
    GpuState,
    ProcessSample,
    Reading,
    Sample,
    Unavailable,
)
from gpupanel.model.metrics import METRIC_BY_KEY

_LOOK_SERVES_S = 0.1
"""One look at the counters has those of all GPUs: it serves those that are asked in one tick."""

_REST_AFTER_S = 10.0
"""A GPU that Windows may power down is asked for its heat no more once it was idle this long."""

_NOT_REPORTED = Unavailable("Windows does not report this")
_NO_WATTS = Unavailable("Windows tells power as a share of the board's limit, not in watts")
_SILENT = Unavailable("this GPU's driver does not tell Windows")
_RESTING = Unavailable("idle: left alone so that it can fall asleep")
_STOPPED = "Windows has stopped this GPU: its driver was updated or reset, or it was removed"


class Windows(Protocol):
    """What the backend asks of the system; ``Win32`` is the real one."""

    def displays(self) -> tuple[Display, ...]: ...  # noqa: D102 - see Win32
    def power_state(self, device_id: str) -> int | None: ...  # noqa: D102 - see Win32
    def luid(self, device_id: str) -> Luid | None: ...  # noqa: D102 - see Win32
    def adapter(self, luid: Luid) -> Adapter: ...  # noqa: D102 - see Win32
    def performance(self, luid: Luid, *, has_fan: bool) -> Performance: ...  # noqa: D102 - see Win32
    def collect(self) -> Mapping[Counter, tuple[Item, ...] | Unavailable]: ...  # noqa: D102 - see Win32
    def close(self) -> None: ...  # noqa: D102 - see Win32


@dataclass(slots=True)
class _Device:
    """One graphics card.

    Attributes:
        luid: Of ``adapter``; Windows gives another one when the driver restarts.
        adapter: None until the card was awake once.
    """

    info: GpuInfo
    device_id: str
    gate: SleepGate
    luid: Luid | None = None
    adapter: Adapter | None = None
    busy_at_s: float = float("-inf")


class WddmBackend:
    """The graphics cards that Windows lists, of any vendor.

    Attributes:
        name: As in the ``sources`` of METRICS.
    """

    name = "wddm"
    hidden_processes_reason = ""

    def __init__(
        self,
        windows: Callable[[], Windows] = open_windows,
        clock_s: Callable[[], float] = time.perf_counter,
        clock_unix_s: Callable[[], float] = time.time,
    ) -> None:
        """Make a backend; nothing is asked yet.

        Args:
            windows: Opens the system.
            clock_s: time.monotonic of older Pythons goes in steps of 16 ms on Windows.
            clock_unix_s: For "asleep since".
        """
        self._open_windows = windows
        self._clock_s = clock_s
        self._clock_unix_s = clock_unix_s
        self._windows: Windows | None = None
        self._devices: Mapping[GpuId, _Device] = {}
        self._engine_clock = EngineClock()
        self._last_look: Look | None = None
        self._identities = Identities()

    def probe(self) -> ProbeResult:
        """See ``Backend.probe``; utilization is measured from here on.

        Raises:
            BackendError: Windows does not list its graphics cards.
        """
        self.close()
        try:
            self._windows = self._open_windows()
        except DriverMissing as missing:
            return ProbeResult(self.name, ProbeState.ABSENT, str(missing))
        self._meet(self._windows)
        if not self._devices:
            return self._nothing()
        self._look(self._windows)
        return self._result()

    def look_again(self) -> ProbeResult:
        """See ``HotPlug.look_again``; reads the records of Plug and Play."""
        if self._windows is None:
            return self._nothing()
        try:
            self._meet(self._windows)
        except BackendError as fault:
            return ProbeResult(self.name, ProbeState.OK, str(fault))
        return self._result() if self._devices else self._nothing()

    def gates(self) -> Mapping[str, SleepGate]:
        """See ``Sleepers.gates``."""
        return {gpu_id: device.gate for gpu_id, device in self._devices.items()}

    def gpus(self) -> tuple[GpuInfo, ...]:
        """See ``Backend.gpus``."""
        return tuple(device.info for device in self._devices.values())

    def sample(self, gpu_id: GpuId) -> Sample:
        """See ``Backend.sample``.

        Raises:
            KeyError: ``gpu_id`` is none of ``gpus()``.
        """
        device = self._devices[gpu_id]
        if device.gate.is_asleep():
            return device.gate.asleep_sample(gpu_id)
        windows = self._windows
        assert windows is not None  # there are devices only while it is open
        try:
            luid = self._current_luid(windows, device)
            return Sample(gpu_id, self._readings(windows, device, luid))
        except GpuLost as lost:
            return unavailable_sample(gpu_id, str(lost), GpuState.LOST)

    def processes(self) -> tuple[ProcessSample, ...]:
        """See ``Backend.processes``; rates are over the time since the last look."""
        windows = self._windows
        if windows is None:
            return ()
        awake = [device for device in self._devices.values() if not device.gate.is_asleep()]
        if not awake:
            return ()
        look = self._look(windows)
        rows = [row for device in awake for row in self._rows(device, look)]
        self._identities.forget_all_but({row.pid for row in rows})
        return tuple(rows)

    def close(self) -> None:
        """See ``Backend.close``."""
        if self._windows is not None:
            self._windows.close()
        self._windows = None
        self._devices = {}
        self._engine_clock = EngineClock()
        self._last_look = None

    def _meet(self, windows: Windows) -> None:
        """List the cards that are there, those that are known as they are known.

        Raises:
            BackendError: Windows does not list its graphics cards.
        """
        known = {device.device_id: device for device in self._devices.values()}
        devices = [
            known.get(display.device_id) or self._described(windows, display)
            for display in windows.displays()
        ]
        self._devices = {device.info.id: device for device in devices}

    def _nothing(self) -> ProbeResult:
        self.close()
        return ProbeResult(self.name, ProbeState.ABSENT, "Windows lists no graphics card")

    def _result(self) -> ProbeResult:
        running = self._last_look.values[Counter.ENGINE_TIME] if self._last_look else {}
        why = running.reason if isinstance(running, Unavailable) else ""
        return ProbeResult(self.name, ProbeState.OK, why)

    def _described(self, windows: Windows, display: Display) -> _Device:
        info = GpuInfo(
            id=f"PCI-{display.pci_bus_id}" if display.pci_bus_id else display.device_id,
            name=display.name,
            vendor=display.vendor,
            kind=GpuKind.GPU,
            backend=self.name,
            driver_version=display.driver_version,
            pci_bus_id=display.pci_bus_id,
        )
        power = PnpPower(lambda: windows.power_state(display.device_id))
        gate = SleepGate(power, self._clock_unix_s)
        device = _Device(info, display.device_id, gate)
        if not gate.is_asleep():
            luid = windows.luid(display.device_id)
            if luid is not None:
                # Lost already: the next sample says so, and looks again.
                with suppress(GpuLost):
                    _learn(windows, device, luid)
        return device

    def _current_luid(self, windows: Windows, device: _Device) -> Luid:
        """The adapter that the card is now: Windows numbers it anew at each start of its driver.

        Raises:
            GpuLost: Its driver does not run.
        """
        luid = windows.luid(device.device_id)
        if luid is None:
            raise GpuLost(_STOPPED)
        if luid != device.luid:
            _learn(windows, device, luid)
        return luid

    def _look(self, windows: Windows) -> Look:
        now_s = self._clock_s()
        last = self._last_look
        if last is not None and now_s - last.at_s < _LOOK_SERVES_S:
            return last
        arrays: Mapping[Counter, tuple[Item, ...] | Unavailable]
        try:
            arrays = windows.collect()
        except BackendError as fault:
            arrays = dict.fromkeys(Counter, Unavailable(str(fault)))
        self._last_look = Look.of(arrays, now_s, self._engine_clock)
        return self._last_look

    def _readings(self, windows: Windows, device: _Device, luid: Luid) -> dict[str, Reading]:
        """Every key of METRICS.

        Raises:
            GpuLost: The GPU went away meanwhile.
        """
        look = self._look(windows)
        readings: dict[str, Reading] = dict.fromkeys(METRIC_BY_KEY, _NOT_REPORTED)
        readings.update(power_draw_w=_NO_WATTS, power_limit_w=_NO_WATTS)
        readings.update(look.readings(luid), memory_total_bytes=_total(device.adapter))
        load = readings["utilization_gpu_percent"]
        if not isinstance(load, Unavailable) and load > 0:
            device.busy_at_s = look.at_s
        readings.update(_measured(windows, device, luid, look.at_s))
        return readings

    def _rows(self, device: _Device, look: Look) -> Iterator[ProcessSample]:
        if device.luid is None:
            return
        for use in look.uses(device.luid):
            identity = self._identities.of(use.pid)
            if identity is not None:
                yield ProcessSample(
                    gpu_id=device.info.id,
                    pid=use.pid,
                    started=identity.started,
                    name=identity.name,
                    user=identity.user,
                    kind=use.kind,
                    memory_used_bytes=use.dedicated_bytes,
                    utilization_percent=use.utilization_percent,
                    engines=use.engines,
                )


def _learn(windows: Windows, device: _Device, luid: Luid) -> None:
    """Ask an awake card once for what it is.

    Raises:
        GpuLost: It went away meanwhile.
    """
    device.adapter = None
    try:
        adapter = windows.adapter(luid)
    except GpuLost:
        raise
    except BackendError:
        device.luid = luid
        return
    device.luid, device.adapter = luid, adapter
    limit_c = adapter.temperature_most_c
    device.info = replace(
        device.info,
        memory_total_bytes=adapter.dedicated_bytes or None,
        limits={} if limit_c is None else {"temperature_gpu_c": limit_c},
    )


def _measured(windows: Windows, device: _Device, luid: Luid, now_s: float) -> dict[str, Reading]:
    """Heat and fan of an awake GPU, unless asking would keep it from falling asleep.

    Raises:
        GpuLost: The GPU went away meanwhile.
    """
    adapter = device.adapter
    keys = ("temperature_gpu_c", "fan_speed_rpm")
    if adapter and adapter.is_hybrid_discrete and now_s - device.busy_at_s > _REST_AFTER_S:
        return dict.fromkeys(keys, _RESTING)
    has_fan = adapter is not None and adapter.fan_most_rpm is not None
    try:
        measured = windows.performance(luid, has_fan=has_fan)
    except GpuLost:
        raise
    except BackendError as fault:
        return dict.fromkeys(keys, Unavailable(str(fault)))
    return {
        key: _SILENT if value is None else checked(key, value)
        for key, value in zip(keys, (measured.temperature_c, measured.fan_rpm), strict=True)
    }


def _total(adapter: Adapter | None) -> Reading:
    if adapter is None or not adapter.dedicated_bytes:
        return Unavailable("this GPU has no memory of its own, or its driver does not tell")
    return checked("memory_total_bytes", adapter.dedicated_bytes)

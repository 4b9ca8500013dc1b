"""Builds the double of libnvidia-ml (nvml_double.c) and sets its stage.

The library is given to the real pynvml as ``pynvml.nvmlLib``, in this process: each test can then
steer it by plain function calls, and two versions of the driver fit into one run. A library path
would be read once per process, before pytest starts.
"""

from __future__ import annotations

import atexit
import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

SOURCE = Path(__file__).with_name("nvml_double.c")
ANY_CALL = 8
"""As ``gpu`` of ``fail``: where the function names no GPU."""

GIB = 1 << 30
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
DRIVER_NOT_LOADED = 9
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18
UNKNOWN = 999
XID, SINGLE_ECC, DOUBLE_ECC, CLOCK = 8, 1, 2, 0x10
UINT, ULL = 1, 3


def gpu_id(index: int) -> str:
    return f"GPU-8f1c2a4e-0d5b-4f1e-9d9a-{index + 1:012d}"


@cache
def built(old_driver: bool = False) -> Path:
    """The library, compiled once per session."""
    folder = Path(tempfile.mkdtemp(prefix="gpupanel-nvml-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "libnvidia-ml.so.1"
    flags = ["-DOLD_DRIVER"] if old_driver else []
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", *flags]
    subprocess.run([*command, "-o", library, SOURCE, "-lpthread"], check=True, timeout=60)
    return library


class NvmlDouble:
    """The stage of the library; ``lib`` is what pynvml gets."""

    def __init__(self, count: int = 2, old_driver: bool = False) -> None:
        self.lib = ctypes.CDLL(str(built(old_driver)))
        self.lib.double_get.restype = ctypes.c_longlong
        self.lib.double_reset(count)
        if old_driver:
            self.lib.double_driver(b"470.82.00")

    def set(self, gpu: int, **values: int) -> None:
        for name, value in values.items():
            self.lib.double_set(gpu, name.encode(), ctypes.c_longlong(value))

    def get(self, gpu: int, name: str) -> int:
        return int(self.lib.double_get(gpu, name.encode()))

    def fail(self, gpu: int, symbol: str, code: int) -> None:
        self.lib.double_fail(gpu, symbol.encode(), code)

    def missing(self, symbol: str) -> None:
        """As a driver answers that does not have it."""
        for gpu in range(8):
            self.fail(gpu, symbol, FUNCTION_NOT_FOUND)

    def forget_calls(self) -> None:
        self.lib.double_forget_calls()

    def field(self, gpu: int, field: int, value: int, kind: int = ULL, code: int = 0) -> None:
        self.lib.double_field(gpu, field, kind, code, ctypes.c_longlong(value))

    def process(self, gpu: int, pid: int, memory: int, *, graphics: bool = False) -> None:
        self.lib.double_process(gpu, int(graphics), pid, ctypes.c_ulonglong(memory))

    def use(self, gpu: int, pid: int, time_us: int, *percent: int) -> None:
        """sm, memory controller, encoder, decoder."""
        self.lib.double_use(gpu, pid, ctypes.c_ulonglong(time_us), *percent)

    def no_processes(self, gpu: int) -> None:
        self.lib.double_no_processes(gpu)

    def event(self, gpu: int, kind: int, number: int = 0) -> None:
        self.lib.double_event(gpu, ctypes.c_ulonglong(kind), ctypes.c_ulonglong(number))

    def plugged(self, count: int, *, known_late: bool = False) -> None:
        """So many GPUs are there from now on; known late: to the next start of NVML only."""
        self.lib.double_knows_late(int(known_late))
        self.lib.double_count(count)

    def as_user(self, *, is_user: bool = True) -> None:
        """Whether setters refuse for want of rights."""
        self.lib.double_user(int(is_user))

    def calls(self, symbol: str) -> int:
        return int(self.lib.double_calls(symbol.encode()))

    @property
    def all_calls(self) -> int:
        return int(self.lib.double_all_calls())

    @property
    def users(self) -> int:
        """As NVML counts them."""
        return int(self.lib.double_started())


def install(
    monkeypatch: pytest.MonkeyPatch, count: int = 2, *, old_driver: bool = False
) -> NvmlDouble:
    """Make pynvml believe that it has loaded the double; the second of two cards has no fan."""
    double = NvmlDouble(count, old_driver)
    use(monkeypatch, double.lib)
    # A real card of this machine is none of the double's.
    monkeypatch.setattr("gpupanel.backends.nvml.PCI_DEVICES", SOURCE / "no sysfs")
    double.set(1, power_mw=61_007, utilization_gpu=3, utilization_memory=0, temperature=34)
    for symbol in ("", "_v2", "RPM"):
        double.fail(1, f"nvmlDeviceGetFanSpeed{symbol}", NOT_SUPPORTED)
    return double


def use(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    import pynvml

    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "_nvmlLib_refcount", 0)

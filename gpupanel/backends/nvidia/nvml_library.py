"""NVML as a library: loading it, its symbols, and its return codes as our errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gpupanel.model.errors import (
    BackendError,
    DriverMismatch,
    DriverMissing,
    GpuLost,
    NotSupported,
    PermissionDenied,
)
from gpupanel.model.gpu import Unavailable

_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"

NOT_FOUND, INSUFFICIENT_SIZE, TIMEOUT = 6, 7, 10

FAULTS: Mapping[int, tuple[type[BackendError], str]] = {
    1: (GpuLost, "the NVIDIA driver let go of us; trying again"),
    3: (NotSupported, "not reported by this GPU"),
    4: (PermissionDenied, "the NVIDIA driver tells this to an administrator only"),
    6: (BackendError, "the NVIDIA driver does not find it now"),
    9: (DriverMissing, "the NVIDIA driver is not loaded"),
    12: (DriverMissing, f"no NVIDIA driver on this machine ({_LIBRARY} not found)"),
    13: (NotSupported, "not reported by this version of the NVIDIA driver"),
    15: (GpuLost, "the GPU fell off the bus; if it stays away, power the machine off and on"),
    16: (GpuLost, "the GPU needs a reset (nvidia-smi --gpu-reset, or reboot)"),
    17: (PermissionDenied, "the operating system keeps this process from the GPU (cgroup)"),
    18: (DriverMismatch, "the NVIDIA driver was updated; reboot to use it again"),
    21: (BackendError, "the NVIDIA driver has no value yet"),
    25: (NotSupported, "not reported by this version of the NVIDIA driver"),
    27: (BackendError, "the NVIDIA driver has no value yet"),
    28: (BackendError, "the NVIDIA driver does not find it now"),
}
"""nvmlReturn_t to our errors; the numbers are NVML's ABI."""  # fmt: skip

GONE = (GpuLost, DriverMissing, DriverMismatch)
"""What is the end of every reading of a GPU, and not of one."""

NOT_REPORTED = Unavailable(FAULTS[3][1])


def fault_of(code: int, function: str) -> BackendError:
    """The error that ``function`` means by returning ``code``."""
    unknown = (BackendError, f"{function}: NVML error {code}")
    error, text = FAULTS.get(code, unknown)
    return error(text)


class Library:
    """NVML through pynvml; made once, started and stopped often.

    Attributes:
        is_started: Whether we are among the users that NVML counts.
    """

    def __init__(self) -> None:
        self.is_started = False
        self._pynvml: Any = None

    def start(self) -> None:
        """Load and start NVML; attaches to no GPU.

        Raises:
            BackendError: As ``FAULTS`` says, or nvidia-ml-py is missing.
        """
        try:
            import pynvml
        except ImportError as error:
            raise BackendError(f"{error}: install nvidia-ml-py") from error
        self._pynvml = pynvml
        self.ask("nvmlInit")
        self.is_started = True

    def stop(self) -> None:
        """Let go of NVML; every handle is void then."""
        if self.is_started:
            self.is_started = False
            # The driver may have gone before us; there is nothing left to let go of then.
            with suppress(BackendError):
                self.ask("nvmlShutdown")

    def ask(self, function: str, *arguments: object) -> Any:  # noqa: ANN401 - pynvml has no types
        """Call a function of pynvml: comfortable, for what is not asked every second.

        Raises:
            BackendError: As ``FAULTS`` says.
        """
        try:
            return getattr(self._pynvml, function)(*arguments)
        except self._pynvml.NVMLError as error:
            raise fault_of(error.value, function) from error

    def symbol(self, name: str) -> Callable[..., int] | None:
        """The C function, which returns an nvmlReturn_t; None where this driver has none."""
        try:
            found: Callable[..., int] = self._pynvml._nvmlGetFunctionPointer(
                name
            )  # pynvml's own table
        except self._pynvml.NVMLError:
            return None
        return found

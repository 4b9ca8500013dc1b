"""The Windows that the backend asks: three libraries of the system behind one face.

Never run on Windows so far.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from gpupanel.backends.windows.pdh import Counter, Item, Luid
from gpupanel.backends.windows.win32_d3dkmt import Adapter, GraphicsKernel, Performance
from gpupanel.backends.windows.win32_devices import Display, PnpRecords
from gpupanel.backends.windows.win32_pdh import PdhQuery
from gpupanel.model.errors import BackendError, DriverMissing
from gpupanel.model.gpu import Unavailable

NOT_WINDOWS = "this way to GPUs is Windows' own"


class Win32:
    """GPUs as Windows sees them. Each method raises BackendError where Windows does not tell."""

    def __init__(self, pdh: Any, gdi32: Any, cfgmgr32: Any) -> None:  # noqa: ANN401 - libraries
        self._pdh = pdh
        self._query: PdhQuery | None = None
        self._kernel = GraphicsKernel(gdi32)
        self._records = PnpRecords(cfgmgr32)

    def displays(self) -> tuple[Display, ...]:
        """See ``PnpRecords.displays``."""
        return self._records.displays()

    def power_state(self, device_id: str) -> int | None:
        """See ``PnpRecords.power_state``."""
        return self._records.power_state(device_id)

    def luid(self, device_id: str) -> Luid | None:
        """See ``PnpRecords.luid``."""
        return self._records.luid(device_id)

    def adapter(self, luid: Luid) -> Adapter:
        """See ``GraphicsKernel.adapter``."""
        return self._kernel.adapter(luid)

    def performance(self, luid: Luid, *, has_fan: bool) -> Performance:
        """See ``GraphicsKernel.performance``."""
        return self._kernel.performance(luid, has_fan=has_fan)

    def collect(self) -> Mapping[Counter, tuple[Item, ...] | Unavailable]:
        """See ``PdhQuery.collect``; a query that failed is opened anew the next time."""
        if self._query is None:
            self._query = PdhQuery(self._pdh)
        try:
            return self._query.collect()
        except BackendError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the counters; ``collect`` opens them again."""
        if self._query is not None:
            self._query.close()
            self._query = None


def open_windows() -> Win32:
    """The libraries of this system.

    Raises:
        DriverMissing: This is not Windows, or one too old.
    """
    if sys.platform == "win32":
        import ctypes

        # From the system's own folder only: a library beside the program could be anybody's.
        load_library_search_system32 = 0x800
        try:
            return Win32(
                *(
                    ctypes.WinDLL(f"{name}.dll", winmode=load_library_search_system32)
                    for name in ("pdh", "gdi32", "cfgmgr32")
                )
            )
        except (OSError, AttributeError) as error:
            raise DriverMissing(f"this Windows is too old ({error})") from error
    else:
        raise DriverMissing(NOT_WINDOWS)

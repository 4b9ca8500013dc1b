"""Pictures on their way from the device to the window. Worker process only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyopencl as cl
    from numpy.typing import NDArray

_SHOWN_PER_S = 30.0


class Screen:
    """Asks for a picture at most 30 times a second, and only while somebody looks."""

    def __init__(self, width: int, height: int) -> None:
        """Nothing is shown yet."""
        self.wanted = False
        self._size = (width, height)
        self._coming: tuple[NDArray[np.generic], cl.Event] | None = None
        self._shown: tuple[int, int, bytes] | None = None
        self._asked_at = float("-inf")

    def expect(self, pixels: NDArray[np.generic], copied: cl.Event) -> None:
        """The picture that was wanted fills ``pixels`` and is there when ``copied`` is done."""
        self._coming, self.wanted = (pixels, copied), False

    def latest(self) -> tuple[int, int, bytes] | None:
        """Width, height and RGBX bytes of the latest picture that has come; asks for the next."""
        import pyopencl as cl

        done = cl.command_execution_status.COMPLETE
        if self._coming is not None and self._coming[1].command_execution_status == done:
            self._shown = (*self._size, self._coming[0].tobytes())
            self._coming = None
        now = time.monotonic()
        if self._coming is None and now - self._asked_at >= 1.0 / _SHOWN_PER_S:
            self.wanted, self._asked_at = True, now
        return self._shown

"""The freezer of this system."""

from __future__ import annotations

import sys

from gpupanel.enforcement.cell import Freezer

if sys.platform == "win32":
    from gpupanel.enforcement.freezer_windows import windows_freezer

    def freezer() -> Freezer:
        """See ``windows_freezer``."""
        return windows_freezer()

else:
    from gpupanel.enforcement.freezer_linux import LinuxFreezer

    def freezer() -> Freezer:
        """See ``LinuxFreezer``."""
        return LinuxFreezer()

"""The registry of Windows, as ``registry`` reads it. Imported on Windows alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from gpupanel.policy.registry import MACHINE_PATH, SUBKEY, RegistryKey

assert sys.platform == "win32"

import winreg  # noqa: E402 - exists on Windows alone


class Win32Key:
    """An open key; the 64-bit one also for a 32-bit process, which would see another."""

    def __init__(self, parent: winreg.HKEYType | int, name: str, path: str) -> None:
        """Open ``name`` below ``parent``.

        Raises:
            OSError: It is not there, or may not be read.
        """
        access = winreg.KEY_READ | winreg.KEY_WOW64_64KEY
        self._key = winreg.OpenKey(parent, name, 0, access)
        self.path = path

    def values(self) -> Iterator[tuple[str, int, object]]:
        """Name, type and content of each value."""
        for index in range(winreg.QueryInfoKey(self._key)[1]):
            name, content, kind = winreg.EnumValue(self._key, index)
            yield name, kind, content

    def subkeys(self) -> Iterator[tuple[str, RegistryKey]]:
        """Name and key of each."""
        for index in range(winreg.QueryInfoKey(self._key)[0]):
            name = winreg.EnumKey(self._key, index)
            yield name, Win32Key(self._key, name, f"{self.path}\\{name}")


def open_machine_key() -> Win32Key | None:
    """Where Group Policy writes for the whole machine; None if it never did.

    Raises:
        OSError: It may not be read.
    """
    try:
        return Win32Key(winreg.HKEY_LOCAL_MACHINE, SUBKEY, MACHINE_PATH)
    except FileNotFoundError:
        return None

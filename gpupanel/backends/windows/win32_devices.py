"""Which graphics cards Windows knows, from the records of its Plug and Play: wakes none of them.

The power state is what the bus driver noted when it last changed it; asking for it is no access to
the card. Only this may be asked of a card that sleeps. Never run on Windows so far.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from gpupanel.backends.windows.pdh import Luid
from gpupanel.backends.windows.win32_pdh import wide
from gpupanel.model.errors import BackendError

_DISPLAY_CLASS = "{4d36e968-e325-11ce-bfc1-08002be10318}"
_PRESENT_OF_CLASS = 0x100 | 0x200  # CM_GETIDLIST_FILTER_PRESENT | CM_GETIDLIST_FILTER_CLASS

_BUFFER_SMALL = 0x1A
_ATTEMPTS = 3
"""A value may grow between asking for its size and asking for it."""


class PropertyKey(ctypes.Structure):
    """DEVPROPKEY of devpropdef.h: a GUID and a number."""

    _fields_ = (("format_id", ctypes.c_uint8 * 16), ("number", ctypes.c_uint32))


def _key(format_id: str, number: int) -> PropertyKey:
    return PropertyKey((ctypes.c_uint8 * 16)(*UUID(format_id).bytes_le), number)


_DEVICE = "a45c254e-df1c-4efd-8020-67d146a850e0"
DESCRIPTION = _key(_DEVICE, 2)
FRIENDLY_NAME = _key(_DEVICE, 14)
BUS_NUMBER = _key(_DEVICE, 23)
ADDRESS = _key(_DEVICE, 30)
POWER_DATA = _key(_DEVICE, 32)
DRIVER_VERSION = _key("a8b865dd-2e3d-4094-ad97-e593a70c75d6", 3)
GPU_LUID = _key("60b193cb-5276-4d0f-96fc-f173abad3ec6", 2)
"""DEVPKEY_* of devpkey.h; the last is not in the public header."""

_CARD = re.compile(r"(?:PCI|ACPI)\\VEN_(?P<vendor>[0-9A-Z]{4})", re.IGNORECASE)
"""A card that is there; virtual displays hang on ROOT and SWD."""

VENDORS: Mapping[str, str] = {
    "10DE": "NVIDIA",
    "1002": "AMD",
    "8086": "Intel",
    "QCOM": "Qualcomm",
    "15AD": "VMware",
    "1AF4": "Red Hat",
    "1414": "Microsoft",
}


class Display(NamedTuple):
    """One graphics card.

    Attributes:
        device_id: Windows' name of the device; stable over restarts.
        pci_bus_id: As in GpuInfo; None where the card is not on PCI.
    """

    device_id: str
    name: str
    vendor: str
    driver_version: str | None
    pci_bus_id: str | None


class PnpRecords:
    """The configuration manager, asked about graphics cards."""

    def __init__(self, cfgmgr32: Any) -> None:  # noqa: ANN401 - a loaded library has no type
        self._cfgmgr32 = cfgmgr32
        _declare(cfgmgr32)

    def displays(self) -> tuple[Display, ...]:
        """The graphics cards that are there, awake or not.

        Raises:
            BackendError: Windows does not tell.
        """
        return tuple(
            self._described(device_id, card["vendor"].upper())
            for device_id in self._device_ids()
            if (card := _CARD.match(device_id))
        )

    def power_state(self, device_id: str) -> int | None:
        """1 for D0 up to 4 for D3; None where Windows has no record of it."""
        record = self._property(device_id, POWER_DATA)
        return power_state_of(record) if record else None

    def luid(self, device_id: str) -> Luid | None:
        """The adapter that the card is now; None while its driver is not running."""
        record = self._property(device_id, GPU_LUID)
        return int.from_bytes(record, "little") if record and len(record) == 8 else None

    def _described(self, device_id: str, vendor: str) -> Display:
        name = self._text(device_id, FRIENDLY_NAME) or self._text(device_id, DESCRIPTION)
        return Display(
            device_id=device_id,
            name=name or "Graphics card",
            vendor=VENDORS.get(vendor, f"vendor {vendor}"),
            driver_version=self._text(device_id, DRIVER_VERSION),
            pci_bus_id=pci_bus_id_of(
                device_id,
                self._property(device_id, BUS_NUMBER),
                self._property(device_id, ADDRESS),
            ),
        )

    def _device_ids(self) -> Iterator[str]:
        size = ctypes.c_uint32()
        name = wide(_DISPLAY_CLASS)
        for _ in range(_ATTEMPTS):
            self._ask("CM_Get_Device_ID_List_SizeW", ctypes.byref(size), name, _PRESENT_OF_CLASS)
            buffer = ctypes.create_string_buffer(2 * max(size.value, 1))
            fault = self._cfgmgr32.CM_Get_Device_ID_ListW(
                name, buffer, size.value, _PRESENT_OF_CLASS
            )
            if fault == 0:
                return texts_of(buffer.raw)
            if fault != _BUFFER_SMALL:
                break
        raise BackendError(f"Windows does not list its graphics cards (CONFIGRET 0x{fault:02X})")

    def _text(self, device_id: str, key: PropertyKey) -> str | None:
        record = self._property(device_id, key)
        return next(texts_of(record), None) if record else None

    def _property(self, device_id: str, key: PropertyKey) -> bytes | None:
        """A property of a device; None where it has none, or is gone."""
        node, kind, size = ctypes.c_uint32(), ctypes.c_uint32(), ctypes.c_uint32(256)
        name = wide(device_id)
        if self._cfgmgr32.CM_Locate_DevNodeW(ctypes.byref(node), name, 0) != 0:
            return None
        for _ in range(_ATTEMPTS):
            buffer = ctypes.create_string_buffer(size.value)
            fault = self._cfgmgr32.CM_Get_DevNode_PropertyW(
                node, ctypes.byref(key), ctypes.byref(kind), buffer, ctypes.byref(size), 0
            )
            if fault == 0:
                return buffer.raw[: size.value]
            if fault != _BUFFER_SMALL:
                break
        return None

    def _ask(self, function: str, *arguments: object) -> None:
        fault = getattr(self._cfgmgr32, function)(*arguments)
        if fault != 0:
            raise BackendError(f"Windows does not list its devices (CONFIGRET 0x{fault:02X})")


def power_state_of(record: bytes) -> int | None:
    """PD_MostRecentPowerState of a CM_POWER_DATA; None where it says unspecified."""
    state = int.from_bytes(record[4:8], "little") if len(record) >= 8 else 0
    return state if 1 <= state <= 4 else None


def pci_bus_id_of(device_id: str, bus: bytes | None, address: bytes | None) -> str | None:
    """``dddddddd:bb:dd.f`` of a card; None where it is not on PCI or Windows does not tell.

    The bus number has the segment above its 8 bits; the address is device << 16 | function.
    """
    if not device_id.upper().startswith("PCI\\") or not bus or not address:
        return None
    number, place = int.from_bytes(bus[:4], "little"), int.from_bytes(address[:4], "little")
    if place >> 16 > 31 or place & 0xFFFF > 7:
        return None
    return f"{number >> 8:08x}:{number & 0xFF:02x}:{place >> 16:02x}.{place & 0xFFFF}"


def texts_of(raw: bytes) -> Iterator[str]:
    """The texts of a REG_SZ or REG_MULTI_SZ in UTF-16."""
    text = raw[: len(raw) // 2 * 2].decode("utf-16-le", "replace")
    return (part for part in text.split("\0") if part)


def _declare(cfgmgr32: Any) -> None:  # noqa: ANN401 - a loaded library has no type
    """State the types of cfgmgr32.h."""
    pointer, text, ulong = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32
    for name, arguments in {
        "CM_Get_Device_ID_List_SizeW": (pointer, text, ulong),
        "CM_Get_Device_ID_ListW": (text, pointer, ulong, ulong),
        "CM_Locate_DevNodeW": (pointer, text, ulong),
        "CM_Get_DevNode_PropertyW": (ulong, pointer, pointer, pointer, pointer, ulong),
    }.items():
        function = getattr(cfgmgr32, name)
        function.argtypes = list(arguments)
        function.restype = ulong

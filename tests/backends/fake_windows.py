"""Doubles of pdh.dll, gdi32.dll and cfgmgr32.dll: no Windows is at hand.

They are C functions to ctypes, and write the structures of the Windows headers byte by byte, so
that the real marshalling of gpupanel.backends.win32_* runs against them.
"""

from __future__ import annotations

import ctypes
import struct
from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from uuid import UUID

from gpupanel.backends.wddm import WddmBackend
from gpupanel.backends.windows.pdh import Counter, Item
from gpupanel.backends.windows.win32_system import Win32
from gpupanel.model.gpu import Reading, Unavailable

if TYPE_CHECKING:
    import pytest

RECORDINGS = Path(__file__).parents[1] / "recordings" / "pdh"

Arrays = dict[Counter, list[Item]]

_U32, _U64, _PTR, _TEXT = ctypes.c_uint32, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p

LAPTOP_INTEL, LAPTOP_NVIDIA = 0xD2A5, 0x1714B
INTEL, NVIDIA = "PCI-00000000:00:02.0", "PCI-00000000:01:00.0"

DEVICE = "a45c254e-df1c-4efd-8020-67d146a850e0"
GPU = "60b193cb-5276-4d0f-96fc-f173abad3ec6"
DRIVER = "a8b865dd-2e3d-4094-ad97-e593a70c75d6"


def looks(name: str) -> list[tuple[float, Arrays]]:
    """The looks of a recording: seconds, and the items of each counter."""
    found: list[tuple[float, Arrays]] = []
    for line in (RECORDINGS / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            found.append((float(line.split()[1]), {counter: [] for counter in Counter}))
            continue
        path, status, value = line.split("\t")
        before, _, after = path.partition("(")
        instance, _, counter = after.rpartition(")")
        item = Item(instance, int(status, 16), int(value))
        found[-1][1][Counter(f"{before}(*){counter}")].append(item)
    return found


@dataclass
class FakeCard:
    """One graphics card of the double, as PnP and its driver would tell of it."""

    device_id: str
    name: str
    luid: int | None
    bus: int = 1
    address: int = 0
    state: int = 1
    driver: str = "31.0.101.2125"
    dedicated_bytes: int = 8 << 30
    type_bits: int = 0b11
    temperature_tenths_c: int = 615
    fan_rpm: int = 1480
    fan_most_rpm: int = 3300
    most_tenths_c: int = 950
    status: dict[int, int] = field(default_factory=dict)  # by KMTQUERYADAPTERINFOTYPE

    def properties(self) -> dict[tuple[str, int], bytes | None]:
        luid = None if self.luid is None else struct.pack("<Q", self.luid)
        # CM_POWER_DATA: size, most recent state, capabilities, 3 latencies, 7 states, deepest wake
        power = struct.pack("<14I", 56, self.state, 0x1F, 0, 0, 0, 0, 1, 1, 4, 4, 4, 4, 0)
        return {
            (DEVICE, 2): utf16(self.name),
            (DEVICE, 23): struct.pack("<I", self.bus),
            (DEVICE, 30): struct.pack("<I", self.address),
            (DEVICE, 32): power,
            (DRIVER, 3): utf16(self.driver),
            (GPU, 2): luid,
        }


def laptop_cards() -> list[FakeCard]:
    return [
        FakeCard(
            r"PCI\VEN_8086&DEV_A7A0&SUBSYS_22F1103C&REV_04\3&11583659&0&10",
            "Intel(R) Iris(R) Xe Graphics",
            LAPTOP_INTEL,
            bus=0,
            address=2 << 16,
            dedicated_bytes=128 << 20,
            temperature_tenths_c=0,
            fan_rpm=0,
            fan_most_rpm=0,
            most_tenths_c=0,
        ),
        FakeCard(
            r"PCI\VEN_10DE&DEV_28E0&SUBSYS_8C2F103C&REV_A1\4&1234ABCD&0&0008",
            "NVIDIA GeForce RTX 4060 Laptop GPU",
            LAPTOP_NVIDIA,
            type_bits=0b1_0001,
        ),
    ]


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le") + b"\0\0"


class FakeWindows:
    """A double of a Windows machine; ``calls`` counts every call of every library."""

    def __init__(self, cards: list[FakeCard] | None = None, arrays: Arrays | None = None) -> None:
        self.cards = laptop_cards() if cards is None else cards
        self.arrays = arrays if arrays is not None else looks("laptop.txt")[0][1]
        self.calls: Tally[str] = Tally()
        self.properties_read: list[tuple[str, int]] = []
        self.open_adapters = 0
        self.open_queries = 0
        self.more_data_times = 0
        self.add_status: dict[str, int] = {}
        self.array_status: dict[Counter, int] = {}
        self.open_status = self.collect_status = 0
        self._keep: list[object] = []
        self.pdh = self._pdh()
        self.gdi32 = self._gdi32()
        self.cfgmgr32 = self._cfgmgr32()

    def win32(self) -> Win32:
        return Win32(self.pdh, self.gdi32, self.cfgmgr32)

    def look(self, arrays: Arrays) -> None:
        self.arrays = arrays

    def _library(self, functions: dict[str, tuple[Callable[..., int], tuple[type, ...]]]) -> object:
        library = SimpleNamespace()
        for name, (function, arguments) in functions.items():
            setattr(library, name, self._counted(name, function, arguments))
        return library

    def _counted(
        self, name: str, function: Callable[..., int], arguments: tuple[type, ...]
    ) -> object:
        def call(*given: int) -> int:
            self.calls[name] += 1
            return function(*given)

        made = ctypes.CFUNCTYPE(_U32, *arguments)(call)
        self._keep.append(made)
        # As a loaded library hands it out: without types until somebody states them.
        return ctypes.CFUNCTYPE(_U32)(ctypes.cast(made, _PTR).value or 0)

    def _pdh(self) -> object:
        return self._library(
            {
                "PdhOpenQueryW": (self._open_query, (_TEXT, _U64, _PTR)),
                "PdhAddEnglishCounterW": (self._add, (_PTR, _TEXT, _U64, _PTR)),
                "PdhCollectQueryData": (lambda query: self.collect_status, (_PTR,)),
                "PdhGetFormattedCounterArrayW": (self._array, (_PTR, _U32, _PTR, _PTR, _PTR)),
                "PdhCloseQuery": (self._close_query, (_PTR,)),
            }
        )

    def _open_query(self, source: int | None, user: int, query: int) -> int:
        if self.open_status == 0:
            self.open_queries += 1
            ctypes.memmove(query, struct.pack("<Q", 0x7FFF_0000_1234_5678), 8)
        return self.open_status

    def _close_query(self, query: int) -> int:
        assert query == 0x7FFF_0000_1234_5678
        self.open_queries -= 1
        return 0

    def _add(self, query: int, path: int, user: int, handle: int) -> int:
        text = text_at(path)
        if status := self.add_status.get(text, 0):
            return status
        ctypes.memmove(
            handle, struct.pack("<Q", 0x9000_0000_0000 + list(Counter).index(Counter(text))), 8
        )
        return 0

    def _array(self, handle: int, form: int, size: int, count: int, buffer: int) -> int:
        assert form == 0x1400  # PDH_FMT_LARGE | PDH_FMT_NOSCALE
        counter = list(Counter)[handle - 0x9000_0000_0000]
        if status := self.array_status.get(counter, 0):
            return status
        items = self.arrays[counter]
        head, names = 24 * len(items), b""
        packed = b""
        for item in items:
            packed += struct.pack(
                "<QIIq", buffer + head + len(names), item.status, 0xDEAD, item.value
            )
            names += utf16(item.name)
        room = ctypes.c_uint32.from_address(size)
        needed, given = head + len(names), room.value
        room.value = needed
        ctypes.c_uint32.from_address(count).value = len(items)
        if given < needed or self.more_data_times > 0:
            self.more_data_times -= 1
            return 0x800007D2
        ctypes.memmove(buffer, packed + names, needed)
        return 0

    def _gdi32(self) -> object:
        return self._library(
            {
                "D3DKMTOpenAdapterFromLuid": (self._open_adapter, (_PTR,)),
                "D3DKMTQueryAdapterInfo": (self._query_adapter, (_PTR,)),
                "D3DKMTCloseAdapter": (self._close_adapter, (_PTR,)),
            }
        )

    def _open_adapter(self, place: int) -> int:
        low, high = struct.unpack("<Ii", ctypes.string_at(place, 8))
        for number, card in enumerate(self.cards):
            if card.luid == high << 32 | low:
                ctypes.memmove(place + 8, struct.pack("<I", 0x40000000 + number), 4)
                self.open_adapters += 1
                return card.status.get(-1, 0)
        return 0xC000000D

    def _query_adapter(self, place: int) -> int:
        adapter, kind, answer, size = struct.unpack("<IIQI", ctypes.string_at(place, 20))
        card: FakeCard = self.cards[adapter - 0x40000000]
        assert card.state == 1, "a card that sleeps was woken"
        if status := card.status.get(kind, 0):
            return status
        reply = {
            3: struct.pack("<3Q", card.dedicated_bytes, 0, 16 << 30),
            15: struct.pack("<I", card.type_bits),
            62: struct.pack(
                "<I4x5QIIIB3x", 0, 9_001_000_000, 0, 0, 0, 0,
                card.fan_rpm, 420, card.temperature_tenths_c, 0,
            ),
            63: struct.pack("<I4xQQIIII", 0, 0, 0, card.fan_most_rpm, card.most_tenths_c, 900, 0),
        }[kind][:size]  # fmt: skip
        if size != {3: 24, 15: 4, 62: 64, 63: 40}[kind]:
            return 0xC000000D
        ctypes.memmove(answer, reply, len(reply))
        return 0

    def _close_adapter(self, place: int) -> int:
        self.open_adapters -= 1
        return 0

    def _cfgmgr32(self) -> object:
        return self._library(
            {
                "CM_Get_Device_ID_List_SizeW": (self._id_list_size, (_PTR, _TEXT, _U32)),
                "CM_Get_Device_ID_ListW": (self._id_list, (_TEXT, _PTR, _U32, _U32)),
                "CM_Locate_DevNodeW": (self._locate, (_PTR, _TEXT, _U32)),
                "CM_Get_DevNode_PropertyW": (
                    self._property,
                    (_U32, _PTR, _PTR, _PTR, _PTR, _U32),
                ),
            }
        )

    def _ids(self) -> bytes:
        return b"".join(utf16(card.device_id) for card in self.cards) + b"\0\0"

    def _id_list_size(self, size: int, name: int, flags: int) -> int:
        assert (text_at(name), flags) == ("{4d36e968-e325-11ce-bfc1-08002be10318}", 0x300)
        ctypes.c_uint32.from_address(size).value = len(self._ids()) // 2
        return 0

    def _id_list(self, name: int, buffer: int, size: int, flags: int) -> int:
        if size * 2 < len(self._ids()):
            return 0x1A
        ctypes.memmove(buffer, self._ids(), len(self._ids()))
        return 0

    def _locate(self, node: int, name: int, flags: int) -> int:
        for number, card in enumerate(self.cards):
            if card.device_id == text_at(name):
                ctypes.c_uint32.from_address(node).value = number + 1
                return 0
        return 0x0D

    def _property(self, node: int, key: int, kind: int, buffer: int, size: int, flags: int) -> int:
        group, number = str(UUID(bytes_le=ctypes.string_at(key, 16))), ctypes.string_at(key + 16, 4)
        wanted = (group, int.from_bytes(number, "little"))
        self.properties_read.append(wanted)
        value = self.cards[node - 1].properties().get(wanted)
        if value is None:
            return 0x25
        room = ctypes.c_uint32.from_address(size)
        given, room.value = room.value, len(value)
        if given < len(value):
            return 0x1A
        ctypes.memmove(buffer, value, len(value))
        return 0


def text_at(address: int) -> str:
    """The NUL-terminated UTF-16 text at ``address``."""
    raw = b""
    while (unit := ctypes.string_at(address + len(raw), 2)) != b"\0\0":
        raw += unit
    return raw.decode("utf-16-le")


@dataclass
class Clock:
    """A clock that the test turns."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def backend_on(windows: FakeWindows, clock: Clock) -> WddmBackend:
    return WddmBackend(windows.win32, clock, lambda: 1_700_000_000.0 + clock.now_s)


def install(monkeypatch: pytest.MonkeyPatch, windows: FakeWindows) -> None:
    """Make ``WddmBackend()`` find the double."""
    monkeypatch.setattr(WddmBackend, "__init__", partialmethod(WddmBackend.__init__, windows.win32))


def second_look(windows: FakeWindows, clock: Clock) -> None:
    windows.look(looks("laptop.txt")[1][1])
    clock.now_s += 1.0


def why(reading: Reading) -> str:
    assert isinstance(reading, Unavailable)
    return reading.reason

"""amdgpu's files for people: performance levels and overdrive tables.

Their writers disagree from chip to chip; what cannot be read for sure is left out.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LEVEL = re.compile(
    rb"^[ \t]*([0-9]{1,3}|S):[ \t]*([0-9]{1,9})[ \t]*mhz[ \t]*(\*)?", re.IGNORECASE | re.MULTILINE
)

_SECTION = re.compile(rb"(?m)^OD_([A-Z_]+):")
_ROW = re.compile(rb"(?im)^[ \t]*[0-9]{1,3}:[ \t]*([0-9]{1,9})[ \t]*mhz")


class DpmLevel(NamedTuple):
    """One line of ``pp_dpm_sclk`` or ``pp_dpm_mclk``.

    Attributes:
        name: A number, or ``S`` for the level in which the clock rests.
    """

    name: str
    clock_mhz: int
    is_active: bool


def parse_dpm(content: bytes) -> tuple[DpmLevel, ...]:
    """The levels of ``content``; lines that are none are left out."""
    return tuple(
        DpmLevel(match[1].decode("ascii").upper(), int(match[2]), match[3] is not None)
        for match in _LEVEL.finditer(content.replace(b"\0", b""))
    )


def active_mhz(levels: tuple[DpmLevel, ...]) -> int | None:
    """The clock of the active level; None without one, or where several contradict each other.

    A clock of 0 marks a level whose clock the driver does not know.
    """
    clocks = {level.clock_mhz for level in levels if level.is_active and level.clock_mhz}
    return clocks.pop() if len(clocks) == 1 else None


def overdrive_most_mhz(content: bytes, section: str) -> int | None:
    """The greatest clock that is set in a section of ``pp_od_clk_voltage``.

    Args:
        content: The file; some kernels leave runs of zeros between sections.
        section: ``SCLK`` or ``MCLK``.
    """
    parts = _SECTION.split(content.replace(b"\0", b""))
    for name, rows in zip(parts[1::2], parts[2::2], strict=True):
        if name == section.encode("ascii"):
            return max((int(clock) for clock in _ROW.findall(rows)), default=None)
    return None

"""Times on the command line."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime

HELP = "ISO 8601, local time without an offset, or an age such as 90m, 24h, 7d"

_UNITS_S = {"m": 60, "h": 3600, "d": 86400}


def time_unix_s(text: str) -> float:
    """Read one, as HELP says; the type of an argument."""
    if age := re.fullmatch(r"(\d{1,6})([mhd])", text):
        return time.time() - int(age[1]) * _UNITS_S[age[2]]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time such as 2026-07-18T10:00 nor an age such as 24h"
        ) from None

"""Records as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import json
from typing import IO

from gpupanel.model.audit import AuditFields
from gpupanel.model.chain import CORE_FIELDS, Record

FIELDS = (*CORE_FIELDS, *AuditFields.__annotations__, "other")
"""The columns; ``other`` holds what a newer version wrote, as JSON."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""A spreadsheet computes what begins so; with an apostrophe before it, it is text. A text that
begins with an apostrophe gets one more, so that one can always be taken off."""


class Table:
    """Writes a heading and one row per record; a value that is not known is empty."""

    def __init__(self, out: IO[str]) -> None:
        # Every text in quotes: by itself the writer leaves a lone carriage return bare.
        self._rows = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        self._rows.writerow(FIELDS)

    def write(self, record: Record) -> None:
        """One row."""
        fields = dict(record.fields)
        cells = [
            record.seq, record.time, record.boot_s, record.event, record.severity, record.prev,
            record.hash, *(fields.pop(name, None) for name in AuditFields.__annotations__),
        ]  # fmt: skip
        self._rows.writerow([*map(_cell, cells), json.dumps(fields) if fields else ""])


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

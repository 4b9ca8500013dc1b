"""The forms in which a record can be written to a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from gpupanel.stress.report.page import as_csv, as_html
from gpupanel.stress.report.record import RunRecord

FORMS: Mapping[str, Callable[[RunRecord], str]] = {
    ".html": as_html,
    ".csv": as_csv,
    ".json": lambda record: json.dumps(record.as_json(), indent=1) + "\n",
}
"""By the end of the file's name."""


def write_report(path: Path, record: RunRecord) -> None:
    """Write ``record`` in the form that the name asks for.

    Raises:
        KeyError: The name has none of the ends in FORMS.
        OSError: The file cannot be written.
    """
    path.write_text(FORMS[path.suffix.lower()](record), encoding="utf-8")

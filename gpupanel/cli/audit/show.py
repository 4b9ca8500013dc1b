"""``gpupanelctl audit show``: the newest records, for a person."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from pathlib import Path

from gpupanel.cli.audit import folder
from gpupanel.cli.audit.export import left_out
from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.text import columns
from gpupanel.model.audit import described
from gpupanel.model.chain import Record
from gpupanel.policy.faults import printable


def run(arguments: argparse.Namespace, where: Path) -> int:
    """Lines that are no record are told on stderr; ``verify`` says what to think of them."""
    newest: deque[Record] = deque(maxlen=arguments.last)
    code = ExitCode.OK
    for record in folder.records(where, arguments.since):
        if isinstance(record, folder.Line):
            code = left_out(record)
        elif not arguments.event or record.event in arguments.event:
            newest.append(record)
    if arguments.json:
        sys.stdout.writelines(f"{record.line}\n" for record in newest)
    elif newest:
        print(columns([("SEQ", "TIME", "SEVERITY", "EVENT", "FIELDS"), *map(_row, newest)]))
    else:
        print("no such records")
    return code


def _row(record: Record) -> tuple[str, ...]:
    # In a folder of somebody else's making a record can hold anything.
    cells = (record.time, record.severity, record.event, described(record.fields))
    return (str(record.seq), *map(printable, cells))

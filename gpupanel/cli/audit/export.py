"""``gpupanelctl audit export``: records in the forms that other programs read."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from gpupanel.cli.audit import folder
from gpupanel.cli.audit.cef import cef
from gpupanel.cli.audit.ecs import ecs
from gpupanel.cli.audit.table import Table
from gpupanel.cli.exit_codes import ExitCode
from gpupanel.model.chain import Record


def run(arguments: argparse.Namespace, where: Path) -> int:
    """Write all records to standard output, oldest first."""
    # Of a copy it is not known which machine it came from.
    host = None if arguments.folder else platform.node()
    write = _writer(arguments.format, host, sys.stdout)
    code = ExitCode.OK
    for record in folder.records(where, arguments.since):
        if isinstance(record, folder.Line):
            code = left_out(record)
        else:
            write(record)
    sys.stdout.flush()
    return code


def left_out(line: folder.Line) -> ExitCode:
    """Say that a line is no record; what the exit status becomes."""
    place = f"{line.file}:{line.number}"
    print(f"gpupanelctl: {place}: no record, left out: audit verify tells more", file=sys.stderr)
    return ExitCode.NOT_WELL


def _writer(form: str, host: str | None, out: IO[str]) -> Callable[[Record], object]:
    match form:
        case "ecs":
            return lambda record: out.write(f"{json.dumps(ecs(record, host))}\n")
        case "cef":
            return lambda record: out.write(f"{cef(record, host)}\n")
        case "csv":
            return Table(out).write
    return lambda record: out.write(f"{record.line}\n")

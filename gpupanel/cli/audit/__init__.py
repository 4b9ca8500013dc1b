"""``gpupanelctl audit``: one file per verb."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpupanel.cli import times
from gpupanel.model.audit import AUDIT_EVENT_BY_NAME

FORMATS = ("jsonl", "ecs", "cef", "csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verify = verbs.add_parser("verify", help="find records that were edited, deleted or moved")
    verify.add_argument(
        "--against-journal", action="store_true",
        help="compare with what the system's journal was told: finds an end that was cut off",
    )  # fmt: skip
    verify.add_argument(
        "--since", type=times.time_unix_s, metavar="TIME",
        help=f"of the journal only; {times.HELP}",
    )  # fmt: skip
    verify.add_argument("--json", action="store_true", help="print one JSON document")
    show = verbs.add_parser("show", help="the newest records, for a person")
    show.add_argument(
        "--event", action="append", choices=tuple(AUDIT_EVENT_BY_NAME), metavar="EVENT",
        help="only this one, such as hold.applied; repeatable",
    )  # fmt: skip
    show.add_argument("--last", type=_count, default=50, metavar="N", help="so many (50)")
    show.add_argument("--json", action="store_true", help="print one JSON object per record")
    export = verbs.add_parser("export", help="write records to standard output for a SIEM")
    export.add_argument(
        "--format", choices=FORMATS, default="jsonl",
        help="as they are, Elastic Common Schema, Common Event Format, or a table",
    )  # fmt: skip
    for verb in (show, export):
        verb.add_argument("--since", type=times.time_unix_s, metavar="TIME", help=times.HELP)
    for verb in (verify, show, export):
        where = verb.add_mutually_exclusive_group()
        where.add_argument("--user", action="store_true", help="that of your own agent")
        where.add_argument("--folder", type=Path, metavar="DIR", help="that of a folder, or a copy")


def main(arguments: argparse.Namespace) -> int:
    """Carry out one call; nothing but the files is asked."""
    from gpupanel.cli.audit import export, folder, show, verify

    where = folder.chosen(arguments.folder, is_user=arguments.user)
    match arguments.verb:
        case "verify":
            return verify.run(arguments, where)
        case "show":
            return show.run(arguments, where)
    return export.run(arguments, where)


def _count(text: str) -> int:
    count = int(text)
    if not 0 < count <= 1_000_000:
        raise argparse.ArgumentTypeError("must be 1 to 1000000")
    return count

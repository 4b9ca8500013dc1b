"""``gpupanelctl policy``: one file per verb."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpupanel.cli.policy.report import FORMATS
from gpupanel.policy.sources import Sources

IN_FORCE = ("-", "now")
"""What stands for the policy in force where a file may be named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subparser of the noun ``policy``."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    validate = verbs.add_parser("validate", help="check policy files without installing them")
    validate.add_argument("files", nargs="+", type=Path, metavar="FILE")
    validate.add_argument("--format", choices=tuple(FORMATS), default="text")
    validate.add_argument(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="the same as --format json",
    )
    validate.add_argument("--strict", action="store_true", help="exit with 3 on warnings")
    show = verbs.add_parser("show", help="what is in force, and who said so")
    explain = verbs.add_parser("explain", help="one key: its value, why, and who could change it")
    explain.add_argument("key", metavar="KEY", help="such as mining.max_efficiency_percent")
    for verb in (show, explain):
        verb.add_argument(
            "--policy",
            type=Path,
            metavar="FILE",
            help="as it would be with this file, which can only tighten, on top",
        )
    diff = verbs.add_parser("diff", help="which keys are looser or tighter in B than in A")
    for name in ("A", "B"):
        diff.add_argument(name.lower(), metavar=name, help="a machine file; - or now: in force")
    simulate = verbs.add_parser("simulate", help="what a file would have done to recorded miners")
    simulate.add_argument("file", type=Path, metavar="FILE", help="a machine file")
    simulate.add_argument(
        "--verdicts", type=Path, metavar="FILE",
        help="what was recorded, one JSON object per line; by default what the service wrote, "
        "and where none runs, the window",
    )  # fmt: skip
    for verb in (show, explain, diff, simulate):
        verb.add_argument("--json", action="store_true", help="answer with one JSON document")


def main(args: argparse.Namespace, sources: Sources | None = None) -> int:
    """Carry out one call; the exit codes are those of ``gpupanelctl``.

    Args:
        args: Of a parser that ``add_arguments`` filled.
        sources: Where policy is read from; those of this machine by default.
    """
    from gpupanel.cli.policy import diff, explain, show, simulate, validate

    match args.verb:
        case "validate":
            return validate.run(args.files, args.format, is_strict=args.strict)
        case "simulate":
            return simulate.run(args.file, args.verdicts, as_json=args.json)
    sources = sources or Sources.installed()
    match args.verb:
        case "diff":
            return diff.run(args.a, args.b, sources, as_json=args.json)
        case "explain":
            return explain.run(args.key, sources, args.policy, as_json=args.json)
    return show.run(sources, args.policy, as_json=args.json)

"""gpupanelctl: finds the noun, imports its file alone, and turns errors into exit codes."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from typing import Protocol

from gpupanel import __version__
from gpupanel.cli.exit_codes import ExitCode
from gpupanel.model.errors import GpupanelError, RunDenied, ServiceUnreachable

NOUNS: Mapping[str, str] = {
    "gpus": "list GPUs, and why a driver stack is not there",
    "sample": "print readings, once a second",
    "processes": "list the processes that use a GPU",
    "history": "export remembered readings; energy in kWh and its cost",
    "stress": "list and run loads: mining, AI, gaming",
    "policy": "validate, show, explain, compare and try out policy",
    "status": "how policy and service stand, and who is held",
    "audit": "verify, show and export what was decided and done",
    "doctor": "say what works here, what does not, and what to do about it",
}
"""Each is a module in this folder with ``add_arguments(parser)`` and ``main(arguments)``."""

EXIT_CODES: Mapping[type[Exception], ExitCode] = {
    RunDenied: ExitCode.DENIED,
    ServiceUnreachable: ExitCode.UNREACHABLE,
    GpupanelError: ExitCode.NOT_WELL,
    OSError: ExitCode.IO,
}
"""The first class that fits decides."""

EPILOG = """exit status: 0 ok, 1 not well (policy errors, run failed, verification failed), 2 usage,
3 warnings under --strict, 4 insecure ownership, 6 input or output, 7 agent unreachable, 8 denied;
status --check also: 10 stale, 11 closed, 12 unmanaged, 13 audit only, 14 service down"""


class _Noun(Protocol):
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def main(self, arguments: argparse.Namespace) -> int: ...


def main(argv: list[str]) -> int:
    """Run one command; returns its exit status."""
    parser = argparse.ArgumentParser("gpupanelctl", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"gpupanelctl {__version__}")
    nouns = parser.add_subparsers(dest="noun", required=True, metavar="COMMAND")
    parsers = {name: nouns.add_parser(name, help=help_) for name, help_ in NOUNS.items()}
    chosen = next((argument for argument in argv if argument in NOUNS), None)
    if chosen is None:
        parser.parse_args(argv)
        return ExitCode.USAGE
    noun: _Noun = importlib.import_module(f"gpupanel.cli.{chosen}")
    noun.add_arguments(parsers[chosen])
    return _carry_out(noun, parser.parse_args(argv))


def _carry_out(noun: _Noun, arguments: argparse.Namespace) -> int:
    try:
        return noun.main(arguments)
    except BrokenPipeError:
        # The reader of our output left (| head); Python would complain once more at exit.
        sys.stderr.close()
        return ExitCode.IO
    except KeyboardInterrupt:
        return ExitCode.NOT_WELL
    except tuple(EXIT_CODES) as error:
        print(f"gpupanelctl: {error}", file=sys.stderr)
        return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))

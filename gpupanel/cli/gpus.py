"""``gpupanelctl gpus``: what is there, and why a driver stack is not."""

from __future__ import annotations

import argparse
import json

from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.text import columns
from gpupanel.ipc.client import Client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """Never fails because a vendor is absent."""
    with Client() as client:
        answer = client.call("gpus", {})
    if arguments.json:
        print(json.dumps(answer))
        return ExitCode.OK
    rows = [
        (gpu["id"], gpu["name"], gpu["backend"], gpu["driver_version"] or "–")
        for gpu in answer["gpus"]
    ]
    print(columns([("ID", "NAME", "BACKEND", "DRIVER"), *rows]))
    for backend in answer["backends"]:
        if backend["state"] != "ok":
            print(f"{backend['name']}: {backend['reason']}")
    return ExitCode.OK

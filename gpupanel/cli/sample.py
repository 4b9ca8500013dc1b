"""``gpupanelctl sample``: readings as they come, one snapshot per line."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping
from typing import Any

from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.text import columns, reading_text
from gpupanel.ipc.client import Client
from gpupanel.model.gpu import Snapshot
from gpupanel.model.metrics import METRICS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON document per line")
    parser.add_argument("--count", type=_positive_int, help="stop after this many snapshots")
    parser.add_argument("--interval", type=_interval_s, default=1.0, metavar="SECONDS")


def main(arguments: argparse.Namespace) -> int:
    """Print until the count is reached or the reader leaves."""
    with Client() as client:
        client.call("subscribe", {"topic": "snapshots", "interval_s": arguments.interval})
        for _, params in itertools.islice(client.notifications(), arguments.count):
            print(_line(params["snapshot"], as_json=arguments.json), flush=True)
    return ExitCode.OK


def _line(document: Mapping[str, Any], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(document)
    snapshot = Snapshot.from_json(document)
    shown = [metric for metric in METRICS if metric.key != "memory_total_bytes"]
    heading = ("GPU", *(metric.label for metric in shown))
    rows = [
        (sample.gpu_id, *(reading_text(metric, sample.readings[metric.key]) for metric in shown))
        for sample in snapshot.samples
    ]
    return columns([heading, *rows])


def _positive_int(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count


def _interval_s(text: str) -> float:
    interval_s = float(text)
    if not 0.1 <= interval_s <= 3600:
        raise argparse.ArgumentTypeError("must be 0.1 to 3600 seconds")
    return interval_s

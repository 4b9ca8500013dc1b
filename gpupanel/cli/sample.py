"""``gpupanelctl sample``: readings as they come, one snapshot per line."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.text import reading_text
from gpupanel.ipc.client import Client
from gpupanel.model.gpu import GpuInfo, Snapshot
from gpupanel.model.metrics import METRIC_BY_KEY
from gpupanel.sampling.recording import RecordingWriter

SHOWN = (
    "utilization_gpu_percent",
    "power_draw_w",
    "temperature_gpu_c",
    "memory_used_bytes",
    "clock_graphics_mhz",
    "clock_memory_mhz",
    "fan_speed_percent",
)
"""What fits in a line; --json has everything."""

COLUMN_WIDTH = 9
"""Room for the widest reading, 128.0 GiB."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON document per line")
    parser.add_argument("--count", type=_positive_int, help="stop after this many snapshots")
    parser.add_argument("--interval", type=_interval_s, default=1.0, metavar="SECONDS")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="keep every snapshot in FILE, to be replayed"
    )
    parser.add_argument("--force", action="store_true", help="let --record overwrite FILE")


def main(arguments: argparse.Namespace) -> int:
    """Print until the count is reached or the reader leaves."""
    with ExitStack() as stack:
        client = stack.enter_context(Client())
        recording = None
        if arguments.record is not None:
            recording = stack.enter_context(_recording(client, arguments))
        client.call("subscribe", {"topic": "snapshots", "interval_s": arguments.interval})
        for number, (_, params) in enumerate(client.notifications(), start=1):
            snapshot = Snapshot.from_json(params["snapshot"])
            if recording is not None:
                recording.append(snapshot)
            if arguments.json:
                print(json.dumps(params["snapshot"]), flush=True)
            else:
                _print_rows(snapshot, heading=number == 1)
            if number == arguments.count:
                break
    return ExitCode.OK


def _recording(client: Client, arguments: argparse.Namespace) -> RecordingWriter:
    gpus = [GpuInfo.from_json(entry) for entry in client.call("gpus", {})["gpus"]]
    return RecordingWriter(arguments.record, gpus, overwrite=arguments.force)


def _print_rows(snapshot: Snapshot, *, heading: bool) -> None:
    shown = [METRIC_BY_KEY[key] for key in SHOWN]
    widths = [max(COLUMN_WIDTH, len(metric.label)) for metric in shown]
    id_width = max(len(sample.gpu_id) for sample in snapshot.samples)
    rows = [
        (sample.gpu_id, *(reading_text(metric, sample.readings[metric.key]) for metric in shown))
        for sample in snapshot.samples
    ]
    if heading:
        rows.insert(0, ("GPU", *(metric.label for metric in shown)))
    for gpu_id, *cells in rows:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        print("  ".join((gpu_id.ljust(id_width), *padded)), flush=True)


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

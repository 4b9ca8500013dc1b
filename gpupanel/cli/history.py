"""``gpupanelctl history``: what was remembered, as a file for other programs, and what it cost."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gpupanel import paths
from gpupanel.cli import times
from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.remembered import ServiceMemory
from gpupanel.cli.text import columns
from gpupanel.ipc import reach
from gpupanel.ipc.client import Client
from gpupanel.ipc.transport import installed_service
from gpupanel.model.errors import HistoryRefused
from gpupanel.model.metrics import METRIC_BY_KEY
from gpupanel.sampling.energy import Energy
from gpupanel.sampling.export import Selection, utc_text, write_csv, write_json
from gpupanel.sampling.recall import Recall


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    export = verbs.add_parser("export", help="write readings to standard output")
    export.add_argument("--format", choices=("csv", "json"), default="csv")
    export.add_argument("--gpu", action="append", metavar="ID", help="only this one; repeatable")
    export.add_argument(
        "--metric", action="append", choices=_remembered(), metavar="KEY",
        help="only this one, such as power_draw_w; repeatable",
    )  # fmt: skip
    energy = verbs.add_parser("energy", help="kWh of each GPU while it was watched")
    energy.add_argument("--price-per-kwh", type=_price, metavar="X", help="adds what it cost")
    energy.add_argument("--json", action="store_true", help="print one JSON document")
    for verb in (export, energy):
        verb.add_argument(
            "--since", type=times.time_unix_s, default="24h", metavar="TIME", help=times.HELP
        )
        verb.add_argument("--until", type=times.time_unix_s, default="0m", metavar="TIME")


def main(arguments: argparse.Namespace) -> int:
    """Ask the service, or read the user's history, which a running gpupanel may go on writing."""
    if arguments.since >= arguments.until:
        print("gpupanelctl: --since must be before --until", file=sys.stderr)
        return ExitCode.USAGE
    with _source() as source:
        return (
            _export(source, arguments) if arguments.verb == "export" else _energy(source, arguments)
        )


@contextmanager
def _source() -> Iterator[Recall | ServiceMemory]:
    """While there is a service it writes the history of the machine, and nobody else one."""
    if reach.addresses(installed_service()):
        with Client() as client:
            if client.is_service:
                yield ServiceMemory(client.call)
                return
    with Recall(paths.user_history_file()) as recall:
        yield recall


def _export(recall: Recall | ServiceMemory, arguments: argparse.Namespace) -> int:
    names = recall.names()
    known = list(dict.fromkeys(gpu for gpu, _ in names))
    if unknown := [gpu for gpu in arguments.gpu or () if gpu not in known]:
        raise HistoryRefused(
            f"nothing is remembered of {', '.join(unknown)}; there is {', '.join(known) or 'none'}"
        )
    kept = {metric for _, metric in names}
    wanted = arguments.metric or [key for key in _remembered() if key in kept]
    write = write_csv if arguments.format == "csv" else write_json
    # What was kept begins long after 1970: an hour at a time through nothing takes minutes.
    oldest_s, newest_s = recall.span_s() or (arguments.since, arguments.since)
    since_s = max(arguments.since, oldest_s)
    until_s = min(arguments.until, newest_s + 1)
    write(recall, Selection(since_s, until_s, arguments.gpu or known, wanted), sys.stdout)
    sys.stdout.flush()
    return ExitCode.OK


def _energy(recall: Recall | ServiceMemory, arguments: argparse.Namespace) -> int:
    by_gpu = recall.energy(arguments.since, arguments.until)
    total = Energy(
        sum(one.joules for one in by_gpu.values()), sum(one.measured_s for one in by_gpu.values())
    )
    price = arguments.price_per_kwh
    if arguments.json:
        print(json.dumps(_document(by_gpu, total, arguments)))
        return ExitCode.OK
    rows = [("GPU", "KWH", "WATCHED", *(() if price is None else ("COST",)))]
    rows += [_row(gpu, one, price) for gpu, one in (*by_gpu.items(), ("total", total))]
    print(columns(rows))
    print(f"whole hours from {utc_text(_hour(arguments.since))} on; unwatched time adds nothing")
    return ExitCode.OK


def _row(name: str, energy: Energy, price: float | None) -> tuple[str, ...]:
    row = (name, f"{energy.kwh:.3f}", f"{energy.measured_s / 3600:.1f} h")
    return row if price is None else (*row, f"{energy.cost(price):.2f}")


def _document(
    by_gpu: dict[str, Energy], total: Energy, arguments: argparse.Namespace
) -> dict[str, object]:
    def entry(energy: Energy) -> dict[str, float]:
        document = {"kwh": energy.kwh, "measured_s": energy.measured_s}
        if arguments.price_per_kwh is not None:
            document["cost"] = energy.cost(arguments.price_per_kwh)
        return document

    return {
        "since": utc_text(_hour(arguments.since)),
        "until": utc_text(arguments.until),
        "gpus": {gpu: entry(energy) for gpu, energy in by_gpu.items()},
        "total": entry(total),
    }


def _hour(time_s: float) -> float:
    return time_s // 3600 * 3600


def _remembered() -> list[str]:
    return [key for key, metric in METRIC_BY_KEY.items() if metric.is_remembered]


def _price(text: str) -> float:
    price = float(text)
    if not 0 <= price < 1e6:
        raise argparse.ArgumentTypeError("must be a price, 0 or more")
    return price

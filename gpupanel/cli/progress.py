"""How a run is shown: events as JSON lines, a progress bar in a terminal, or plain lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from gpupanel.model.workload import (
    Event,
    Failed,
    Finished,
    Preparing,
    Progress,
    Run,
    Started,
    event_as_json,
)
from gpupanel.stress.report.units import rate_text


class Report(AbstractContextManager["Report"], Protocol):
    """Takes a run's events in order."""

    def show(self, event: Event) -> None:
        """Called on the runner's reader thread."""


def report_for(runs: Sequence[Run], *, as_json: bool) -> Report:
    """The form that suits the caller: a program, a person at a terminal, a log file."""
    if as_json:
        return JsonLines()
    return Bars(runs) if sys.stdout.isatty() else PlainLines()


class JsonLines:
    """One document per event."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *exit_info: object) -> None:
        """Nothing to clean up."""

    def show(self, event: Event) -> None:
        """Print it whole."""
        print(json.dumps(event_as_json(event)), flush=True)


class PlainLines:
    """For a log file or a pipe."""

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *exit_info: object) -> None:
        """Nothing to clean up."""

    def show(self, event: Event) -> None:
        """Print what a reader of a log wants."""
        if isinstance(event, Progress):
            rate = rate_text(event.work_per_s, event.unit)
            where = f"{event.workload}  {event.seconds:5.0f} s"
            print(f"{where}  {rate}  verified {event.verified}", flush=True)
        elif not isinstance(event, Preparing):
            print(summary(event), flush=True)


class Bars:
    """A live bar a run, for a person."""

    def __init__(self, runs: Sequence[Run]) -> None:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._runs = {(run.workload, run.gpu): run for run in runs}
        self._tasks = {
            key: self._progress.add_task(f"{run.workload}: starting", total=None, rate="")
            for key, run in self._runs.items()
        }

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Move the run's bar; print its beginning and its end above."""
        task = self._tasks[event.workload, event.gpu]
        if isinstance(event, Preparing):
            step = f"{event.workload}: {event.step}"
            self._progress.update(task, description=step, total=1.0, completed=event.fraction)
        elif isinstance(event, Progress):
            self._progress.update(
                task,
                description=event.workload,
                total=self._runs[event.workload, event.gpu].seconds,
                completed=event.seconds,
                rate=rate_text(event.work_per_s, event.unit),
            )
        else:
            self._progress.console.print(summary(event), highlight=False)


def summary(event: Started | Finished | Failed) -> str:
    """Beginning and end of a run in words."""
    if isinstance(event, Failed):
        return f"{event.workload} failed: {event.reason}"
    if isinstance(event, Started):
        cap = f", capped at {event.cap_percent} %" if event.cap_percent < 100 else ""
        notes = "".join(f"\n  {note}" for note in event.notes)
        return f"{event.workload} on {event.device}{cap}{notes}"
    verdict = "verified" if event.verified else f"NOT VERIFIED ({event.errors} errors)"
    share = ""
    if event.limit_share is not None:
        share = f"{100 * event.limit_share:.0f} % of the device's limit ({event.limited_by}), "
    faults = "".join(f"\n  {fault}" for fault in event.faults)
    return (
        f"{event.workload}: {rate_text(event.work_per_s, event.unit)} over {event.seconds:.1f} s, "
        f"{event.efficiency_percent:.1f} % of uncapped, {share}"
        f"{verdict} by {event.checks} checks, ended by {event.stop_reason}{faults}"
    )

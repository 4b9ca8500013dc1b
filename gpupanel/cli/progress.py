"""How a run is shown: events as JSON lines, a progress bar in a terminal, or plain lines."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from gpupanel.cli.text import rate_text
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


class Report(AbstractContextManager["Report"], Protocol):
    """Takes a run's events in order."""

    def show(self, event: Event) -> None:
        """Called on the runner's reader thread."""


def report_for(run: Run, *, as_json: bool) -> Report:
    """The form that suits the caller: a program, a person at a terminal, a log file."""
    if as_json:
        return JsonLines()
    return Bar(run) if sys.stdout.isatty() else PlainLines()


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
            print(f"{event.seconds:5.0f} s  {rate}  verified {event.verified}", flush=True)
        elif not isinstance(event, Preparing):
            print(summary(event), flush=True)


class Bar:
    """A live bar for a person."""

    def __init__(self, run: Run) -> None:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._run = run
        self._progress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._task = self._progress.add_task(f"{run.workload}: starting", total=None, rate="")

    def __enter__(self) -> Bar:
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
        """Move the bar; print the end below it."""
        if isinstance(event, Preparing):
            self._update(f"{event.step}", 1.0, event.fraction, "")
        elif isinstance(event, Started):
            self._progress.console.print(summary(event), highlight=False)
            self._update(event.workload, self._run.seconds, 0.0, "")
        elif isinstance(event, Progress):
            rate = rate_text(event.work_per_s, event.unit)
            self._update(event.workload, self._run.seconds, event.seconds, rate)
        else:
            self._progress.console.print(summary(event), highlight=False)

    def _update(self, description: str, total: float, completed: float, rate: str) -> None:
        self._progress.update(
            self._task, description=description, total=total, completed=completed, rate=rate
        )


def summary(event: Started | Finished | Failed) -> str:
    """Beginning and end of a run in words."""
    if isinstance(event, Failed):
        return f"{event.workload} failed: {event.reason}"
    if isinstance(event, Started):
        cap = f", capped at {event.cap_percent} %" if event.cap_percent < 100 else ""
        notes = "".join(f"\n  {note}" for note in event.notes)
        return f"{event.workload} on {event.device}{cap}{notes}"
    verdict = "verified" if event.verified else f"NOT VERIFIED ({event.errors} errors)"
    return (
        f"{event.workload}: {rate_text(event.work_per_s, event.unit)} over {event.seconds:.1f} s, "
        f"{event.efficiency_percent:.1f} % of uncapped, {verdict} by {event.checks} checks, "
        f"ended by {event.stop_reason}"
    )

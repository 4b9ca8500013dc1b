"""Tells the agent of the window's runs: when they began and ended, and which process is whose.

They explain the readings, and the agent need not guess what the window's own workers are.
"""

from __future__ import annotations

from PySide6.QtCore import QObject

from gpupanel.ui import format as fmt
from gpupanel.ui.past import Agent
from gpupanel.ui.runs import LiveRun, Phase, Runs, info_of

_LONGEST = 200


class RunNotes(QObject):
    """Follows all runs, and notes each step of one once."""

    def __init__(self, runs: Runs, agent: Agent, parent: QObject) -> None:
        super().__init__(parent)
        self._runs = runs
        self._agent = agent
        self._noted: dict[LiveRun, Phase] = {}
        runs.changed.connect(self._follow)

    def _follow(self) -> None:
        noted, self._noted = self._noted, {live: live.phase for live in self._runs.all}
        for live in self._runs.all:
            if live not in noted:
                self._declare(live)
            text = "" if noted.get(live) is live.phase else self._text(live)
            if text and live.run is not None:
                plain = text.replace("\u00a0", " ").replace(fmt.NARROW_SPACE, " ")
                params = {"gpu": live.run.gpu, "text": plain[:_LONGEST]}
                # Without a history there is nothing to note it in; the run itself is not touched.
                self._agent.ask("note", params, lambda _: None, lambda _: None)

    def _declare(self, live: LiveRun) -> None:
        """An agent that does not believe it judges the worker as it would anybody's process."""
        if not self._agent.is_service and live.run is not None and live.worker_pid is not None:
            params = {"pid": live.worker_pid, "workload": live.run.workload}
            self._agent.ask("declare", params, lambda _: None, lambda _: None)

    def _text(self, live: LiveRun) -> str:
        """What to note of a run in its phase; empty for nothing."""
        assert live.run is not None
        title = info_of(live.run.workload).title
        match live.phase:
            case Phase.RUNNING:
                cap = fmt.percent(live.run.cap_percent)
                return self.tr("{0} began, at {1} of its speed at most").format(title, cap)
            case Phase.FINISHED if live.finished is not None:
                done = fmt.rate(live.finished.work_per_s, live.finished.unit)
                return self.tr("{0} ended: {1}").format(title, done)
            case Phase.FAILED if live.failed is not None:
                reason = live.failed.reason.partition("\n")[0]
                return self.tr("{0} failed: {1}").format(title, reason)
        return ""

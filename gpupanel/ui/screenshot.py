"""``gpupanel --screenshot``: one page with live readings as a picture, for documents and tests.

Renders off-screen with a real agent, waits until there is something to see, and quits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QEventLoop, QSize, QTimer
from PySide6.QtWidgets import QApplication

from gpupanel.model.workload import Run
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.ui.pages import PAGE_NAMES
from gpupanel.ui.runs import LiveRun
from gpupanel.ui.store import Store
from gpupanel.ui.theme import ThemeChoice

if TYPE_CHECKING:
    from gpupanel.ui.window import Window

_BOUND_S = 20.0
_LOAD_BOUND_S = 90.0
"""A load that was never run here first tries how it is compiled best."""

_STOP_BOUND_S = 2.0
_LEAST_POINTS = 8
_LEAST_RATES = 5
_RUN_S = 30.0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options of the window's command line; exits with 2 on a wrong one."""
    parser = argparse.ArgumentParser(prog="gpupanel", description="GPU control panel")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--replay", metavar="FILE", help="play a recording of gpupanelctl sample")
    parser.add_argument("--screenshot", metavar="FILE", help="render one page into FILE and quit")
    parser.add_argument("--page", choices=PAGE_NAMES, default=PAGE_NAMES[0])
    parser.add_argument("--theme", choices=[choice.value for choice in ThemeChoice])
    parser.add_argument("--size", type=_size, metavar="WxH", help="of the picture in pixels")
    parser.add_argument(
        "--load",
        action="append",
        default=[],
        choices=tuple(WORKLOAD_BY_NAME),
        help="run it while the picture is taken; several run side by side",
    )
    return parser.parse_args(argv)


class Photographer:
    """Waits for the store to have something to show, then grabs the window."""

    def __init__(self, store: Store, window: Window) -> None:
        self._store = store
        self._window = window

    def take(self, path: str, loads: Sequence[str]) -> str:
        """Write the picture; empty text, or why there is none."""
        if loads:
            reason = self._start(loads)
            if reason:
                return reason
        elif not _wait(self._store, self._filled, _BOUND_S):
            return f"the agent sent too few readings in {_BOUND_S:.0f} s {self._store.link_reason}"
        QApplication.processEvents()  # texts that have just changed take their room
        taken = self._window.grab().save(path)
        self._stop()
        return "" if taken else f"{path} cannot be written"

    def _filled(self) -> bool:
        store = self._store
        told = store.policy is not None and store.ticks >= _LEAST_POINTS
        return told and self._window.page.is_settled

    def _start(self, loads: Sequence[str]) -> str:
        """Run ``loads`` on the first GPU and wait until their charts show something."""
        store = self._store
        if not _wait(store, lambda: bool(store.gpus) and store.policy is not None, _BOUND_S):
            return f"the agent did not answer in {_BOUND_S:.0f} s {store.link_reason}"
        assert store.gpus
        for load in loads:
            if store.start_run(Run(load, store.gpus[0].id, _RUN_S)) is None:
                return store.decisions[0].decision.reason
        lives = store.runs.all
        _wait(store, lambda: all(map(_has_shown, lives)), _LOAD_BOUND_S)
        for live in lives:
            if live.failed is not None:
                return live.failed.reason
            if len(live.rates) < _LEAST_RATES:
                self._stop()
                return f"{live.run and live.run.workload} did not start in {_LOAD_BOUND_S:.0f} s"
        return ""

    def _stop(self) -> None:
        runs = self._store.runs
        if runs.active:
            runs.stop()
            _wait(self._store, lambda: not runs.active, _STOP_BOUND_S)


def _has_shown(live: LiveRun) -> bool:
    return not live.active or len(live.rates) >= _LEAST_RATES


def _wait(store: Store, ready: Callable[[], bool], bound_s: float) -> bool:
    """Run Qt's loop until the store says what ``ready`` wants, ``bound_s`` at most."""
    if ready():
        return True
    loop = QEventLoop()

    def look() -> None:
        if ready():
            loop.quit()

    bound = QTimer(singleShot=True, interval=max(int(bound_s * 1000), 0))
    bound.timeout.connect(loop.quit)
    store.changed.connect(look)
    bound.start()
    loop.exec()
    bound.stop()
    store.changed.disconnect(look)
    return ready()


def _size(text: str) -> QSize:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 1180x760")
    return QSize(int(width), int(height))

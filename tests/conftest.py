"""Fixtures that every room uses: a test that makes noise or leaves something behind fails."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import HealthCheck, settings

# Deadlines and slowness measure how busy the machine is, and say nothing of the code. The main
# suite tries the same examples each time, so that it fails for whoever broke something;
# ``--hypothesis-profile fuzz`` (CONTRIBUTING.md) looks for new ones.
settings.register_profile(
    "fuzz", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("gpupanel", settings.get_profile("fuzz"), derandomize=True)
settings.load_profile("gpupanel")

if sys.platform == "linux" and not ("DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


class _Noise(logging.Handler):
    """Keeps warnings and worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def _quiet_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """A warning in the log fails a test, unless it asked for ``caplog`` and looks itself."""
    noise = _Noise()
    logging.getLogger().addHandler(noise)
    yield
    logging.getLogger().removeHandler(noise)
    if "caplog" not in request.fixturenames:
        assert noise.lines == []


@pytest.fixture(autouse=True)
def _no_child_left() -> Iterator[None]:
    """No test leaves a process behind."""
    before = set(psutil.Process().children())
    yield
    fresh = [child for child in psutil.Process().children() if child not in before]
    _, alive = psutil.wait_procs([child for child in fresh if not _is_tracker(child)], timeout=1)
    assert [child.cmdline() for child in alive] == []


@pytest.fixture(autouse=True)
def _no_qt_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test of the window leaves a running thread, an active timer or a window behind."""
    yield
    if "qapp" not in request.fixturenames:
        return
    from PySide6.QtCore import QEvent, QThread, QTimer
    from PySide6.QtWidgets import QApplication

    gc.collect()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    windows = [one for one in QApplication.topLevelWidgets() if one.parent() is None]
    assert windows == []
    for thing in gc.get_objects():
        kind = type(thing)
        if issubclass(kind, QTimer):
            assert not _alive(thing) or not thing.isActive(), f"active timer: {thing.parent()}"
        elif issubclass(kind, QThread) and _alive(thing) and not thing.isCurrentThread():
            assert not thing.isRunning(), f"running thread: {thing}"


def _alive(thing: object) -> bool:
    """Its C++ half was not deleted yet."""
    import shiboken6

    return bool(shiboken6.isValid(thing))


def _is_tracker(child: psutil.Process) -> bool:
    """multiprocessing's own process, which lives as long as the interpreter."""
    try:
        return any("resource_tracker" in word for word in child.cmdline())
    except psutil.NoSuchProcess:
        return False

"""Fixtures of the tests of WddmBackend: a laptop of two GPUs, on doubles of Windows' libraries."""

from __future__ import annotations

import pytest

from gpupanel.backends.base import ProbeState
from gpupanel.backends.wddm import WddmBackend
from tests.backends.fake_windows import Clock, FakeWindows, backend_on


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def windows() -> FakeWindows:
    return FakeWindows()


@pytest.fixture
def backend(windows: FakeWindows, clock: Clock) -> WddmBackend:
    made = backend_on(windows, clock)
    assert made.probe().state is ProbeState.OK
    return made

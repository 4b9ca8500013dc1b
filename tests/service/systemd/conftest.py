"""One machine for all tests of this folder; each of them finds the service running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.systemd.machine import UNIT, Machine, missing


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if reason := missing():
        pytest.skip(reason)
    machine = Machine(tmp_path_factory.mktemp("machine"))
    yield machine
    machine.stop()


@pytest.fixture
def machine(booted: Machine) -> Machine:
    """The service is active, whatever a test before did to it."""
    booted.run("systemctl", "start", UNIT)
    return booted

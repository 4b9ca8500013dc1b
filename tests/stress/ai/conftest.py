"""What the tests of the AI loads stand on."""

from __future__ import annotations

import pytest

from gpupanel.stress.device import open_device
from gpupanel.stress.workload import Device


@pytest.fixture(scope="module")
def processor() -> Device:
    return open_device("cpu", None)

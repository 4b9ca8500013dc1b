"""Every load of the catalog through the command line, as a user starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpupanel.model.workload import WorkloadInfo
from gpupanel.stress.catalog import WORKLOADS

if TYPE_CHECKING:
    from tests.e2e.conftest import Ctl

pytestmark = pytest.mark.long


@pytest.mark.parametrize("info", WORKLOADS, ids=lambda info: info.name)
def test_every_load_runs_right_and_tells_what_it_promises(ctl: Ctl, info: WorkloadInfo) -> None:
    last = ctl.finished(info.name, "--gpu", "cpu", "--seconds", "6")
    assert last["verified"] is True
    assert last["errors"] == 0
    assert last["work_per_s"] > 0
    assert last["unit"] == info.unit
    promised = {reading.key for reading in info.readings}
    assert set(last["readings"]) <= promised


def test_every_variant_of_every_load_meets_its_known_answers(ctl: Ctl) -> None:
    done = ctl.run("stress", "selftest", timeout_s=600)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": passed") == len(WORKLOADS)


def test_every_vector_of_the_public_file_is_met(ctl: Ctl) -> None:
    vectors = "tests/recordings/mining/vectors.json"
    done = ctl.run("stress", "selftest", "--vectors", vectors, timeout_s=600)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": passed") == 5

"""Whoever gets the number of a miner that ended is not held, stopped, moved or ended for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gpupanel.enforcement import restore
from tests.enforcement.conftest import MAKERS, PREFIX

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can choose a pid")

OWN_PIDS = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.mark.parametrize(
    ("kind", "moment"),
    [(kind, moment) for kind in MAKERS for moment in ("before", "after")]
    + [("v2", "middle"), ("v1", "middle")],
)
def test_a_number_that_changes_hands_costs_nobody_anything(kind: str, moment: str) -> None:
    MAKERS[kind]("probe").close()  # skips where this machine has none
    try:
        told = subprocess.run(
            [*OWN_PIDS, sys.executable, "-m", "tests.threats.pid_reuse", kind, moment, PREFIX],
            capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    finally:
        restore.restore_stale(PREFIX)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found == {"is_reused": True, "is_member": False, "runs": True, "is_home": True}

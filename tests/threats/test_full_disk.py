"""A disk without any room takes memory from the service, and no power."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root may mount a small disk"
)
def test_it_obeys_and_holds_all_the_same() -> None:
    answer = subprocess.run(
        ["unshare", "--mount", sys.executable, "-m", "tests.threats.full_disk"],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    seen = json.loads(answer.stdout)
    assert (seen["state"], seen["cap"], seen["is_holding"]) == ("managed", 25, True)
    assert "GP032" in seen["codes"]  # the last good policy could not be kept
    assert seen["failed"] == ["history"]
    assert "No space left" in seen["audit"]
    assert {"service.started", "policy.loaded"} <= set(seen["mirrored"])

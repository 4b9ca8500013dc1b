"""A drive that does not answer holds nobody up: whoever asked it could not even be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's")

NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
WITHIN_S = 10
"""Less than the drive lives: its end would let go whoever waits for it."""


@pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="needs root and FUSE"
)
@pytest.mark.parametrize("where", ["here", "there"])
def test_a_miner_on_a_dead_drive_is_looked_at_all_the_same(where: str, tmp_path: Path) -> None:
    told = subprocess.run(
        [*NAMESPACES, sys.executable, "-m", "tests.threats.dead_drive", where, tmp_path],
        capture_output=True, text=True, timeout=WITHIN_S, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["arguments"][-1] == f"{tmp_path}/config.json"
    assert found["path"] == "/mnt/update"
    assert found["is_candidate"]
    assert (found["sha256"], found["likeness"]) == (None, None)

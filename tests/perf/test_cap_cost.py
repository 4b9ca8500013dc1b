"""What a cap on mining costs the other families: the share of their own device rate, in one run."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.perf

RUNS = 3


def efficiency_percent(workload: str, policy: Path, home: Path) -> float:
    done = subprocess.run(
        [
            sys.executable, "-P", "-m", "gpupanel", "ctl", "stress", "run", workload,
            "--gpu", "cpu", "--seconds", "8", "--policy", str(policy), "--json",
        ],
        env={**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    share: float = json.loads(done.stdout.splitlines()[-1])["efficiency_percent"]
    return share


@pytest.mark.parametrize("workload", ["ai.gemm", "gaming.raymarch"])
def test_the_other_families_lose_under_two_percent(workload: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("schema = 1\n[mandatory.mining]\nmax_efficiency_percent = 25\n")
    shares = [efficiency_percent(workload, policy, tmp_path) for _ in range(RUNS)]
    print(f"{workload}: {', '.join(f'{share:.2f}' for share in shares)} % of its device rate")
    assert statistics.median(shares) > 98

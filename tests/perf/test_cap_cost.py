"""What a cap on mining does to each mining load, and what it costs the other families."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from gpupanel.model.workload import Family
from gpupanel.stress.catalog import WORKLOADS

pytestmark = pytest.mark.perf

RUNS = 3
POINTS = 2.0
MINING = [info.name for info in WORKLOADS if info.family is Family.MINING]
OTHERS = ["ai.gemm", "ai.train", "gaming.frame"]


def efficiency_percent(workload: str, cap_percent: int, home: Path, seconds: int) -> float:
    policy = home / "policy.toml"
    policy.write_text(f"schema = 1\n[mandatory.mining]\nmax_efficiency_percent = {cap_percent}\n")
    done = subprocess.run(
        [
            sys.executable, "-P", "-m", "gpupanel", "ctl", "stress", "run", workload,
            "--gpu", "cpu", "--seconds", str(seconds), "--policy", str(policy), "--json",
        ],
        env={**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")},
        capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["verified"] is True
    share: float = last["efficiency_percent"]
    return share


@pytest.mark.parametrize("cap_percent", [50, 25])
@pytest.mark.parametrize("workload", MINING)
def test_every_mining_load_keeps_to_its_cap(
    workload: str, cap_percent: int, tmp_path: Path
) -> None:
    share = efficiency_percent(workload, cap_percent, tmp_path, seconds=20)
    print(f"{workload} capped at {cap_percent} %: {share:.2f} %")
    assert share == pytest.approx(cap_percent, abs=POINTS)


@pytest.mark.parametrize("workload", OTHERS)
def test_the_other_families_lose_under_two_percent(workload: str, tmp_path: Path) -> None:
    """Beside the same load without a policy: the cap takes nothing that was there."""
    with_policy, without = [], []
    for _ in range(RUNS):
        with_policy.append(efficiency_percent(workload, 25, tmp_path, seconds=5))
        without.append(efficiency_percent(workload, 100, tmp_path, seconds=5))
    kept = 100 * statistics.median(with_policy) / statistics.median(without)
    print(f"{workload}: keeps {kept:.2f} % of its rate while mining is capped at 25 %")
    assert kept > 98

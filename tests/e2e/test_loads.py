"""The three loads through the command line, and the cap on one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Ctl

SECONDS = "30"
POINTS = 2.0


def capped_policy(folder: Path, percent: int) -> Path:
    policy = folder / "policy.toml"
    policy.write_text(
        "schema = 1\n[mandatory.mining]\nenforcement = 'enforce'\n"
        f"max_efficiency_percent = {percent}\n"
    )
    return policy


@pytest.mark.parametrize("cap_percent", [50, 25, 80])
def test_the_mining_load_keeps_to_its_cap(ctl: Ctl, tmp_path: Path, cap_percent: int) -> None:
    policy = capped_policy(tmp_path, cap_percent)
    last = ctl.finished(
        "mining.ethash", "--gpu", "cpu", "--seconds", SECONDS, "--policy", str(policy)
    )
    assert last["cap_percent"] == cap_percent
    assert last["efficiency_percent"] == pytest.approx(cap_percent, abs=POINTS)
    assert last["efficiency_percent"] == pytest.approx(
        100 * last["work_per_s"] / last["uncapped_work_per_s"]
    )
    assert last["verified"] is True
    assert last["errors"] == 0


@pytest.mark.parametrize("workload", ["ai.gemm", "gaming.raymarch"])
def test_the_cap_leaves_the_other_families_alone(ctl: Ctl, tmp_path: Path, workload: str) -> None:
    policy = capped_policy(tmp_path, 25)
    last = ctl.finished(workload, "--gpu", "cpu", "--seconds", "10", "--policy", str(policy))
    assert last["cap_percent"] == 100
    # A cap would show as 25; how little is lost is measured in tests/perf/test_cap_cost.py.
    assert last["efficiency_percent"] > 90
    assert last["verified"] is True
    assert last["errors"] == 0


def test_a_family_that_policy_forbids_does_not_run(ctl: Ctl, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("schema = 1\n[mandatory.stress]\nallowed_loads = ['ai']\n")
    done = ctl.run("stress", "run", "mining.ethash", "--policy", str(policy), "--json")
    assert done.returncode == 8
    assert "stress.allowed_loads" in done.stderr
    assert str(policy) in done.stderr


def test_a_run_is_cut_to_the_longest_that_policy_allows(ctl: Ctl, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("schema = 1\n[mandatory.stress]\nmax_run_seconds = 2\n")
    last = ctl.finished("ai.gemm", "--seconds", "60", "--policy", str(policy))
    assert 1.9 < last["seconds"] < 4


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("mining.etash",), "did you mean mining.ethash"),
        (("ai.gemm", "--gpu", "GPU-nowhere"), "there is no GPU GPU-nowhere"),
        (("ai.gemm", "--set", "size=big"), "not KNOB=INTEGER"),
        (("ai.gemm", "--seconds", "0"), "1 to 7200"),
    ],
)
def test_wrong_usage_is_named(ctl: Ctl, arguments: tuple[str, ...], complaint: str) -> None:
    done = ctl.run("stress", "run", *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_an_unknown_knob_fails_with_the_known_ones(ctl: Ctl) -> None:
    done = ctl.run("stress", "run", "ai.gemm", "--set", "sise=1024", "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert last["event"] == "failed"
    assert "it has size" in last["reason"]


def test_gpus_always_lists_the_processor(ctl: Ctl) -> None:
    done = ctl.run("gpus", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert "cpu" in [gpu["id"] for gpu in document["gpus"]]
    assert all(entry["reason"] for entry in document["backends"] if entry["state"] != "ok")


def test_samples_come_one_per_line_with_values_or_reasons(ctl: Ctl) -> None:
    done = ctl.run("sample", "--json", "--count", "3", "--interval", "0.2")
    snapshots = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(snapshots) == 3
    times_s = [snapshot["time_unix_s"] for snapshot in snapshots]
    assert times_s == sorted(times_s)
    (cpu,) = [gpu for gpu in snapshots[-1]["gpus"] if gpu["id"] == "cpu"]
    assert 0 <= cpu["metrics"]["utilization_gpu_percent"] <= 100
    assert cpu["metrics"]["memory_used_bytes"] > 0
    assert all(cpu["unavailable"].values())
    assert not set(cpu["metrics"]) & set(cpu["unavailable"])

"""A run that leaves a report, and two reports beside each other, through the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.conftest import Ctl


def test_runs_side_by_side_leave_a_report_each(ctl: Ctl, tmp_path: Path) -> None:
    report = tmp_path / "both.json"
    done = ctl.run(
        "stress", "run", "ai.gemm", "mining.ethash", "--seconds", "2", "--report", str(report)
    )
    assert done.returncode == 0, done.stderr
    records = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert sorted(records) == ["both-ai.gemm-cpu.json", "both-mining.ethash-cpu.json"]
    for record in records.values():
        assert record["last"]["verified"] is True
        assert record["trace"]
    compared = ctl.run("stress", "compare", *(str(tmp_path / name) for name in sorted(records)))
    assert compared.returncode == 0
    assert "the load differs: ai.gemm and mining.ethash" in compared.stdout


def test_a_load_in_steps_rests_between_them(ctl: Ctl, tmp_path: Path) -> None:
    table, page = tmp_path / "steps.csv", tmp_path / "steps.html"
    last = ctl.finished(
        "ai.gemm", "--seconds", "9", "--profile", "steps",
        "--report", str(table), "--report", str(page),
    )  # fmt: skip
    assert last["verified"] is True
    # 20, 40, 60 and 80 % for two seconds each, then 100.
    assert 40 < last["efficiency_percent"] < 70
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) >= 8
    assert float(rows[0]["work_per_s"]) < 0.5 * float(rows[0]["uncapped_work_per_s"])
    assert "profile steps" in page.read_text()


def test_wrong_reports_are_named(ctl: Ctl, tmp_path: Path) -> None:
    form = ctl.run("stress", "run", "ai.gemm", "--report", str(tmp_path / "run.pdf"))
    assert form.returncode == 2
    assert "ends with none of .html, .csv, .json" in form.stderr
    folder = ctl.run("stress", "run", "ai.gemm", "--report", str(tmp_path / "no" / "run.csv"))
    assert folder.returncode == 2
    assert "there is no folder" in folder.stderr
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    compared = ctl.run("stress", "compare", str(broken), str(broken))
    assert compared.returncode == 1
    assert f"{broken}: it is not JSON" in compared.stderr

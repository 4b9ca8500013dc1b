"""Two runs beside each other."""

from __future__ import annotations

import pytest

from gpupanel.model.workload import Failed
from gpupanel.stress.report.compare import compare
from tests.stress.report.builders import finished, record


def test_ratios_are_b_over_a() -> None:
    document = compare(record(), record(finished(work_per_s=90e6, energy_j=None))).as_json()
    assert document["figures"]["work_per_s"]["ratio"] == pytest.approx(2)
    assert document["figures"]["energy_j"] == {"a": 14_000.0, "b": None, "ratio": None}
    assert document["figures"]["most_power_draw_w"]["a"] == 200.0
    assert document["notes"] == []


def test_what_makes_them_incomparable_is_said() -> None:
    notes = compare(record(), record(name="AMD Radeon RX 580")).notes
    assert notes == ("the GPU differs: NVIDIA GeForce RTX 3080 and AMD Radeon RX 580",)


def test_a_failed_run_compares_as_unknown() -> None:
    comparison = compare(record(), record(Failed("mining.ethash", "GPU-1", "X", "y")))
    assert comparison.verdicts == ("passed", "failed")
    assert next(row for row in comparison.rows if row[0] == "Rate")[2:] == ("–", "–")

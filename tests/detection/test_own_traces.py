"""Recorded traces of our own loads: what use alone tells of mining, which is next to nothing."""

from __future__ import annotations

import json
from statistics import fmean, pstdev

import pytest

from gpupanel.detection import telemetry
from gpupanel.detection.fusion import judge
from gpupanel.detection.reading.facts import Use
from gpupanel.detection.signatures import built_in
from gpupanel.model.verdict import Standing
from tests.detection.harness import CORPUS

TRACES = json.loads((CORPUS / "own_loads.json").read_text(encoding="utf-8"))


def uses(load: str) -> list[Use]:
    return [Use(at_s, busy, memory_bytes=memory) for at_s, busy, memory in TRACES[load]]


@pytest.mark.parametrize("load", TRACES)
def test_no_load_is_suspected_for_its_use_alone(load: str) -> None:
    lines = list(telemetry.evidence(uses(load), built_in()))
    assert lines
    judgement = judge(lines)
    assert judgement.posterior < 0.001
    assert judgement.standing(Standing.CLEAR) is Standing.CLEAR


def test_mining_and_training_cannot_be_told_apart_by_their_use() -> None:
    """Why telemetry may not convict: here even their evenness is the same within 2 percent."""
    evenness = {load: pstdev(busy) for load in TRACES if (busy := [u[1] for u in TRACES[load]])}
    assert abs(evenness["mining.sha256d"] - evenness["ai.gemm"]) < 2
    levels = {load: fmean(use[1] for use in TRACES[load]) for load in TRACES}
    assert abs(levels["mining.sha256d"] - levels["ai.gemm"]) < 15

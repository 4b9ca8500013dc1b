"""What a card says of its GPU beside the numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpupanel.model.gpu import GpuState, Sample, Snapshot, Unavailable
from gpupanel.ui.widgets.gpu_card import GpuCard


def state_text(bench: Any, sample: Sample) -> str:
    bench.store.add_snapshot(Snapshot(1.7e9, 100.0, (sample,)))
    card = GpuCard(bench.gpu(), bench.store)
    card.refresh()
    text: str = card._state.text()
    card.deleteLater()
    return text


@pytest.mark.parametrize(
    ("limited_by", "expected"),
    [
        ((), ""),
        (("idle",), ""),
        (("power_cap",), "Limited by: Power limit"),
        (("idle", "thermal", "power_cap"), "Limited by: Temperature, Power limit"),
        (Unavailable("not reported"), ""),
    ],
)
def test_it_names_what_holds_a_busy_card_back(
    bench: Any, limited_by: tuple[str, ...] | Unavailable, expected: str
) -> None:
    bench.feed([bench.gpu()])
    (sample,) = bench.snapshot([bench.gpu()], 99.0).samples
    assert state_text(bench, replace(sample, limited_by=limited_by)) == expected


def test_a_sleeping_card_says_since_when(bench: Any) -> None:
    bench.feed([bench.gpu()])
    asleep = Sample(bench.gpu().id, {}, GpuState.ASLEEP, state_since_unix_s=1.7e9)
    assert state_text(bench, asleep).startswith("Asleep since ")


def test_a_lost_card_says_so_without_a_time_too(bench: Any) -> None:
    bench.feed([bench.gpu()])
    assert state_text(bench, Sample(bench.gpu().id, {}, GpuState.LOST)) == "Lost"

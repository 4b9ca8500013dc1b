"""A foreign miner under the whole daemon: what its own counter says is left of its rate."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.capping import UID, CappingDaemon, is_steady, measured, rate_per_s
from tests.enforcement.miner.programs import miner, neighbour

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="holds a process of another user"
)

QUICK_POINTS = 12.0
"""Of a stretch of seconds on a machine that others use too."""

POINTS = 2.0
"""Of a minute."""

ROUNDS, BESIDE_S = 5, 15.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[CappingDaemon]:
    with CappingDaemon(tmp_path / "machine") as started:
        yield started


def test_a_foreign_miner_is_held_to_its_cap_and_let_go_again(daemon: CappingDaemon) -> None:
    with miner(name="t-rex", uid=UID) as one:
        one.wait_until_at_work()
        figures = measured("quick", daemon, one, 25, window_s=4.0)
        assert figures.efficiency_percent == pytest.approx(25, abs=QUICK_POINTS)
        assert rate_per_s(one, 1.0) > 0.5 * min(figures.uncapped_per_s)


@pytest.mark.long
@pytest.mark.parametrize("percent", [25, 50, 75])
def test_the_mean_of_a_minute_is_the_cap(daemon: CappingDaemon, percent: int) -> None:
    with miner(name="t-rex", uid=UID, seconds=600) as one:
        one.wait_until_at_work()
        figures = measured("a minute", daemon, one, percent, window_s=60.0, pairs=2, parts=6)
    assert figures.efficiency_percent == pytest.approx(percent, abs=POINTS)


@pytest.mark.long
def test_an_honest_neighbour_gains_what_the_miner_loses(daemon: CappingDaemon) -> None:
    with miner(name="t-rex", uid=UID, seconds=300) as one, neighbour(uid=UID, seconds=300) as other:
        one.wait_until_at_work()
        other.wait_until_at_work()
        before_per_s = rate_per_s(other, 10.0)
        daemon.set_cap(25)
        daemon.wait_until(bool)
        beside_per_s = rate_per_s(other, 20.0)
        assert all(one.pid == hold["pid"] for hold in daemon.holds())
    assert beside_per_s > before_per_s


@pytest.mark.long
def test_an_honest_neighbour_keeps_its_rate(daemon: CappingDaemon) -> None:
    """Beside a miner that the service holds, it does what it does beside one that holds itself."""
    beside: dict[str, list[float]] = {"held": [], "holds itself": []}
    with neighbour(uid=UID, seconds=600) as honest:
        honest.wait_until_at_work()
        for _ in range(ROUNDS):
            daemon.set_cap(100)
            with miner("--duty", "50", "1000", name="t-rex", uid=UID, seconds=120) as one:
                one.wait_until_at_work()
                daemon.wait_until(lambda holds: not holds)
                beside["holds itself"].append(rate_per_s(honest, BESIDE_S))
            with miner(name="t-rex", uid=UID, seconds=120) as one:
                one.wait_until_at_work()
                daemon.set_cap(50)
                daemon.wait_until(lambda holds: any(is_steady(hold, 50) for hold in holds))
                beside["held"].append(rate_per_s(honest, BESIDE_S))
            daemon.set_cap(100)
            daemon.wait_until(lambda holds: not holds)
    shares = [held / own for held, own in zip(*beside.values(), strict=True)]
    sys.stdout.write(
        f"\nneighbour: {100 * median(shares):.1f} % of its rate beside an equal miner that holds "
        f"itself (rounds {', '.join(f'{100 * one:.1f}' for one in shares)})\n"
    )
    assert median(shares) >= 0.98

"""The measured ceilings beside C programs that do the same on the same processor."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

from gpupanel.model.roofline import Ceiling
from gpupanel.stress.ceilings import measure
from gpupanel.stress.device import open_device

if TYPE_CHECKING:
    from tests.perf.conftest import StartPeer

pytestmark = pytest.mark.perf

GIB = 1 << 30
ROUNDS = 7


@pytest.mark.parametrize(
    ("ceiling", "peer", "least"),
    [
        (Ceiling.COPY, ("stream", "copy"), 0.90),
        (Ceiling.READ, ("stream", "read"), 0.90),
        (Ceiling.RANDOM_128B, ("random_reads", "128"), 0.70),
        (Ceiling.RANDOM_32B, ("random_reads", "32"), 0.70),
        (Ceiling.FP32, ("fma",), 0.95),
    ],
    ids=lambda value: value if isinstance(value, Ceiling) else None,
)
def test_a_ceiling_is_what_c_reaches(
    start_peer: StartPeer, ceiling: Ceiling, peer: tuple[str, ...], least: float
) -> None:
    device = open_device("cpu", None)
    in_c = start_peer(*peer)
    measure(device, [ceiling], GIB)  # compiles
    ratios = []
    for _ in range(ROUNDS):
        ours = measure(device, [ceiling], GIB).per_s[ceiling]
        theirs = in_c()
        ratios.append(ours / theirs)
        print(f"{ceiling}: {ours / 1e9:.1f} G/s, in C {theirs / 1e9:.1f} G/s")
    print(f"{ceiling}: {statistics.median(ratios):.3f} of C")
    assert statistics.median(ratios) >= least

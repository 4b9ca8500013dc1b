from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.detection.fusion import HALF_LIFE_S, PRIOR_NATS, Latch, judge
from gpupanel.model.verdict import Evidence, EvidenceFamily, EvidenceSource, Standing

lines = st.builds(
    Evidence,
    st.sampled_from(EvidenceFamily),
    st.sampled_from("abcdef"),
    st.floats(-20, 20),
    st.just("text"),
    st.sampled_from(EvidenceSource),
)


def line(family: str, nats: float, source: str = "command line", kind: str = "k") -> Evidence:
    return Evidence(EvidenceFamily(family), kind, nats, "text", EvidenceSource(source))


SURE = (line("process", 12, "command line"), line("network", 12, "connections"))


@given(st.lists(lines, max_size=12), st.randoms())
def test_the_order_of_evidence_does_not_matter(found: list[Evidence], dice: object) -> None:
    mixed = list(found)
    dice.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = judge(found), judge(mixed)
    assert math.isclose(one.posterior, other.posterior, rel_tol=1e-9)
    assert one.has_two_witnesses == other.has_two_witnesses


@given(st.lists(lines.map(lambda each: replace(each, family=EvidenceFamily.TELEMETRY))))
def test_telemetry_never_convicts_nor_alerts(found: list[Evidence]) -> None:
    judgement = judge(found)
    assert judgement.posterior <= 1 / (1 + math.exp(-(PRIOR_NATS + 2.0))) + 1e-12
    assert judgement.standing(Standing.CLEAR) is Standing.CLEAR


@given(st.lists(lines, max_size=12))
def test_one_family_or_one_place_never_holds(found: list[Evidence]) -> None:
    judgement = judge(found)
    if judgement.standing(Standing.CLEAR) is Standing.MINING:
        speaking = {
            (each.family, each.source)
            for each in found
            if each.family in {"process", "network", "files"} and each.weight_nats > 0
        }
        assert len({family for family, _ in speaking}) >= 2
        assert len({source for _, source in speaking}) >= 2


@given(st.lists(lines, max_size=12))
def test_what_speaks_for_a_process_does_not_outweigh_a_miner(found: list[Evidence]) -> None:
    benign = [each for each in found if each.family is EvidenceFamily.BENIGN]
    assert judge([*SURE, *benign]).standing(Standing.CLEAR) is Standing.MINING


@pytest.mark.parametrize(
    ("posterior_of", "standing"),
    [
        ((), Standing.CLEAR),
        ((line("process", 11.3),), Standing.CLEAR),
        ((line("process", 11.5),), Standing.SUSPECTED),
        ((line("process", 12), line("network", 12)), Standing.SUSPECTED),
        ((line("process", 12), line("network", 1.9, "connections")), Standing.SUSPECTED),
        ((line("process", 12), line("network", 4.0, "connections")), Standing.SUSPECTED),
        ((line("process", 12), line("network", 4.2, "connections")), Standing.MINING),
        (SURE, Standing.MINING),
    ],
)
def test_the_two_thresholds(posterior_of: tuple[Evidence, ...], standing: Standing) -> None:
    assert judge(posterior_of).standing(Standing.CLEAR) is standing


def test_what_was_seen_fades_by_half_in_ten_minutes() -> None:
    latch = Latch()
    latch.see([line("process", 8.0)], 0.0)
    (faded,) = latch.see([], HALF_LIFE_S).evidence
    assert faded.weight_nats == pytest.approx(4.0)
    assert not latch.is_empty(HALF_LIFE_S)
    assert latch.is_empty(20 * HALF_LIFE_S)


def test_seen_again_it_is_as_strong_as_at_first_and_never_stronger() -> None:
    latch = Latch()
    for second in range(100):
        judgement = latch.see([line("process", 8.0)], float(second))
    assert [each.weight_nats for each in judgement.evidence] == [8.0]
    weaker = latch.see([line("process", 1.0)], 100.0)
    assert weaker.evidence[0].weight_nats == pytest.approx(8.0, abs=0.1)


def test_what_speaks_for_a_process_counts_only_while_it_is_seen() -> None:
    latch = Latch()
    drawing = latch.see([*SURE, line("benign", -8.0, "use of the GPU")], 0.0)
    hidden = latch.see([], 1.0)
    assert hidden.posterior > drawing.posterior
    assert all(each.weight_nats > 0 for each in hidden.evidence)


def test_a_standing_is_left_later_than_it_is_entered() -> None:
    middling = judge([line("process", 7.0), line("network", 3.5, "connections")])
    assert 0.5 < middling.posterior < 0.9
    assert middling.standing(Standing.CLEAR) is Standing.CLEAR
    assert middling.standing(Standing.SUSPECTED) is Standing.SUSPECTED
    assert middling.standing(Standing.MINING) is Standing.MINING
    assert judge([line("process", 9.0)]).standing(Standing.MINING) is Standing.CLEAR


def test_two_that_turn_out_to_be_one_share_what_was_seen() -> None:
    one, other = Latch(), Latch()
    one.see([SURE[0]], 0.0)
    other.see([SURE[1]], 0.0)
    one.merge(other)
    assert one.see([], 1.0).has_two_witnesses

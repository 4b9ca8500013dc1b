from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpupanel.model.decision import Verb
from gpupanel.model.errors import RunDenied
from gpupanel.model.workload import Family, Run
from gpupanel.policy.claims import Scope
from gpupanel.policy.decide import carry_out, decide_run
from gpupanel.policy.parse import parse
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, closed_claims, resolve

MINE = Run("mining.ethash", "cpu", 30)
TRAIN = Run("ai.gemm", "cpu", 30)


def policy_of(body: str) -> EffectivePolicy:
    return resolve(parse(f"schema = 1\n{body}".encode(), "/etc/60.toml", Scope.MACHINE))


CAPPED = "[mandatory.mining]\nmax_efficiency_percent = 50\n"


def test_without_policy_everything_is_allowed() -> None:
    decision = decide_run(resolve(()), MINE, Family.MINING)
    assert decision.verb is Verb.ALLOW
    assert decision.subject == "mining.ethash on cpu for 30 s"
    assert decision.values == {"cap_percent": 100, "max_seconds": 30}
    assert carry_out(decision, MINE) == MINE


def test_a_cap_clamps_mining_and_names_who_set_it() -> None:
    decision = decide_run(policy_of(CAPPED), MINE, Family.MINING)
    assert decision.verb is Verb.CLAMP
    assert decision.values == {"cap_percent": 50, "max_seconds": 30}
    assert decision.reason == (
        "mining runs at 50 % of its speed: mining.max_efficiency_percent = 50, "
        "set by the machine policy (/etc/60.toml:3:26)"
    )
    assert carry_out(decision, MINE) == Run("mining.ethash", "cpu", 30, cap_percent=50)


@pytest.mark.parametrize("family", [Family.AI, Family.GAMING])
def test_the_mining_cap_leaves_other_families_alone(family: Family) -> None:
    decision = decide_run(policy_of(CAPPED), TRAIN, family)
    assert (decision.verb, decision.values["cap_percent"]) == (Verb.ALLOW, 100)


def test_a_run_that_asked_for_less_than_the_cap_is_left_alone() -> None:
    run = Run("mining.ethash", "cpu", 30, cap_percent=20)
    decision = decide_run(policy_of(CAPPED), run, Family.MINING)
    assert (decision.verb, decision.values["cap_percent"]) == (Verb.ALLOW, 20)


def test_audit_allows_and_tells_what_would_have_been() -> None:
    policy = policy_of(CAPPED + 'enforcement = "audit"')
    decision = decide_run(policy, MINE, Family.MINING)
    assert policy.state is PolicyState.AUDIT_ONLY
    assert (decision.verb, decision.values["cap_percent"]) == (Verb.ALLOW, 100)
    assert decision.reason.startswith("audit only, would have capped mining to 50 %: mining.max_")
    assert "mining.enforcement = audit, set by the machine policy (/etc/60.toml:4:15)" in (
        decision.reason
    )


def test_off_allows_and_says_that_it_is_off() -> None:
    decision = decide_run(policy_of(CAPPED + 'enforcement = "off"'), MINE, Family.MINING)
    assert (decision.verb, decision.values["cap_percent"]) == (Verb.ALLOW, 100)
    assert decision.reason.startswith("the mining cap is off: mining.enforcement = off, set by")


def test_a_family_that_is_not_allowed_is_denied() -> None:
    policy = policy_of('[mandatory.stress]\nallowed_loads = ["gaming", "ai"]\n' + CAPPED)
    decision = decide_run(policy, MINE, Family.MINING)
    assert decision.verb is Verb.DENY
    assert decision.values["max_seconds"] == 0
    assert decision.reason == (
        "mining loads may not run: stress.allowed_loads = [ai, gaming], "
        "set by the machine policy (/etc/60.toml:3:17)"
    )
    with pytest.raises(RunDenied, match="mining loads may not run"):
        carry_out(decision, MINE)
    assert decide_run(policy, TRAIN, Family.AI).verb is Verb.ALLOW


def test_a_long_run_is_cut_also_where_the_cap_only_audits() -> None:
    body = "[mandatory.stress]\nmax_run_seconds = 20\n" + CAPPED + 'enforcement = "audit"'
    decision = decide_run(policy_of(body), MINE, Family.MINING)
    assert decision.verb is Verb.CLAMP
    assert decision.values == {"cap_percent": 100, "max_seconds": 20}
    assert "audit only" in decision.reason
    assert "ends after 20 s: stress.max_run_seconds = 20, set by the machine" in decision.reason
    assert carry_out(decision, MINE).seconds == 20


def test_the_closed_policy_throttles_and_kills_nothing() -> None:
    policy = resolve(closed_claims(), state=PolicyState.CLOSED)
    decision = decide_run(policy, MINE, Family.MINING)
    assert decision.verb is Verb.CLAMP
    assert decision.values == {"cap_percent": 5, "max_seconds": 30}
    assert "because the machine policy is broken" in decision.reason
    for family in (Family.AI, Family.GAMING):
        assert decide_run(policy, TRAIN, family).verb is Verb.ALLOW


@given(
    st.floats(),
    st.integers(1, 100),
    st.integers(1, 100),
    st.integers(1, 7200),
    st.sampled_from(Family),
)
@example(math.nan, 100, 50, 600, Family.MINING)
@example(math.nan, 100, 50, 600, Family.AI)
@example(-math.inf, 100, 50, 600, Family.AI)
def test_what_starts_is_never_more_than_was_asked_or_is_allowed(
    seconds: float, asked_percent: int, cap_percent: int, limit_s: int, family: Family
) -> None:
    policy = policy_of(
        f"mandatory.mining.max_efficiency_percent = {cap_percent}\n"
        f"mandatory.stress.max_run_seconds = {limit_s}\n"
    )
    run = Run("x", "cpu", seconds, asked_percent)
    decision = decide_run(policy, run, family)
    allowed = carry_out(decision, run)
    assert allowed.seconds <= limit_s
    assert math.isnan(seconds) or allowed.seconds <= seconds
    assert allowed.cap_percent <= asked_percent
    assert family is not Family.MINING or allowed.cap_percent <= cap_percent
    assert family is Family.MINING or allowed.cap_percent == asked_percent
    assert (decision.verb is Verb.ALLOW) == (allowed == run)

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.decision import Diagnostic
from gpupanel.policy.claims import Claim, Level, Scope, Source
from gpupanel.policy.key import Kind, PolicyKey, Value
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.resolve import (
    EffectivePolicy,
    PolicyState,
    closed_claims,
    resolve,
)

CAP = "mining.max_efficiency_percent"
SWITCH = "mining.enforcement"


def values_of(key: PolicyKey) -> st.SearchStrategy[Value]:
    match key.kind:
        case Kind.BOOLEAN:
            return st.booleans()
        case Kind.INTEGER:
            return st.integers(key.low, key.high)
        case Kind.CHOICE:
            return st.sampled_from(key.choices)
        case Kind.CHOICES:
            return st.lists(st.sampled_from(key.choices)).map(key.normal)
        case Kind.TEXTS:
            return st.lists(st.from_regex(key.pattern, fullmatch=True), max_size=3).map(key.normal)


@st.composite
def keyed_values(draw: st.DrawFn, count: int) -> tuple[PolicyKey, list[Value]]:
    key = draw(st.sampled_from(POLICY_KEYS))
    return key, [draw(values_of(key)) for _ in range(count)]


@st.composite
def claims(draw: st.DrawFn, scope: Scope, levels: Sequence[Level]) -> list[Claim]:
    made = []
    for line in range(draw(st.integers(0, 6))):
        key = draw(st.sampled_from(POLICY_KEYS))
        source = Source(scope.value, line + 1, 1)
        level = draw(st.sampled_from(levels))
        made.append(Claim(key.name, draw(values_of(key)), level, scope, source))
    return made


MACHINE = claims(Scope.MACHINE, [Level.MANDATORY, Level.RECOMMENDED])
USER = claims(Scope.USER, [Level.USER])
EXTRA = claims(Scope.EXTRA, [Level.USER])


def mandate(key: str, value: Value, line: int = 1) -> Claim:
    return Claim(key, value, Level.MANDATORY, Scope.MACHINE, Source("/etc/p.toml", line, 5))


def recommendation(key: str, value: Value, line: int = 1) -> Claim:
    return Claim(key, value, Level.RECOMMENDED, Scope.MACHINE, Source("/etc/p.toml", line, 5))


def wish(key: str, value: Value) -> Claim:
    return Claim(key, value, Level.USER, Scope.USER, Source("/home/p.toml", 1, 5))


def extra(key: str, value: Value) -> Claim:
    return Claim(key, value, Level.USER, Scope.EXTRA, Source("extra.toml", 1, 5))


@given(keyed_values(3))
def test_values_meet_in_a_lattice(drawn: tuple[PolicyKey, list[Value]]) -> None:
    key, (a, b, c) = drawn
    assert key.meet(a, b) == key.meet(b, a)
    assert key.meet(a, key.meet(b, c)) == key.meet(key.meet(a, b), c)
    assert key.meet(a, a) == a
    assert not key.is_looser(key.meet(a, b), a)
    assert not key.is_looser(a, a)


def test_tighter_means_what_people_expect() -> None:
    cap, switch = POLICY_KEY_BY_NAME[CAP], POLICY_KEY_BY_NAME[SWITCH]
    loads = POLICY_KEY_BY_NAME["stress.allowed_loads"]
    assert cap.meet(50, 80) == 50
    assert switch.meet("off", "audit") == "audit"
    assert switch.meet("enforce", "audit") == "enforce"
    assert loads.meet(("mining", "ai"), ("ai", "gaming")) == ("ai",)
    assert cap.is_looser(80, 50)
    assert switch.is_looser("off", "audit")
    assert loads.is_looser(("mining", "ai"), ("ai", "gaming"))
    with pytest.raises(TypeError, match="not of one kind"):
        cap.meet(50, "audit")


@given(MACHINE, USER, EXTRA)
def test_no_wish_and_no_extra_file_is_looser_than_the_mandate(
    machine: list[Claim], user: list[Claim], more: list[Claim]
) -> None:
    mandated = resolve(machine)
    policy = resolve(machine, user, more)
    last = {claim.key: claim.value for claim in machine if claim.level is Level.MANDATORY}
    for name, value in last.items():
        key = POLICY_KEY_BY_NAME[name]
        assert mandated.settings[name].value == value
        assert not key.is_looser(policy.settings[name].value, value)
        assert policy.settings[name].is_locked


@given(MACHINE, USER, EXTRA)
def test_an_extra_file_only_tightens(
    machine: list[Claim], user: list[Claim], more: list[Claim]
) -> None:
    without, with_it = resolve(machine, user), resolve(machine, user, more)
    for key in POLICY_KEYS:
        value = with_it.settings[key.name].value
        assert not key.is_looser(value, without.settings[key.name].value)
        for claim in more:
            assert claim.key != key.name or not key.is_looser(value, claim.value)


@given(USER, EXTRA)
def test_the_closed_policy_bounds_everything(user: list[Claim], more: list[Claim]) -> None:
    policy = resolve(closed_claims(), user, more, state=PolicyState.CLOSED)
    assert policy.state is PolicyState.CLOSED
    for key in POLICY_KEYS:
        assert not key.is_looser(policy.settings[key.name].value, key.closed)


@given(keyed_values(3), st.permutations([0, 1, 2]))
def test_the_order_of_authorities_does_not_change_a_mandated_value(
    drawn: tuple[PolicyKey, list[Value]], order: list[int]
) -> None:
    key, values = drawn
    a, b, c = (values[index] for index in order)
    one = resolve([mandate(key.name, a)], [wish(key.name, b)], [extra(key.name, c)])
    a, b, c = values
    other = resolve([mandate(key.name, a)], [wish(key.name, b)], [extra(key.name, c)])
    assert one.settings[key.name].value == other.settings[key.name].value


@given(MACHINE, USER, EXTRA, st.sampled_from(PolicyState))
def test_every_claim_is_in_force_or_overridden_and_json_keeps_all(
    machine: list[Claim], user: list[Claim], more: list[Claim], state: PolicyState
) -> None:
    diagnostic = Diagnostic("p", 1, 2, "error", "GP011", "ä")
    policy = resolve(machine, user, more, state=state, diagnostics=[diagnostic])
    for claim in (*machine, *more):
        setting = policy.settings[claim.key]
        assert claim.source in {setting.source, *(one.source for one in setting.overridden)}
    assert list(policy.settings) == [key.name for key in POLICY_KEYS]
    assert EffectivePolicy.from_json(json.loads(json.dumps(policy.as_json()))) == policy


def test_nothing_said_gives_the_defaults() -> None:
    policy = resolve((), state=PolicyState.UNMANAGED)
    assert policy.state is PolicyState.UNMANAGED
    for key in POLICY_KEYS:
        setting = policy.settings[key.name]
        assert (setting.value, setting.level, setting.source) == (key.default, Level.DEFAULT, None)
        assert not setting.is_locked
        assert setting.overridden == ()
    assert policy.settings[CAP].set_by == "the built-in default"


def test_a_later_drop_in_replaces_an_earlier_one_also_by_a_looser_value() -> None:
    setting = resolve([mandate(CAP, 50, 1), mandate(CAP, 80, 2)]).settings[CAP]
    assert (setting.value, setting.source) == (80, Source("/etc/p.toml", 2, 5))
    assert [(one.value, one.why) for one in setting.overridden] == [
        (50, "superseded by /etc/p.toml:2:5")
    ]


def test_a_recommendation_gives_way_to_a_wish_and_a_mandate_does_not() -> None:
    free = resolve([recommendation(CAP, 50)], [wish(CAP, 80)]).settings[CAP]
    assert (free.value, free.level, free.is_locked) == (80, Level.USER, False)
    bound = resolve([mandate(CAP, 50)], [wish(CAP, 80)]).settings[CAP]
    assert (bound.value, bound.level, bound.is_locked) == (50, Level.MANDATORY, True)
    assert bound.overridden[0].why == "looser than what the machine policy allows"
    tighter = resolve([mandate(CAP, 50)], [wish(CAP, 20)]).settings[CAP]
    assert (tighter.value, tighter.level, tighter.is_locked) == (20, Level.USER, True)
    assert tighter.overridden[0].why == "tightened by the user's policy"
    assert tighter.set_by == "the user's policy (/home/p.toml:1:5)"


def test_whoever_mandates_the_cap_mandates_that_it_is_on() -> None:
    policy = resolve([mandate(CAP, 50)], [wish(SWITCH, "off")])
    assert policy.choice(SWITCH) == "enforce"
    assert policy.settings[SWITCH].is_locked
    audit = [mandate(CAP, 50), recommendation(SWITCH, "audit", 2)]
    assert resolve(audit, [wish(SWITCH, "off")]).choice(SWITCH) == "audit"
    assert resolve(audit, [wish(SWITCH, "enforce")]).choice(SWITCH) == "enforce"
    explicit = [mandate(SWITCH, "off"), mandate(CAP, 50)]
    assert resolve(explicit).choice(SWITCH) == "off"
    assert resolve([recommendation(CAP, 50)], [wish(SWITCH, "off")]).choice(SWITCH) == "off"


def test_an_extra_file_that_caps_turns_the_cap_on_unless_it_says_otherwise() -> None:
    off = [wish(SWITCH, "off")]
    assert resolve((), off, [extra(CAP, 50)]).choice(SWITCH) == "enforce"
    both = [extra(CAP, 50), extra(SWITCH, "audit")]
    assert resolve((), off, both).choice(SWITCH) == "audit"


@pytest.mark.parametrize(
    ("state", "value", "expected"),
    [
        (PolicyState.MANAGED, "audit", PolicyState.AUDIT_ONLY),
        (PolicyState.UNMANAGED, "audit", PolicyState.AUDIT_ONLY),
        (PolicyState.STALE, "audit", PolicyState.STALE),
        (PolicyState.MANAGED, "off", PolicyState.MANAGED),
    ],
)
def test_audit_is_a_state_of_a_sound_policy(
    state: PolicyState, value: str, expected: PolicyState
) -> None:
    assert resolve([recommendation(SWITCH, value)], state=state).state is expected


@pytest.mark.parametrize("damage", ["state", "settings", "diagnostics"])
def test_documents_of_another_form_are_refused(damage: str) -> None:
    document = resolve(()).as_json()
    assert EffectivePolicy.from_json(document).state is PolicyState.MANAGED
    replacements: list[object] = [None, "no such state", [{}], {CAP: {}}]
    broken = [{**document, damage: value} for value in replacements]
    for one in (*broken, {key: document[key] for key in document if key != damage}):
        with pytest.raises(ValueError, match="not an effective policy"):
            EffectivePolicy.from_json(one)


@pytest.mark.parametrize("value", [True, 1.5, None, {}, [1]])
def test_values_of_no_kind_are_refused(value: object) -> None:
    document = resolve(()).as_json()
    document["settings"][CAP]["value"] = value
    with pytest.raises(ValueError, match="not an effective policy"):
        EffectivePolicy.from_json(document)

"""What is final only gets tighter; what is said of one user only tightens; laws, not examples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import (
    Asker,
    Claim,
    Final,
    Level,
    MemberClaim,
    Scope,
    Source,
    Statement,
    statement_as_json,
    statement_from_json,
    statements_for,
)
from gpupanel.policy.compare import Direction, changes, loosened
from gpupanel.policy.key import PolicyKey, Value
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.machine import conflicts
from gpupanel.policy.parse import parse, parse_machine
from gpupanel.policy.resolve import EffectivePolicy, resolve
from tests.policy.test_resolve import CAP, SWITCH, claims, mandate, recommendation, values_of, wish

GRACE = "mining.grace_seconds"
ANYTHING = [Level.MANDATORY, Level.RECOMMENDED]


@st.composite
def drop_ins(draw: st.DrawFn) -> list[list[Statement]]:
    """Some files in their order; each may make keys final, said by itself or not."""
    files: list[list[Statement]] = []
    for number in range(draw(st.integers(1, 4))):
        said: list[Statement] = list(draw(claims(Scope.MACHINE, ANYTHING)))
        for key in draw(st.lists(st.sampled_from(POLICY_KEYS), max_size=4)):
            names = filter(None, (key.name, key.switch))
            said += [Final(name, Source(f"{number}.toml", 2, 10)) for name in names]
        files.append(said)
    return files


def prefixes(files: Sequence[Sequence[Statement]]) -> list[list[Statement]]:
    return [list(chain(*files[:count])) for count in range(len(files) + 1)]


@given(drop_ins(), claims(Scope.USER, [Level.USER]))
def test_no_later_drop_in_loosens_what_is_final(
    files: list[list[Statement]], user: list[Claim]
) -> None:
    for before, after in pairwise(prefixes(files)):
        finals = {one.key for one in before if isinstance(one, Final)}
        # Alone, and for a user with wishes: a drop-in must not free what it cannot loosen.
        for wishes in ([], user):
            old, new = resolve(before, wishes), resolve(after, wishes)
            for name in finals:
                key = POLICY_KEY_BY_NAME[name]
                assert not key.is_looser(machine_value(key, new), machine_value(key, old)), name
                assert new.settings[name].is_locked or not old.settings[name].is_locked


def machine_value(key: PolicyKey, policy: EffectivePolicy) -> Value:
    """What binds the user, and what he gets where nothing does."""
    return policy.settings[key.name].value


@given(drop_ins())
def test_what_is_not_final_is_replaced_as_ever(files: list[list[Statement]]) -> None:
    everything = prefixes(files)[-1]
    finals = {one.key for one in everything if isinstance(one, Final)}
    plain = [one for one in everything if isinstance(one, Claim)]
    with_finals, without = resolve(everything), resolve(plain)
    for key in POLICY_KEYS:
        if key.name not in finals and key.name != SWITCH:
            assert with_finals.settings[key.name].value == without.settings[key.name].value


def test_a_final_cap_survives_a_later_drop_in_and_the_refusal_is_explained() -> None:
    final = Final(CAP, Source("/etc/60.toml", 2, 10))
    held: list[Statement] = [mandate(CAP, 50), final, mandate(CAP, 80, 2)]
    setting = resolve(held).settings[CAP]
    assert (setting.value, setting.source) == (50, Source("/etc/p.toml", 1, 5))
    assert [(one.value, one.why) for one in setting.overridden] == [
        (80, "looser than 50, and /etc/60.toml:2:10 makes the key final")
    ]
    assert resolve([*held, mandate(CAP, 20, 3)]).integer(CAP) == 20
    # Tightened by a later drop-in it stays so: the next cannot go back to the first.
    assert resolve([*held, mandate(CAP, 20, 3), mandate(CAP, 50, 4)]).integer(CAP) == 20


def test_a_final_key_that_nobody_mandates_is_bound_by_what_was_in_force() -> None:
    final = Final(SWITCH, Source("/etc/60.toml", 2, 10))
    assert resolve([final, mandate(SWITCH, "off")]).choice(SWITCH) == "enforce"
    audit: list[Statement] = [recommendation(SWITCH, "audit"), final]
    assert resolve([*audit, recommendation(SWITCH, "off", 2)]).choice(SWITCH) == "audit"
    later = resolve([*audit, mandate(SWITCH, "off", 2)], [wish(SWITCH, "off")])
    assert (later.choice(SWITCH), later.settings[SWITCH].is_locked) == ("audit", True)


def test_what_is_final_brings_its_switch() -> None:
    first = parse_machine(
        b'schema = 1\nfinal = ["mining.max_efficiency_percent"]\n'
        b"mandatory.mining.max_efficiency_percent = 50\n",
        "60.toml",
    )
    second = parse_machine(b'schema = 1\nmandatory.mining.enforcement = "off"', "70.toml")
    assert resolve([*first, *second]).choice(SWITCH) == "enforce"


def test_a_group_names_all_its_keys_and_the_file_s_own_claims_come_first() -> None:
    said = parse_machine(
        b'schema = 1\nfinal = ["controls.*", "mining.grace_seconds"]\n'
        b"mandatory.controls.fan_min_percent = 30",
        "p",
    )
    assert isinstance(said[0], Claim)
    finals = [one.key for one in said if isinstance(one, Final)]
    assert finals == [
        *(key.name for key in POLICY_KEYS if key.group == "controls"), "mining.grace_seconds"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "place", "words"),
    [
        ('final = ["mining"]', (2, 10), 'GP011] final.0: "mining" names no key'),
        ('final = ["minning.*"]', (2, 10), 'did you mean "mining.*"'),
        ('final = ["mining.*", "mining.grace_second"]', (2, 22), '"mining.grace_seconds"'),
        ('final = ["*"]', (2, 10), "names no key and no group"),
        ('final = ["mining.*.x"]', (2, 10), "names no key and no group"),
        ('final = [""]', (2, 10), "names no key and no group"),
        ('final = ["mining.*", "mining.*"]', (2, 22), "GP015"),
        ("final = [1]", (2, 10), "GP013"),
        ('final = "mining.*"', (2, 9), "a list in brackets was expected"),
        ("[[scope]]\nmandatory.mining.grace_seconds = 5", (2, 3), "GP017"),
        ('[[scope]]\nusers = ["a", "a"]', (3, 15), "GP015"),
        ('[[scope]]\nusers = [""]', (3, 10), 'something like "alice"'),
        ('[[scope]]\nuser = ["a"]', (3, 1), 'did you mean "users"'),
        ('[[scope]]\nusers = ["a"]\nrecommended.mining.grace_seconds = 5', (4, 1), "GP011"),
        ('[[scope]]\nusers = ["a"]\nmandatory.minning.grace_seconds = 5', (4, 11), '"mining"'),
        ('[[scope]]\nusers = ["a"]\nmandatory.mining.grace_s = 5', (4, 18), '"grace_seconds"'),
        (
            '[[scope]]\nusers = ["a"]\n[[scope]]\ngroups = ["b"]\n[scope.mandatory.mining]\n'
            "grace_seconds = 3601",
            (7, 17), "scope.1.mandatory.mining.grace_seconds: 3601 > maximum 3600",
        ),
        ("[scope]\nusers = ['a']", (2, 2), "GP013"),
    ],
)  # fmt: skip
def test_wrong_finals_and_scopes_are_told_with_their_place(
    raw: str, place: tuple[int, int], words: str
) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        parse_machine(f"schema = 1\n{raw}\n".encode(), "p.toml")
    first = refused.value.diagnostics[0]
    assert words in str(refused.value)
    assert (first.line, first.column) == place


@pytest.mark.parametrize("scope", [Scope.USER, Scope.EXTRA])
def test_only_the_administrator_has_finals_and_scopes(scope: Scope) -> None:
    raw = b'schema = 1\nfinal = ["mining.*"]\n[[scope]]\nusers = ["alice"]\n'
    assert parse_machine(raw, "p")
    with pytest.raises(PolicyInvalid) as refused:
        parse(raw, "p", scope)
    assert [(one.line, one.column, one.code) for one in refused.value.diagnostics] == [
        (2, 1, "GP016"), (3, 3, "GP016"),
    ]  # fmt: skip


MEMBER = claims(Scope.MEMBER, [Level.MANDATORY])
REGISTRY = claims(Scope.REGISTRY, [Level.MANDATORY])


@given(drop_ins(), MEMBER, claims(Scope.USER, [Level.USER]))
def test_a_scope_only_tightens_and_no_wish_gets_past_it(
    files: list[list[Statement]], member: list[Claim], user: list[Claim]
) -> None:
    machine = prefixes(files)[-1]
    without, with_it = resolve(machine), resolve([*machine, *member])
    wished = resolve([*machine, *member], user)
    for key in POLICY_KEYS:
        value = with_it.settings[key.name].value
        assert not key.is_looser(value, without.settings[key.name].value)
        mine = [claim for claim in member if claim.key == key.name]
        for claim in mine:
            assert not key.is_looser(wished.settings[key.name].value, claim.value)
            assert not key.is_looser(wished.settings[key.name].value, value)
            assert wished.settings[key.name].is_locked


@given(MEMBER, st.randoms())
def test_the_order_of_scopes_does_not_matter(member: list[Claim], random: object) -> None:
    machine = [mandate(CAP, 50), mandate("stress.allowed_loads", ("ai", "gaming"), 2)]
    one = resolve([*machine, *member])
    other = resolve([*machine, *reversed(member)])
    for key in POLICY_KEYS:
        assert one.settings[key.name].value == other.settings[key.name].value
    del random


@given(drop_ins(), REGISTRY, claims(Scope.USER, [Level.USER]))
def test_files_and_registry_meet_and_neither_loosens_the_other(
    files: list[list[Statement]], written: list[Claim], user: list[Claim]
) -> None:
    # A registry value has one content.
    registry = list({claim.key: claim for claim in written}.values())
    machine = prefixes(files)[-1]
    both = resolve([*machine, *registry], user)
    alone, files_alone = resolve(registry), resolve(machine)
    for key in POLICY_KEYS:
        value = both.settings[key.name].value
        for mandated in (alone.settings[key.name], files_alone.settings[key.name]):
            if mandated.is_locked:
                assert not key.is_looser(value, mandated.value)
    told = {one.text.partition(":")[0] for one in conflicts([*machine, *registry])}
    assert told == {
        key.name
        for key in POLICY_KEYS
        if alone.settings[key.name].is_locked
        and files_alone.settings[key.name].is_locked
        and alone.settings[key.name].value != files_alone.settings[key.name].value
    }


def test_a_cap_in_the_registry_is_on_whatever_files_and_user_say_of_the_switch() -> None:
    source = Source(r"HKLM\x")
    cap = Claim(CAP, 50, Level.MANDATORY, Scope.REGISTRY, source)
    assert resolve([cap], [wish(SWITCH, "off")]).choice(SWITCH) == "enforce"
    both = [mandate(SWITCH, "audit"), cap]
    assert resolve(both).choice(SWITCH) == "enforce"
    assert [one.text for one in conflicts(both)] == [
        f"{SWITCH}: the registry mandates enforce, /etc/p.toml:1:5 mandates audit: "
        "the tighter holds, enforce"
    ]


def test_a_scope_that_says_the_same_as_the_machine_does_not_answer_for_it() -> None:
    member = Claim(CAP, 50, Level.MANDATORY, Scope.MEMBER, Source("q", 1, 1))
    setting = resolve([mandate(CAP, 50), member]).settings[CAP]
    assert (setting.scope, setting.overridden[0].why) == (Scope.MACHINE, "says the same")


def test_a_scope_s_place_in_what_is_shown() -> None:
    said = parse_machine(
        b"schema = 1\nmandatory.mining.max_efficiency_percent = 50\n"
        b'[[scope]]\ngroups = ["pupils"]\n'
        b"mandatory.mining.max_efficiency_percent = 20\nmandatory.mining.grace_seconds = 10\n",
        "/etc/p.toml",
    )
    pupil = Asker(groups=frozenset({"pupils"}))
    policy = resolve(statements_for(pupil, said))
    cap, grace = policy.settings[CAP], policy.settings[GRACE]
    assert cap.set_by == "the machine policy for this user (/etc/p.toml:5:43)"
    assert (cap.value, cap.scope, cap.is_locked) == (20, Scope.MEMBER, True)
    assert cap.overridden[0].why == "tightened by the machine policy for this user"
    # It says what was the default: now that is a mandate.
    assert (grace.value, grace.scope, grace.is_locked) == (10, Scope.MEMBER, True)
    assert resolve(statements_for(pupil, said), [wish(GRACE, 60)]).integer(GRACE) == 10
    assert resolve(statements_for(Asker(), said)).integer(CAP) == 50
    assert resolve(statements_for(Asker(), said), [wish(GRACE, 60)]).integer(GRACE) == 60
    # And the switch of what a scope mandates is mandated with it.
    alone = statements_for(pupil, [one for one in said if isinstance(one, MemberClaim)])
    assert resolve(alone, [wish(SWITCH, "off")]).choice(SWITCH) == "enforce"


@given(drop_ins(), MEMBER)
def test_statements_keep_everything_in_json(
    files: list[list[Statement]], member: list[Claim]
) -> None:
    meant = [
        MemberClaim(one.key, one.value, one.level, one.scope, one.source, ("al",), ("27",))
        for one in member
    ]
    for statement in (*prefixes(files)[-1], *meant):
        document = json.loads(json.dumps(statement_as_json(statement)))
        assert statement_from_json(document) == statement


@given(drop_ins(), drop_ins())
def test_what_changed_is_looser_or_tighter_as_the_lattice_says(
    one: list[list[Statement]], other: list[list[Statement]]
) -> None:
    before, after = prefixes(one)[-1], prefixes(other)[-1]
    old, new = resolve(before), resolve(after)
    there = {change.key: change.direction for change in changes(old, new)}
    back = {change.key: change.direction for change in changes(new, old)}
    turned = {Direction.LOOSER: Direction.TIGHTER, Direction.TIGHTER: Direction.LOOSER}
    assert there == {name: turned.get(way, way) for name, way in back.items()}
    for name in loosened(before, after):
        assert there[name] in {Direction.LOOSER, Direction.CHANGED}
        assert old.settings[name].is_locked
    assert changes(old, old) == ()
    for key in POLICY_KEYS:
        if key.is_looser(new.settings[key.name].value, old.settings[key.name].value):
            assert there[key.name] is not Direction.TIGHTER


@given(st.sampled_from(POLICY_KEYS).flatmap(lambda key: st.tuples(st.just(key), values_of(key))))
def test_a_file_that_is_damaged_only_where_it_is_final_is_still_bound(
    drawn: tuple[PolicyKey, Value],
) -> None:
    key, value = drawn
    source = Source("p", 1, 1)
    final = Final(key.name, source)
    first = Claim(key.name, key.closed, Level.MANDATORY, Scope.MACHINE, source)
    later = Claim(key.name, value, Level.MANDATORY, Scope.MACHINE, Source("q", 1, 1))
    met = resolve([first, final, later]).settings[key.name].value
    assert met == key.meet(key.closed, value)

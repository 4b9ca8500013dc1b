"""Every row of POLICY_KEYS keeps what the rest of the program, and administrators, rely on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import product

import pytest

from gpupanel.model.errors import PolicyInvalid
from gpupanel.model.workload import Family, Run
from gpupanel.policy.claims import Scope
from gpupanel.policy.controls import decide_fan_speed, decide_overclock, decide_power_limit
from gpupanel.policy.decide import decide_run
from gpupanel.policy.faults import FAULTS, Fault
from gpupanel.policy.key import Kind, PolicyKey, Tighten, Value
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.offender import Offender, treat
from gpupanel.policy.parse import parse
from gpupanel.policy.resolve import EffectivePolicy, resolve
from gpupanel.policy.validate import value_is_valid

each_key = pytest.mark.parametrize("key", POLICY_KEYS, ids=lambda key: key.name)


def as_toml(value: Value) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def file_with(key: PolicyKey, value: str, level: str = "mandatory") -> bytes:
    return f"schema = 1\n[{level}.{key.group}]\n{key.field} = {value}\n".encode()


def edges(key: PolicyKey) -> list[Value]:
    match key.kind:
        case Kind.INTEGER:
            return [key.low, key.high]
        case Kind.CHOICE:
            return list(key.choices)
        case Kind.CHOICES:
            return [(), key.choices[:1], key.choices]
        case Kind.BOOLEAN:
            return [False, True]
        case Kind.TEXTS:
            return [(), (key.example,)]


@each_key
def test_a_row_is_complete(key: PolicyKey) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", key.name)
    assert f"{key.group}.{key.field}" == key.name
    assert key.label
    assert key.help.endswith(".")
    assert re.fullmatch(r"\d+\.\d+", key.since)
    assert key.switch in {"", *POLICY_KEY_BY_NAME}
    assert POLICY_KEY_BY_NAME[key.name] is key


def test_names_are_unique_and_a_switch_has_no_switch() -> None:
    assert len(POLICY_KEY_BY_NAME) == len(POLICY_KEYS)
    for key in POLICY_KEYS:
        assert not key.switch or not POLICY_KEY_BY_NAME[key.switch].switch


@each_key
def test_the_rule_fits_the_kind(key: PolicyKey) -> None:
    rules: Mapping[Kind, set[Tighten]] = {
        Kind.BOOLEAN: {Tighten.AND, Tighten.OR},
        Kind.INTEGER: {Tighten.MIN, Tighten.MAX},
        Kind.CHOICE: {Tighten.RANK},
        Kind.CHOICES: {Tighten.INTERSECTION},
        Kind.TEXTS: {Tighten.INTERSECTION, Tighten.UNION, Tighten.ROLES},
    }
    assert key.tighten in rules[key.kind]
    assert (key.kind is Kind.TEXTS) == bool(key.pattern) == bool(key.example)
    assert not key.pattern or key.matches(key.example)
    for one, other in product(edges(key), repeat=2):
        met = key.meet(one, other)
        assert value_is_valid(key.name, list(met) if isinstance(met, tuple) else met)


@each_key
def test_default_and_closed_are_values_and_closed_is_no_looser(key: PolicyKey) -> None:
    for value in (key.default, key.closed):
        assert value_is_valid(key.name, list(value) if isinstance(value, tuple) else value)
    assert not key.is_looser(key.closed, key.default)


@each_key
@pytest.mark.parametrize("level", ["mandatory", "recommended"])
def test_a_file_can_say_every_edge(key: PolicyKey, level: str) -> None:
    for value in edges(key):
        [claim] = parse(file_with(key, as_toml(value), level), "p", Scope.MACHINE)
        assert (claim.key, claim.value, claim.level.value) == (key.name, value, level)
        assert resolve([claim]).settings[key.name].value == value


@each_key
def test_a_file_can_say_nothing_beyond_the_edges(key: PolicyKey) -> None:
    wrong = ["nan", "inf", "1.0", "1979-05-27", "{}", "[1]", '"no such\\u0000word"', "-1"]
    wrong += [str(key.low - 1), str(key.high + 1)] if key.kind is Kind.INTEGER else ["1"]
    wrong += ['"true"'] if key.kind is Kind.BOOLEAN else ["true"]
    for value in wrong:
        with pytest.raises(PolicyInvalid) as refused:
            parse(file_with(key, value), "p", Scope.MACHINE)
        assert refused.value.diagnostics[0].line == 3


OFFENDERS = [
    Offender("0" * 64, None, (("GPU-1", "0000:01:00.0"),)),
    Offender("0" * 64, None, (("GPU-1", "0000:02:00.0"),), beside_guest=True),
]


def answers(policy: EffectivePolicy) -> list[object]:
    """Everything that decisions say, but for the reasons."""
    run = Run("x", "cpu", 7200)
    decisions = [decide_run(policy, run, family) for family in Family]
    decisions += [decide_power_limit(policy, percent) for percent in (1, 100, 200)]
    decisions += [decide_fan_speed(policy, 0), decide_overclock(policy)]
    treatments = [treat(policy, offender) for offender in OFFENDERS]
    return [
        *((one.verb, one.values) for one in decisions),
        *((one.action, one.cap_percent, one.grace_seconds, one.would) for one in treatments),
    ]


OBEYED_ELSEWHERE = {
    "mining.allow_user_verdicts": "service",
    "detection.miner_executables": "detection",
    "detection.pool_hosts": "detection",
    "privacy.show_other_users_processes": "service",
    "service.require_policy": "policy/generation.py",
    "ui.notify_capped": "ui",
    "ui.show_tray": "ui",
}
"""Keys that no decision of this room is about, and the room that asks for them."""


@each_key
def test_something_obeys_the_key(key: PolicyKey) -> None:
    """Some value of it changes some decision; or the room that obeys it is named."""
    base = "mandatory.mining.max_efficiency_percent = 50\n"
    changes = [f"mandatory.{key.name} = {as_toml(value)}" for value in (*edges(key), key.default)]
    said = {
        str(answers(resolve(parse(f"schema = 1\n{body}".encode(), "p", Scope.MACHINE))))
        for change in changes
        for body in (change if key.name in base else base + change,)
    }
    assert (len(said) > 1) is (key.name not in OBEYED_ELSEWHERE)


def test_every_fault_has_a_code_of_its_own_and_a_meaning() -> None:
    assert set(FAULTS) == set(Fault)
    assert len({fault.value for fault in Fault}) == len(Fault)
    for fault, meaning in FAULTS.items():
        assert re.fullmatch(r"GP\d{3}", fault.value)
        assert meaning.endswith(".")

"""Every row of POLICY_KEYS keeps what the rest of the program, and administrators, rely on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

import pytest

from gpupanel.model.errors import PolicyInvalid
from gpupanel.model.workload import Family, Run
from gpupanel.policy.decide import decide_run
from gpupanel.policy.faults import FAULTS, Fault
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS, Kind, PolicyKey, Tighten, Value
from gpupanel.policy.parse import parse
from gpupanel.policy.resolve import Scope, resolve
from gpupanel.policy.validate import value_is_valid

each_key = pytest.mark.parametrize("key", POLICY_KEYS, ids=lambda key: key.name)


def as_toml(value: Value) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


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
    rules: Mapping[Kind, Tighten] = {
        Kind.INTEGER: Tighten.MIN,
        Kind.CHOICE: Tighten.RANK,
        Kind.CHOICES: Tighten.INTERSECTION,
    }
    assert key.tighten is rules[key.kind]
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
    wrong = ["nan", "inf", "1.0", "true", "1979-05-27", "{}", "[1]", '"no such word"', "-1"]
    wrong += [str(key.low - 1), str(key.high + 1)] if key.kind is Kind.INTEGER else ["1"]
    for value in wrong:
        with pytest.raises(PolicyInvalid) as refused:
            parse(file_with(key, value), "p", Scope.MACHINE)
        assert refused.value.diagnostics[0].line == 3


@each_key
def test_something_obeys_the_key(key: PolicyKey) -> None:
    """Its tightest value changes what is said about some run, all else being as tight as can be."""
    run = Run("x", "cpu", 7200)

    def decisions(*names: str) -> list[object]:
        tight = {
            "mining.enforcement": "off",
            "mining.max_efficiency_percent": 1,
            "stress.allowed_loads": (),
            "stress.max_run_seconds": 1,
        }
        body = "\n".join(f"mandatory.{name} = {as_toml(tight[name])}" for name in names)  # type: ignore[arg-type]
        policy = resolve(parse(f"schema = 1\n{body}".encode(), "p", Scope.MACHINE))
        return [(one.verb, one.values) for one in (decide_run(policy, run, f) for f in Family)]

    before = ["mining.max_efficiency_percent"] if key.name == "mining.enforcement" else []
    assert decisions(*before) != decisions(*before, key.name)


def test_every_fault_has_a_code_of_its_own_and_a_meaning() -> None:
    assert set(FAULTS) == set(Fault)
    assert len({fault.value for fault in Fault}) == len(Fault)
    for fault, meaning in FAULTS.items():
        assert re.fullmatch(r"GP\d{3}", fault.value)
        assert meaning.endswith(".")

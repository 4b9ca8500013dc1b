"""Registry values become claims, or the whole is refused; on an export of a real registry."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Level, Scope
from gpupanel.policy.generation import PolicyWatch, load
from gpupanel.policy.key import Kind, PolicyKey
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.registry import MACHINE_PATH, RegistryType, parse_registry
from gpupanel.policy.resolve import PolicyState
from gpupanel.policy.sources import RegistrySource, Sources
from tests.policy.registry_export import (
    RECORDING,
    Key,
    Values,
    export_of_wine,
    has_wine,
    read_export,
    tree,
    written,
)

DWORD, SZ, MULTI_SZ = RegistryType.DWORD, RegistryType.SZ, RegistryType.MULTI_SZ
CAP = "mining.max_efficiency_percent"


def faults(root: Key) -> list[tuple[str, str, str]]:
    with pytest.raises(PolicyInvalid) as refused:
        parse_registry(root, Scope.REGISTRY)
    for one in refused.value.diagnostics:
        assert (one.line, one.column, one.severity) == (0, 0, "error")
    return [
        (one.path.removeprefix(MACHINE_PATH).lstrip("\\"), one.code, one.text)
        for one in refused.value.diagnostics
    ]


def assert_is_every_key(root: Key) -> None:
    claims = parse_registry(root, Scope.REGISTRY)
    assert [one.key for one in claims] == [key.name for key in POLICY_KEYS]
    for key, claim in zip(POLICY_KEYS, claims, strict=True):
        assert claim.value == written(key)[2]
        assert type(claim.value) is type(key.default)
        assert (claim.level, claim.scope) == (Level.MANDATORY, Scope.REGISTRY)
        assert str(claim.source) == rf"{MACHINE_PATH}\{key.group}\{key.field}"


def test_every_key_of_a_recorded_registry() -> None:
    assert_is_every_key(read_export(RECORDING.read_bytes()))


@pytest.mark.long
def test_every_key_of_a_real_registry(tmp_path: Path) -> None:
    raw = export_of_wine(tmp_path / "wine") if has_wine() else RECORDING.read_bytes()
    told = "the registry of Wine" if has_wine() else f"no Wine here: the recording {RECORDING.name}"
    print(told)  # noqa: T201 - which of the two it was
    assert_is_every_key(read_export(raw))


@pytest.mark.parametrize(
    ("root", "path", "code", "words"),
    [
        (tree(mining={"max_efficiency_percent": (SZ, "50")}),
         r"mining\max_efficiency_percent", "GP013", "REG_SZ: REG_DWORD was expected"),
        (tree(mining={"max_efficiency_percent": (DWORD, 101)}),
         r"mining\max_efficiency_percent", "GP012", "101 > maximum 100"),
        (tree(mining={"enforcement": (SZ, "enforced")}),
         r"mining\enforcement", "GP014", 'did you mean "enforce"'),
        (tree(mining={"enforcement": (DWORD, 1)}), r"mining\enforcement", "GP013", "REG_SZ was"),
        (tree(controls={"allow": (DWORD, 2)}), r"controls\allow", "GP013", "REG_DWORD 0 or 1"),
        (tree(controls={"allow": (11, 1)}), r"controls\allow", "GP013", "of type 11"),
        (tree(stress={"allowed_loads": (SZ, "ai")}), r"stress\allowed_loads", "GP013", "MULTI_SZ"),
        (tree(stress={"allowed_loads": (MULTI_SZ, ["ai", "ai"])}),
         r"stress\allowed_loads", "GP015", "stands twice"),
        (tree(mining={"gpu_roles": (MULTI_SZ, ["x"])}), r"mining\gpu_roles", "GP014", "0000:01:00"),
        (tree(mining={"max_eficiency_percent": (DWORD, 5)}),
         r"mining\max_eficiency_percent", "GP011", '"max_efficiency_percent"'),
        (tree(minning={}), "minning", "GP011", 'did you mean "mining"'),
        (Key(MACHINE_PATH, {"schema": (DWORD, 1)}), "schema", "GP011", "remove it"),
        (tree(mining={str(n): (DWORD, 1) for n in range(9999)}), "mining\\0", "GP011", "exist"),
    ],
)  # fmt: skip
def test_what_is_no_policy_refuses_the_whole(root: Key, path: str, code: str, words: str) -> None:
    found = faults(root)
    assert found[0][:2] == (path, code)
    assert words in found[0][2]
    assert len(found) < 300


def test_all_faults_are_told_and_a_good_value_beside_them_is_not_used() -> None:
    root = tree(mining={"max_efficiency_percent": (DWORD, 50), "grace_seconds": (DWORD, 3601)})
    root.below["mining"].below["deeper"] = Key(rf"{MACHINE_PATH}\mining\deeper")
    assert [code for _, code, _ in faults(root)] == ["GP011", "GP012"]


def test_names_are_read_in_any_case_and_the_default_value_is_nothing() -> None:
    root = tree(Mining={"MAX_Efficiency_percent": (DWORD, 50), "": (SZ, "")})
    root.content[""] = (SZ, "")
    [claim] = parse_registry(root, Scope.MEMBER)
    assert (claim.key, claim.value, claim.scope) == (CAP, 50, Scope.MEMBER)


@given(
    st.sampled_from(POLICY_KEYS),
    st.integers(-1, 12),
    st.one_of(
        st.integers(-1, 2**32), st.text(max_size=9), st.binary(max_size=9), st.none(),
        st.lists(st.text(max_size=9), max_size=3),
    ),
)  # fmt: skip
def test_no_value_does_anything_but_claim_or_be_refused(
    key: PolicyKey, kind: int, content: object
) -> None:
    values: Values = {key.field: (kind, content)}
    root = tree(**{key.group: values})
    try:
        [claim] = parse_registry(root, Scope.REGISTRY)
    except PolicyInvalid:
        assert faults(root)[0][0] == rf"{key.group}\{key.field}"
        return
    assert kind in {DWORD, SZ, MULTI_SZ}
    assert type(claim.value) is type(key.default)
    assert key.kind is not Kind.INTEGER or claim.value == content


def machine(sources: Sources, root: Key | None) -> Sources:
    return Sources(
        sources.machine, sources.user, sources.state_dir, sources.asker,
        RegistrySource(lambda: root),
    )  # fmt: skip


def test_files_and_registry_are_one_generation(sources: Sources) -> None:
    root = tree()
    both = machine(sources, root)
    assert load(both).state is PolicyState.UNMANAGED
    root.below = tree(mining={"max_efficiency_percent": (DWORD, 50)}).below
    policy = load(both)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.MANAGED, 50)
    assert policy.settings[CAP].set_by == (
        rf"the machine policy in the registry ({MACHINE_PATH}\mining\max_efficiency_percent)"
    )
    file = sources.machine.dirs[0] / "60.toml"
    file.write_text("schema = 1\nmandatory.mining.max_efficiency_percent = 80\n")
    policy = load(both)
    assert policy.integer(CAP) == 50
    [conflict] = policy.diagnostics
    assert (conflict.code, conflict.severity) == ("GP033", "warning")
    assert "the registry mandates 50" in conflict.text
    assert "60.toml:2:43 mandates 80: the tighter holds, 50" in conflict.text
    root.below["mining"].content["max_efficiency_percent"] = (SZ, "none")
    policy = load(both)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.STALE, 50)
    # A policy that no longer applies is removed by Windows: absent is not configured.
    root.below = {}
    policy = load(both)
    assert (policy.state, policy.integer(CAP), policy.loosened) == (PolicyState.MANAGED, 80, (CAP,))


def test_a_registry_that_cannot_be_read_is_broken_and_not_absent(sources: Sources) -> None:
    def denied() -> Key | None:
        raise PermissionError(13, "Access is denied")

    broken = Sources(
        sources.machine, sources.user, sources.state_dir, registry=RegistrySource(denied)
    )
    policy = load(broken)
    assert policy.state is PolicyState.CLOSED
    assert "Access is denied" in policy.diagnostics[0].text
    assert PolicyWatch(broken).changed() is False


def test_a_change_in_the_registry_is_told_once_and_after_it_settled(sources: Sources) -> None:
    root = tree(mining={"max_efficiency_percent": (DWORD, 50)})
    watch = PolicyWatch(machine(sources, root))
    assert [watch.changed() for _ in range(2)] == [False, False]
    root.below["mining"].content["max_efficiency_percent"] = (DWORD, 40)
    assert [watch.changed() for _ in range(4)] == [False, True, False, False]

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy import generation
from gpupanel.policy.claims import Asker, Claim, Final, Level, MemberClaim
from gpupanel.policy.generation import LastGood, PolicyWatch, load
from gpupanel.policy.key import Kind, Tighten
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.parse import parse_machine
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, resolve
from gpupanel.policy.sources import ExtraSource, Sources

CAP = "mining.max_efficiency_percent"
SWITCH = "mining.enforcement"
REQUIRE = "mandatory.service.require_policy = true\n"
FULL = b"""schema = 1
[mandatory.mining]
enforcement = "enforce"
max_efficiency_percent = 50
[mandatory.stress]
allowed_loads = ["gaming", "ai"]
max_run_seconds = 600
"""


def put(path: Path, percent: int) -> Path:
    path.write_text(f"schema = 1\n[mandatory.mining]\nmax_efficiency_percent = {percent}\n")
    return path


def machine_file(sources: Sources) -> Path:
    return sources.machine.dirs[0] / "60-corp.toml"


def codes(policy: EffectivePolicy) -> list[str]:
    return [one.code for one in policy.diagnostics]


def test_the_states_of_a_machine_one_after_another(sources: Sources) -> None:
    path = machine_file(sources)
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.UNMANAGED, 100)

    path.write_text("broken")
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.CLOSED, 5)
    assert policy.settings[CAP].level is Level.CLOSED
    assert codes(policy) == ["GP001", "GP031"]

    put(path, 50)
    policy = load(sources)
    assert (policy.state, policy.integer(CAP), codes(policy)) == (PolicyState.MANAGED, 50, [])

    path.write_text("broken again")
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.STALE, 50)
    assert codes(policy) == ["GP001", "GP030"]
    assert "its generation 1 stays in force" in policy.diagnostics[-1].text

    put(path, 80)
    policy = load(sources)
    assert (policy.integer(CAP), policy.loosened, codes(policy)) == (80, (CAP,), ["GP035"])
    path.chmod(0o666)
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.STALE, 80)
    assert codes(policy) == ["GP021", "GP030"]
    assert "its generation 2 stays in force" in policy.diagnostics[-1].text

    path.unlink()
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.UNMANAGED, 100)
    assert (policy.loosened, codes(policy)) == ((SWITCH, CAP), ["GP036"])
    assert policy.diagnostics[0].severity == "warning"
    policy = load(sources)
    assert (policy.loosened, codes(policy)) == ((), [])

    # What was removed on purpose does not come back when something else breaks.
    path.write_text("broken")
    assert load(sources).state is PolicyState.CLOSED


def test_a_looser_generation_is_in_force_and_told_until_the_next(sources: Sources) -> None:
    path = machine_file(sources)
    said = "schema = 1\n[mandatory.mining]\nmax_efficiency_percent = {}\ngrace_seconds = {}\n"
    path.write_text(said.format(50, 20))
    assert load(sources).loosened == ()
    path.write_text(said.format(60, 5) + "[mandatory.stress]\nmax_run_seconds = 60\n")
    for _ in range(2):  # also after a restart: who asks next has not seen it yet
        policy = load(sources)
        assert (policy.loosened, codes(policy)) == ((CAP,), ["GP035"])
        assert policy.as_json()["loosened"] == [CAP]
    # What was recommended bound nobody; a mandate that is only recommended now binds nobody.
    path.write_text("schema = 1\n[recommended.mining]\nmax_efficiency_percent = 10\n")
    policy = load(sources)
    assert policy.loosened == (
        SWITCH, CAP, "mining.grace_seconds", "stress.max_run_seconds"
    )  # fmt: skip
    assert "generation 3 bounds less than the one before" in policy.diagnostics[0].text
    path.write_text("schema = 1\n[recommended.mining]\nmax_efficiency_percent = 90\n")
    assert load(sources).loosened == ()


def test_a_required_policy_that_is_gone_closes_until_it_is_back(sources: Sources) -> None:
    path = machine_file(sources)
    good = f"schema = 1\n{REQUIRE}mandatory.mining.max_efficiency_percent = 50\n"
    path.write_text(good)
    assert load(sources).state is PolicyState.MANAGED
    path.unlink()
    for _ in range(2):
        policy = load(sources)
        assert (policy.state, policy.integer(CAP)) == (PolicyState.CLOSED, 5)
        assert (codes(policy), policy.diagnostics[0].severity) == (["GP037"], "error")
    # A broken file in its place: what it last said is still known.
    path.write_text("broken")
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.STALE, 50)
    path.write_text(good.replace("true", "false"))
    policy = load(sources)
    assert (policy.state, policy.loosened) == (PolicyState.MANAGED, ("service.require_policy",))
    path.unlink()
    assert load(sources).state is PolicyState.UNMANAGED


def test_a_wish_cannot_require_a_policy(sources: Sources) -> None:
    put(machine_file(sources), 50)
    sources.user.path.write_text(f"schema = 1\n{REQUIRE}")
    assert load(sources).is_true("service.require_policy")
    machine_file(sources).unlink()
    assert load(sources).state is PolicyState.UNMANAGED


def test_who_is_meant_by_a_scope_is_bound_by_it_and_others_are_not(sources: Sources) -> None:
    put(machine_file(sources), 50)
    scope = '[[scope]]\nusers = ["alice"]\ngroups = ["27"]\nmandatory.mining.{} = {}\n'
    sources.machine.dirs[1].joinpath("70.toml").write_text(
        "schema = 1\n" + scope.format("max_efficiency_percent", 20)
        + scope.format("max_efficiency_percent", 80)
    )  # fmt: skip
    put(sources.user.path, 40)
    askers = {
        Asker(frozenset({"alice", "1000"})): 20,
        Asker(groups=frozenset({"sudo", "27"})): 20,
        Asker(frozenset({"bob", "27"}), frozenset({"alice"})): 40,
        Asker(): 40,
        # Who has no name might be alice.
        Asker(frozenset({"1234"}), is_named=False): 20,
    }
    for asker, percent in askers.items():
        policy = load(replace(sources, asker=asker))
        assert policy.integer(CAP) == percent
        assert codes(policy) == ([] if asker.is_named else ["GP034"])
    machine_file(sources).write_text("broken")
    assert load(replace(sources, asker=Asker(frozenset({"alice"})))).integer(CAP) == 20


def test_a_scope_that_loosens_is_told_to_whom_it_means(sources: Sources) -> None:
    scope = 'schema = 1\n[[scope]]\nusers = ["alice"]\nmandatory.mining.grace_seconds = {}\n'
    alice = replace(sources, asker=Asker(frozenset({"alice"})))
    for seconds in (1, 5):
        machine_file(sources).write_text(scope.format(seconds))
        policy = load(alice)
    assert policy.loosened == ("mining.grace_seconds",)
    machine_file(sources).write_text(scope.format(9))
    assert load(sources).loosened == ()


def test_one_broken_file_keeps_the_whole_generation(sources: Sources) -> None:
    path = put(machine_file(sources), 50)
    load(sources)
    put(path, 20)
    other = sources.machine.dirs[1] / "70.toml"
    other.write_text("schema = 1\n[mandatory.stress]\nmax_run_seconds = 1.5")
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.STALE, 50)
    assert policy.diagnostics[0].path == str(other)


def test_audit_only_is_seen(sources: Sources) -> None:
    path = machine_file(sources)
    path.write_text('schema = 1\nmandatory.mining.enforcement = "audit"')
    assert load(sources).state is PolicyState.AUDIT_ONLY


def test_a_policy_that_says_nothing_is_managed(sources: Sources) -> None:
    machine_file(sources).write_text("schema = 1")
    assert load(sources).state is PolicyState.MANAGED


def test_a_broken_user_file_keeps_the_last_good_wishes(sources: Sources) -> None:
    put(sources.user.path, 30)
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.UNMANAGED, 30)
    sources.user.path.write_text("schema = 1\nmandatory.mining.max_efficiency_percent = nan")
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.UNMANAGED, 30)
    assert codes(policy) == ["GP013", "GP030"]
    sources.user.path.unlink()
    assert load(sources).integer(CAP) == 100
    sources.user.path.write_text("broken")
    policy = load(sources)
    assert (policy.integer(CAP), codes(policy)) == (100, ["GP001", "GP031"])


def test_a_broken_user_file_never_loosens_what_the_machine_mandates(sources: Sources) -> None:
    put(machine_file(sources), 50)
    sources.user.path.write_text("broken")
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.MANAGED, 50)


def test_a_broken_extra_file_stops_the_call(sources: Sources, tmp_path: Path) -> None:
    extra = put(tmp_path / "extra.toml", 30)
    assert load(sources, ExtraSource(extra)).integer(CAP) == 30
    extra.write_text("broken")
    with pytest.raises(PolicyInvalid, match="GP001"):
        load(sources, ExtraSource(extra))


def test_what_was_good_is_on_the_disk_before_it_is_used(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **named: Any) -> Any:
            steps.append(name)
            return call(*args, **named)

        return step

    monkeypatch.setattr(os, "fsync", noted("fsync", os.fsync))
    monkeypatch.setattr(os, "replace", noted("replace", os.replace))
    monkeypatch.setattr("gpupanel.policy.generation.resolve", noted("use", resolve))
    put(machine_file(sources), 50)
    load(sources)
    assert steps == ["fsync", "replace", "fsync", "use"]
    assert [path.name for path in sources.state_dir.iterdir()] == ["machine.json"]
    assert sources.state_dir.stat().st_mode & 0o777 == 0o700
    steps.clear()
    load(sources)
    assert steps == ["use"]


def test_a_directory_that_cannot_be_written_is_told_and_stops_nothing(sources: Sources) -> None:
    put(machine_file(sources), 50)
    sources.state_dir.write_text("a file in the way")
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.MANAGED, 50)
    assert codes(policy)[0] == "GP032"
    assert policy.diagnostics[0].severity == "warning"


def test_a_failed_write_leaves_the_last_good_and_no_litter(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(machine_file(sources), 50)
    load(sources)
    before = (sources.state_dir / "machine.json").read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        put(path, 20)
        policy = load(sources)
    assert (policy.integer(CAP), codes(policy)) == (20, ["GP032"])
    assert "No space left" in policy.diagnostics[0].text
    assert [path.name for path in sources.state_dir.iterdir()] == ["machine.json"]
    assert (sources.state_dir / "machine.json").read_bytes() == before


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=200,
)
@given(data=st.data())
def test_a_damaged_memory_is_none(sources: Sources, data: st.DataObject) -> None:
    machine_file(sources).write_bytes(FULL)
    load(sources)
    memory = LastGood(sources.state_dir / "machine.json")
    good = memory.read()
    assert good
    raw = bytearray(memory.path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    memory.path.write_bytes(raw)
    assert memory.read() in (None, good)
    memory.path.write_bytes(raw[:at])
    assert memory.read() is None


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"null", b"[" * 100_000, b'{"generation": 1}', b"\xff"]
)
def test_a_memory_of_another_form_is_none(tmp_path: Path, content: bytes) -> None:
    memory = LastGood(tmp_path / "machine.json")
    memory.path.write_bytes(content)
    assert memory.read() is None


@pytest.mark.parametrize(("key", "value"), [("mining.gone", 5), (CAP, 101), (CAP, "5")])
def test_a_memory_that_this_version_does_not_understand_is_none(
    tmp_path: Path, key: str, value: object
) -> None:
    claims = [
        {"key": one, "value": said, "level": "mandatory", "scope": "machine", "source": None}
        for one, said in (("stress.max_run_seconds", 600), (key, value))
    ]
    memory = LastGood(tmp_path / "machine.json")
    checksum = generation._checksum(3, claims, [])
    document = {"generation": 3, "claims": claims, "loosened": [], "sha256": checksum}
    memory.path.write_text(json.dumps(document))
    assert memory.read() is None


def damaged(full: bytes) -> list[bytes]:
    """The file without each of its bytes, and with each bit of each byte flipped."""
    shorter = [full[:at] + full[at + 1 :] for at in range(len(full))]
    flipped = [
        full[:at] + bytes([full[at] ^ 1 << bit]) + full[at + 1 :]
        for at in range(len(full))
        for bit in range(8)
    ]
    return shorter + flipped


def test_no_damaged_byte_gives_anything_but_the_last_good_policy_or_another_valid_one(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    path = machine_file(sources)
    path.write_bytes(FULL)
    good = load(sources)
    memory = sources.state_dir / "machine.json"
    shutil.copy(memory, sources.state_dir / "kept")
    stale = looser = 0
    for raw in damaged(FULL):
        path.write_bytes(raw)
        policy = load(sources)
        shutil.copy(sources.state_dir / "kept", memory)
        if policy.state is PolicyState.STALE:
            stale += 1
            assert policy.settings == good.settings
            continue
        # Not refused: then it is TOML that says exactly what is in force, as if the
        # administrator had written it: another number.
        said = tomllib.loads(raw.decode())["mandatory"]
        for key in POLICY_KEYS:
            value = policy.settings[key.name].value
            written = said.get(key.group, {}).get(key.field, key.default)
            assert value == key.normal(written)
            looser += key.is_looser(value, good.settings[key.name].value)
    assert stale > 1000
    assert looser < 20


EVERY_KIND = b"""schema = 1
final = ["mining.*"]
[mandatory]
mining.enforcement = "enforce"
mining.max_efficiency_percent = 50
mining.gpu_roles = ["cpu=ai"]
mining.allow_user_verdicts = false
detection.pool_hosts = ["a.bc"]
stress.allowed_loads = ["ai"]
controls.fan_min_percent = 30
service.require_policy = true
[[scope]]
users = ["al"]
mandatory.mining.max_efficiency_percent = 20
"""


def test_no_damaged_byte_of_a_file_with_every_kind_gives_anything_but_what_it_says() -> None:
    """Refused, or TOML that says it: then the administrator could have written it."""
    named = {key for key in POLICY_KEYS if key.name.encode() in EVERY_KIND}
    assert {key.kind for key in named} == set(Kind)
    assert {key.tighten for key in named} == set(Tighten) - {Tighten.INTERSECTION} | {
        POLICY_KEY_BY_NAME["stress.allowed_loads"].tighten
    }
    refused = other = 0
    for raw in damaged(EVERY_KIND):
        try:
            statements = parse_machine(raw, "p")
        except PolicyInvalid:
            refused += 1
            continue
        document = tomllib.loads(raw.decode())
        said = {one.key: one.value for one in statements if type(one) is Claim}
        assert said == flat(document["mandatory"])
        for one in statements:
            if isinstance(one, MemberClaim):
                [scope] = document["scope"]
                assert (list(one.users), {one.key: one.value}) == (
                    scope["users"], flat(scope["mandatory"])
                )  # fmt: skip
        finals = {one.key for one in statements if isinstance(one, Final)}
        assert finals == {key.name for key in POLICY_KEYS if key.group == "mining"}
        other += 1
    assert refused > 3000
    assert other < 600


def flat(tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        f"{group}.{field}": POLICY_KEY_BY_NAME[f"{group}.{field}"].normal(value)
        for group, fields in tables.items()
        for field, value in fields.items()
    }


def rewrite(sources: Sources) -> None:
    put(machine_file(sources), 7)


def rename_over(sources: Sources) -> None:
    new = put(sources.machine.dirs[0] / "new", 50)
    new.replace(machine_file(sources))


def swap_directory(sources: Sources) -> None:
    etc = sources.machine.dirs[0]
    shutil.copytree(etc, etc.with_name("new"))
    etc.rename(etc.with_name("old"))
    etc.with_name("new").rename(etc)


def retarget_link(sources: Sources) -> None:
    put(sources.machine.dirs[0].parent / "elsewhere.toml", 9)


CHANGES: dict[str, Callable[[Sources], object]] = {
    "rewritten": rewrite,
    "renamed over": rename_over,
    "new drop-in": lambda sources: put(sources.machine.dirs[1] / "70.toml", 5),
    "unlinked": lambda sources: machine_file(sources).unlink(),
    "made writable": lambda sources: machine_file(sources).chmod(0o666),
    "directory swapped": swap_directory,
    "directory made": lambda sources: sources.machine.dirs[2].mkdir(),
    "behind a link": retarget_link,
    "user's file": lambda sources: put(sources.user.path, 5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_change_is_told_once_and_after_it_settled(
    sources: Sources, change: Callable[[Sources], object]
) -> None:
    put(machine_file(sources), 50)
    elsewhere = put(sources.machine.dirs[0].parent / "elsewhere.toml", 50)
    (sources.machine.dirs[0] / "link.toml").symlink_to(elsewhere)
    watch = PolicyWatch(sources)
    assert [watch.changed() for _ in range(2)] == [False, False]
    change(sources)
    assert [watch.changed() for _ in range(4)] == [False, True, False, False]


def test_a_change_in_a_directory_that_was_swapped_in_is_told(sources: Sources) -> None:
    put(machine_file(sources), 50)
    watch = PolicyWatch(sources)
    swap_directory(sources)
    assert [watch.changed() for _ in range(2)] == [False, True]
    put(machine_file(sources), 7)
    assert [watch.changed() for _ in range(2)] == [False, True]


def test_nothing_is_told_while_files_keep_changing(sources: Sources) -> None:
    watch = PolicyWatch(sources)
    for percent in range(1, 11):
        put(sources.machine.dirs[0] / f"{percent}.toml", percent)
        assert not watch.changed()
    assert watch.changed()

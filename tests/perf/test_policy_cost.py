"""What reading policy costs: as many and as long files as there may be, hostile ones, no change."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Scope
from gpupanel.policy.generation import PolicyWatch, load
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.parse import parse_machine
from gpupanel.policy.registry import parse_registry
from gpupanel.policy.resolve import PolicyState
from gpupanel.policy.sources import MAX_FILES, MachineSource, Sources, UserSource
from gpupanel.policy.trusted_file import Trust
from tests.contracts.test_policy_keys import as_toml
from tests.policy.hostile import HOSTILE
from tests.policy.registry_export import RECORDING, read_export

pytestmark = pytest.mark.perf


def milliseconds(call: Callable[[], object], times: int = 9) -> float:
    call()
    took_s = []
    for _ in range(times):
        began_s = time.perf_counter()
        call()
        took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s) * 1e3


def drop_in(names: str) -> str:
    """Every key of some groups, for everybody and for alice, one group final."""
    keys = "".join(
        f"mandatory.{key.name} = {as_toml(key.closed)}\n"
        for key in POLICY_KEYS
        if key.group in names
    )
    return f'schema = 1\nfinal = ["mining.*"]\n{keys}[[scope]]\nusers = ["alice"]\n{keys}'


@pytest.fixture
def machine(tmp_path: Path) -> Sources:
    """As many drop-ins as there may be, each about one group, and two files that are none."""
    umask = os.umask(0o022)
    directory = tmp_path / "etc"
    directory.mkdir()
    groups = sorted({key.group for key in POLICY_KEYS})
    for number in range(MAX_FILES):
        (directory / f"{number:02}.toml").write_text(drop_in(groups[number % len(groups)]))
    for name in ("README", "60.toml.bak"):
        (directory / name).touch()
    os.umask(umask)
    uid = 0 if sys.platform == "win32" else os.geteuid()
    user = UserSource(tmp_path / "user.toml")
    return Sources(MachineSource([directory], Trust(uid, tmp_path)), user, tmp_path / "state")


def test_as_many_drop_ins_as_there_may_be_load_within_50_ms(machine: Sources) -> None:
    assert load(machine).diagnostics == ()
    load_ms = milliseconds(lambda: load(machine))
    for path in machine.machine.dirs[0].glob("*.toml"):
        path.write_text(drop_in(" ".join(key.group for key in POLICY_KEYS)))
    assert load(machine).state is PolicyState.MANAGED
    all_ms = milliseconds(lambda: load(machine))
    print(f"{MAX_FILES} drop-ins: {load_ms:.1f} ms; if each says every key twice: {all_ms:.1f} ms")
    assert load_ms <= 50
    assert all_ms <= 250


def test_a_poll_without_a_change_takes_under_a_millisecond(machine: Sources) -> None:
    watch = PolicyWatch(machine)
    poll_ms = milliseconds(watch.changed, 99)
    print(f"unchanged poll of {MAX_FILES + 2} files: {poll_ms:.2f} ms")
    assert poll_ms <= 1


def refused(raw: bytes) -> None:
    with pytest.raises(PolicyInvalid):
        parse_machine(raw, "p.toml")


@pytest.mark.parametrize("raw", [raw for raw, _ in HOSTILE.values()], ids=HOSTILE.keys())
def test_a_hostile_file_is_refused_within_100_ms(raw: bytes) -> None:
    took_ms = milliseconds(lambda: refused(raw))
    print(f"refused in {took_ms:.2f} ms")
    assert took_ms < 100


def test_every_key_of_a_registry(machine: Sources) -> None:
    root = read_export(RECORDING.read_bytes())
    took_ms = milliseconds(lambda: parse_registry(root, Scope.REGISTRY))
    print(f"{len(POLICY_KEYS)} registry values: {took_ms:.2f} ms")
    assert took_ms <= 50

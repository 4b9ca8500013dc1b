from __future__ import annotations

import ast
import inspect
import os
from pathlib import Path

import pytest

from gpupanel import paths
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy import sources as module
from gpupanel.policy.claims import Level, Scope
from gpupanel.policy.sources import MAX_FILES, ExtraSource, Sources, UserSource, named_file
from gpupanel.policy.trusted_file import ROOT_ONLY

CAP = "schema = 1\n[mandatory.mining]\nmax_efficiency_percent = {}\n"


def put(directory: Path, name: str, percent: int) -> Path:
    path = directory / name
    path.write_text(CAP.format(percent))
    return path


def caps(sources: Sources) -> list[object]:
    reading = sources.machine.read()
    assert reading.diagnostics == ()
    return [claim.value for claim in reading.claims]


def test_nothing_is_absent_and_no_fault(sources: Sources) -> None:
    for reading in (sources.machine.read(), sources.user.read()):
        assert (reading.claims, reading.is_present, reading.diagnostics) == ((), False, ())


def test_files_apply_in_byte_order_of_their_names_whatever_their_directory(
    sources: Sources,
) -> None:
    etc, run, _ = sources.machine.dirs
    for directory, name, percent in [
        (etc, "60-b.toml", 3), (run, "50-z.toml", 2), (etc, "é.toml", 6), (run, "9-a.toml", 4),
        (etc, "10-a.toml", 1), (run, "a.toml", 5),
        (etc, os.fsdecode(b"\xff.toml"), 8), (run, "\U0001f600.toml", 7),
    ]:  # fmt: skip
        put(directory, name, percent)
    assert caps(sources) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_of_one_name_the_strongest_directory_counts(sources: Sources) -> None:
    etc, run, _ = sources.machine.dirs
    put(run, "60.toml", 10)
    assert caps(sources) == [10]
    put(etc, "60.toml", 20)
    assert caps(sources) == [20]


def test_an_empty_file_or_a_link_to_dev_null_masks(sources: Sources) -> None:
    etc, run, _ = sources.machine.dirs
    put(run, "50.toml", 10)
    put(run, "60.toml", 20)
    (etc / "50.toml").touch()
    (etc / "60.toml").symlink_to("/dev/null")
    assert caps(sources) == []
    assert not sources.machine.read().is_present


def test_other_names_are_not_policy(sources: Sources) -> None:
    etc = sources.machine.dirs[0]
    for name in ("60.toml.bak", ".60.toml", "README", "60.toml~"):
        put(etc, name, 10)
    assert not sources.machine.read().is_present


def test_one_fault_refuses_all_files_and_all_faults_are_told(sources: Sources) -> None:
    etc, run, _ = sources.machine.dirs
    put(etc, "10.toml", 10)
    first, second = put(etc, "20.toml", 101), put(run, "30.toml", 0)
    writable = put(etc, "40.toml", 10)
    writable.chmod(0o666)
    reading = sources.machine.read()
    assert reading.claims == ()
    assert [(one.path, one.line, one.code) for one in reading.diagnostics] == [
        (str(first), 3, "GP012"), (str(second), 3, "GP012"), (str(writable), 0, "GP021"),
    ]  # fmt: skip


def test_a_link_to_nothing_is_broken_and_not_absent(sources: Sources) -> None:
    (sources.machine.dirs[0] / "60.toml").symlink_to("gone.toml")
    [diagnostic] = sources.machine.read().diagnostics
    assert diagnostic.code == "GP020"


def test_an_unsafe_directory_refuses_all(sources: Sources) -> None:
    etc, run, _ = sources.machine.dirs
    put(run, "60.toml", 10)
    etc.chmod(0o777)
    reading = sources.machine.read()
    assert (reading.claims, reading.is_present) == ((), True)
    assert [one.code for one in reading.diagnostics] == ["GP021"]


def test_too_many_files_are_refused(sources: Sources) -> None:
    etc, run, _ = sources.machine.dirs
    for number in range(MAX_FILES):
        put(etc, f"{number}.toml", 10)
    assert len(caps(sources)) == MAX_FILES
    put(run, "one-more.toml", 10)
    assert [one.code for one in sources.machine.read().diagnostics] == ["GP022"]


def test_a_name_that_is_no_text_is_read_and_told(sources: Sources) -> None:
    name = os.fsdecode(b"\xff.toml")
    put(sources.machine.dirs[0], name, 101)
    [diagnostic] = sources.machine.read().diagnostics
    assert diagnostic.path.endswith(name)


def test_the_user_s_file_makes_wishes_and_may_be_a_link(sources: Sources) -> None:
    real = put(sources.user.path.parent, "dotfiles.toml", 30)
    sources.user.path.symlink_to(real)
    [claim] = sources.user.read().claims
    assert (claim.value, claim.level, claim.scope) == (30, Level.USER, Scope.USER)
    assert claim.source
    assert claim.source.path == str(sources.user.path)


def test_somebody_else_s_file_makes_no_wishes(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sources.user.path.parent, sources.user.path.name, 30)
    monkeypatch.setattr(module, "own_uid", lambda: -1)
    reading = sources.user.read()
    assert reading.claims == ()
    assert [one.code for one in reading.diagnostics] == ["GP021"]


def test_an_extra_file_may_be_anybody_s_and_has_to_be_there(tmp_path: Path) -> None:
    path = put(tmp_path, "extra.toml", 30)
    path.chmod(0o666)
    [claim] = ExtraSource(path).read()
    assert (claim.value, claim.scope) == (30, Scope.EXTRA)
    with pytest.raises(PolicyInvalid, match="there is no such file"):
        named_file(tmp_path / "nothing.toml")


def test_the_installed_sources_are_constants_that_only_root_can_write() -> None:
    installed = Sources.installed()
    assert installed.machine.dirs == paths.machine_policy_dirs()
    assert installed.machine.dirs[0] == Path("/etc/gpupanel/policy.d")
    assert installed.machine.trust == ROOT_ONLY
    assert (ROOT_ONLY.uid, ROOT_ONLY.base) == (0, Path("/"))
    assert isinstance(installed.user, UserSource)


def test_nothing_in_this_room_asks_the_environment() -> None:
    room = Path(inspect.getfile(module)).parent
    names = {"environ", "environb", "getenv", "getenvb", "expanduser", "expandvars", "home", "cwd"}
    found = [
        (path.name, node.lineno)
        for path in room.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in names
    ]
    assert len(list(room.glob("*.py"))) > 8
    assert found == []

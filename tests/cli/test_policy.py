from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import pytest

from gpupanel.cli import policy as noun
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.policy.sources import MachineSource, Sources, UserSource
from gpupanel.policy.trusted_file import Trust

CAP = "schema = 1\n[mandatory.mining]\nmax_efficiency_percent = {}\n"


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    directory = tmp_path / "etc"
    directory.mkdir(mode=0o755)
    uid = 0
    if sys.platform != "win32":
        uid = os.geteuid()
    machine = MachineSource([directory], Trust(uid, tmp_path))
    return Sources(machine, UserSource(tmp_path / "user.toml"), tmp_path / "state")


def call(*arguments: str, sources: Sources | None = None) -> int:
    parser = argparse.ArgumentParser()
    noun.add_arguments(parser)
    return noun.main(parser.parse_args(arguments), sources)


def put(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    path.chmod(0o644)
    return path


def test_a_valid_file_is_said_to_be_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, "p.toml", CAP.format(50))
    assert call("validate", str(path)) == 0
    assert capsys.readouterr() == (f"{path}: valid\n", "")


def test_faults_are_told_with_line_and_caret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, "p.toml", CAP.format(150) + "\tenforcment = 'off' # \x1b[31m\n".replace(
        "\x1b", "é"))  # fmt: skip
    assert call("validate", str(path)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{path}:3:26: error[GP012] mandatory.mining.max_efficiency_percent: 150 > maximum 100",
        "    max_efficiency_percent = 150",
        "                             ^",
        f"{path}:4:2: error[GP011] mandatory.mining.enforcment does not exist: "
        'did you mean "enforcement"?',
        "     enforcment = 'off' # é[31m",
        "     ^",
    ]


def test_long_lines_and_control_codes_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, "p.toml", f"schema = 1\n{' ' * 5000}\x1b]0;title\x07 = 1{' ' * 5000}#\n")
    assert call("validate", str(path)) == 1
    _, err = capsys.readouterr()
    assert "\x1b" not in err
    head, line, caret = err.splitlines()
    assert head.startswith(f"{path}:2:5001: error[GP001]")
    assert len(line) < 110
    assert line[caret.index("^") :].startswith("?]0;title? = 1")


def test_validate_as_json_tells_of_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = put(tmp_path, "good.toml", CAP.format(50))
    bad = put(tmp_path, "bad.toml", CAP.format(150))
    assert call("validate", "--json", str(good), str(bad)) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "files": [
            {"path": str(good), "valid": True, "diagnostics": []},
            {
                "path": str(bad),
                "valid": False,
                "diagnostics": [
                    {
                        "path": str(bad),
                        "line": 3,
                        "column": 26,
                        "severity": "error",
                        "code": "GP012",
                        "text": "mandatory.mining.max_efficiency_percent: 150 > maximum 100",
                    }
                ],
            },
        ]
    }


def test_a_missing_file_is_an_input_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nothing.toml"
    assert call("validate", str(path)) == 6
    assert capsys.readouterr().err == f"{path}:0:0: error[GP020] there is no such file\n"


@pytest.mark.parametrize("arguments", [[], ["validate"], ["show", "file"], ["nothing"]])
def test_wrong_usage_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        call(*arguments)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_show_without_policy(sources: Sources, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", sources=sources) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "State: UNMANAGED"
    shown = [line.split()[:2] for line in lines[2:]]
    assert shown[0] == ["KEY", "VALUE"]
    assert [key for key, _ in shown[1:]] == [key.name for key in POLICY_KEYS]
    assert (
        dict(shown).items()
        >= {
            "mining.enforcement": "enforce",
            "mining.max_efficiency_percent": "100",
            "mining.game_priority": "true",
            "mining.gpu_roles": "none",
            "stress.max_run_seconds": "7200",
        }.items()
    )
    starts = {line.index("default") for line in lines[3:]}
    assert starts == {lines[2].index("LEVEL")}


def test_show_tells_who_set_what_and_what_gave_way(
    sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(sources.machine.dirs[0], "60.toml", CAP.format(50))
    put(sources.user.path.parent, "user.toml", CAP.format(80))
    assert call("show", sources=sources) == 0
    out, _ = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert ["State:", "MANAGED"] in rows
    at = f"{path}:3:26"
    assert ["mining.max_efficiency_percent", "50", "mandatory", at, "locked"] in rows
    assert [
        "overrides", "80", "user", f"{sources.user.path}:3:26",
        "looser", "than", "what", "the", "machine", "policy", "allows",
    ] in rows  # fmt: skip


def test_show_as_json_is_an_effective_policy(
    sources: Sources, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(sources.machine.dirs[0], "60.toml", CAP.format(50))
    extra = put(tmp_path, "extra.toml", CAP.format(20))
    assert call("show", "--policy", str(extra), "--json", sources=sources) == 0
    policy = EffectivePolicy.from_json(json.loads(capsys.readouterr().out))
    assert policy.integer("mining.max_efficiency_percent") == 20
    assert policy.settings["mining.max_efficiency_percent"].overridden[0].value == 50


def test_show_tells_of_a_broken_machine_policy(
    sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(sources.machine.dirs[0], "60.toml", CAP.format(150))
    assert call("show", sources=sources) == 1
    out, err = capsys.readouterr()
    assert out.startswith("State: CLOSED\n")
    assert err.startswith(f"{path}:3:26: error[GP012]")
    put(path.parent, path.name, CAP.format(50))
    assert call("show", sources=sources) == 0
    path.chmod(0o666)
    assert call("show", sources=sources) == 4
    assert capsys.readouterr().out.count("State: STALE") == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_show_with_a_broken_or_missing_extra_file_shows_nothing_else(
    sources: Sources, tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    flags = ["--json"] if as_json else []
    extra = put(tmp_path, "extra.toml", CAP.format(0))
    assert call("show", "--policy", str(extra), *flags, sources=sources) == 1
    out, err = capsys.readouterr()
    assert "0 < minimum 1" in (out if as_json else err)
    assert as_json or out == ""
    assert call("show", "--policy", str(tmp_path / "no.toml"), *flags, sources=sources) == 6

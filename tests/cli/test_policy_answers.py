"""policy validate in every form, explain, diff, simulate: for a terminal and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.sources import Sources
from tests.cli.test_policy import CAP, call, put, sources

__all__ = ["sources"]

OFF = "schema = 1\n[mandatory.mining]\nenforcement = 'off'\nmax_efficiency_percent = 50\n"
NAME = "mining.max_efficiency_percent"


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_warnings_are_valid_and_not_well_enough_for_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, "p.toml", OFF)
    assert call("validate", str(path)) == 0
    out, err = capsys.readouterr()
    assert out == f"{path}: valid\n"
    assert err.splitlines()[0] == (
        f"{path}:4:26: warning[GP040] {NAME} = 50 has no effect: mining.enforcement is off"
    )
    assert call("validate", "--strict", str(path)) == 3
    capsys.readouterr()
    assert call("validate", "--strict", "--json", str(path)) == 3
    assert answer(capsys)["files"][0]["valid"] is True
    broken = put(tmp_path, "broken.toml", CAP.format(150))
    assert call("validate", "--strict", str(path), str(broken)) == 1


def test_validate_as_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path, "p.toml", CAP.format(150))
    assert call("validate", "--format", "sarif", str(path), str(tmp_path / "none")) == 6
    document = answer(capsys)
    [run] = document["runs"]
    assert document["version"] == "2.1.0"
    first, second = run["results"]
    assert run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == first["ruleId"] == "GP012"
    assert (first["level"], first["message"]["text"].split(": ")[1]) == (
        "error",
        "150 > maximum 100",
    )
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": path.as_posix()}
    assert place["region"] == {"startLine": 3, "startColumn": 26}
    assert "region" not in second["locations"][0]["physicalLocation"]


def test_validate_for_github(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path, "a,b%:c.toml", OFF)
    assert call("validate", "--format", "github", str(path)) == 0
    told = str(path).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    assert capsys.readouterr().out == (
        f"::warning file={told},line=4,col=26,title=GP040::"
        f"{NAME} = 50 has no effect: mining.enforcement is off\n"
    )


def test_explain_tells_why_and_who_could_change_it(
    sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(sources.machine.dirs[0], "60.toml", CAP.format(50))
    put(sources.user.path.parent, "user.toml", CAP.format(80))
    assert call("explain", NAME, sources=sources) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{NAME} = 50"
    facts = dict(line.split(maxsplit=1) for line in lines[3:] if line and not line[0].isspace())
    assert facts["Level"] == "mandatory, locked"
    assert facts["Change"] == (
        f"the administrator in {path}; you can only make it tighter, in {sources.user.path}"
    )
    assert facts["Bounds"] == "1 to 100"
    assert lines[-1].split(maxsplit=3) == [
        "80", "user", f"{sources.user.path}:3:26", "looser than what the machine policy allows",
    ]  # fmt: skip


@pytest.mark.parametrize("key", POLICY_KEYS, ids=lambda key: key.name)
def test_explain_as_json_for_every_key(
    sources: Sources, capsys: pytest.CaptureFixture[str], key: Any
) -> None:
    assert call("explain", key.name, "--json", sources=sources) == 0
    document = answer(capsys)
    assert (document["key"], document["help"]) == (key.name, key.help)
    assert document["change"].startswith("you, in ")
    for name in ("value", "level", "source", "overridden", "bounds", "default", "since", "tighter"):
        assert name in document


def test_explain_when_the_policy_is_closed(
    sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    put(sources.machine.dirs[0], "60.toml", CAP.format(150))
    assert call("explain", NAME, sources=sources) == 1
    out, err = capsys.readouterr()
    assert "who has to repair the machine policy; until then nobody" in out
    assert "GP012" in err


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mining.max_eficiency_percent", f'did you mean "{NAME}"'),
        ("max_efficiency_percent", f'did you mean "{NAME}"'),
        ("qqq", "policy show lists the keys"),
    ],
)
def test_explain_of_no_key_names_the_nearest(
    sources: Sources, capsys: pytest.CaptureFixture[str], name: str, hint: str
) -> None:
    assert call("explain", name, sources=sources) == 2
    assert hint in capsys.readouterr().err


def test_diff_of_files_and_of_what_is_in_force(
    sources: Sources, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(sources.machine.dirs[0], "60.toml", CAP.format(50))
    other = put(tmp_path, "other.toml", CAP.format(80) + "game_priority = false\n")
    for now in ("now", "-"):
        assert call("diff", now, str(other), sources=sources) == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert rows == [
            ["KEY", "IS", "FROM", "TO"],
            [NAME, "looser", "50", "(locked)", "80", "(locked)"],
            ["mining.game_priority", "changed", "true", "false", "(locked)"],
        ]
    assert call("diff", str(other), "now", "--json", sources=sources) == 0
    first = answer(capsys)["changes"][0]
    assert (first["key"], first["direction"]) == (NAME, "tighter")
    assert (first["before"]["value"], first["after"]["value"]) == (80, 50)
    assert call("diff", "now", "-", sources=sources) == 0
    assert capsys.readouterr().out == "no key differs\n"
    broken = put(tmp_path, "broken.toml", CAP.format(0))
    assert call("diff", "now", str(broken), sources=sources) == 1
    assert call("diff", "now", str(tmp_path / "none"), sources=sources) == 6


def verdicts(tmp_path: Path, executable: str = "/home/al/miner") -> Path:
    record = {
        "interval_s": 1.0, "pid": 42, "executable": executable, "sha256": None, "trusted": False,
        "gpus": [["GPU-1"]], "gpu_seconds": 1.0, "beside_guest": False,
    }  # fmt: skip
    lines = [json.dumps(record | {"time_unix_s": 1.7e9 + second}) for second in range(110)]
    return put(tmp_path, "v.jsonl", "\n".join(lines) + "\n")


def test_simulate_tells_who_would_have_lost_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = put(tmp_path, "p.toml", CAP.format(50))
    recorded = str(verdicts(tmp_path, "/home/al/\x1b[31mminer"))
    assert call("simulate", str(file), "--verdicts", recorded) == 0
    out, _ = capsys.readouterr()
    assert "\x1b" not in out
    assert "throttle" in out
    assert f"{NAME} = 50, set by the machine policy ({file}:3:26)" in out
    assert call("simulate", str(file), "--verdicts", recorded, "--json") == 0
    document = answer(capsys)
    [process] = document["processes"]
    assert (process["pid"], process["action"], process["cap_percent"]) == (42, "throttle", 50)
    # After ten seconds of grace half of the hundred seconds.
    assert process["lost_gpu_seconds"] == pytest.approx(50, abs=0.5)
    assert document["totals"] == {
        "gpu_seconds": 110, "lost_gpu_seconds": process["lost_gpu_seconds"]
    }  # fmt: skip


def test_simulate_replays_what_was_kept_the_services_before_the_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, user = (tmp_path / name / "v.jsonl" for name in ("service", "user"))
    for name, newer in (("machine", service), ("user", user)):
        files = newer.with_name("v.1.jsonl"), newer
        monkeypatch.setattr(f"gpupanel.paths.{name}_verdicts_files", lambda files=files: files)
    file = str(put(tmp_path, "p.toml", CAP.format(50)))
    assert call("simulate", file) == 0
    assert capsys.readouterr().out == "nothing was recorded\n"
    user.parent.mkdir()
    verdicts(tmp_path, "/home/al/users").rename(user)
    assert call("simulate", file) == 0
    out, err = capsys.readouterr()
    assert "/home/al/users" in out
    assert err == f"replaying {user}\n"
    service.parent.mkdir()
    verdicts(tmp_path, "/home/al/older").rename(service.with_name("v.1.jsonl"))
    verdicts(tmp_path, "/home/al/newer").rename(service)
    assert call("simulate", file, "--json") == 0
    names = [one["executable"] for one in answer(capsys)["processes"]]
    assert names == ["/home/al/older", "/home/al/newer"]


def test_simulate_refuses_broken_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, recorded = put(tmp_path, "p.toml", CAP.format(50)), verdicts(tmp_path)
    broken = put(tmp_path, "broken.toml", CAP.format(0))
    assert call("simulate", str(broken), "--verdicts", str(recorded)) == 1
    put(tmp_path, "v.jsonl", "{}\n")
    assert call("simulate", str(good), "--verdicts", str(recorded)) == 1
    assert f"{recorded}:1:1: error[GP001] not a record: " in capsys.readouterr().err
    put(tmp_path, "v.jsonl", "")
    assert call("simulate", str(good), "--verdicts", str(recorded)) == 0
    assert capsys.readouterr().out == "nothing was recorded\n"
    with pytest.raises(OSError, match="none"):
        call("simulate", str(good), "--verdicts", str(tmp_path / "none"))

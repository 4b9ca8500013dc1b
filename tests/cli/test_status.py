"""gpupanelctl status through a real agent, and an exit code for each state of policy."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gpupanel.cli import status
from gpupanel.ipc.transport import Endpoint
from gpupanel.model.decision import Diagnostic
from gpupanel.model.errors import ServiceUnreachable
from gpupanel.model.gpu import Unavailable
from gpupanel.model.hold import Hold
from gpupanel.policy.claims import Claim, Level, Scope, Source
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, resolve


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    status.add_arguments(parser)
    return status.main(parser.parse_args(arguments))


def test_a_real_agent_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"policy", "agent", "backends", "gpus", "runs", "holds"}
    assert document["holds"] == []
    assert document["policy"]["state"] in [state.value for state in PolicyState]
    assert document["agent"]["scope"] == "user"
    assert "cpu" in document["gpus"]
    assert {"nvml", "host"} <= {one["name"] for one in document["backends"]}


class FakeClient:
    """An agent whose policy we choose."""

    policy: EffectivePolicy
    door = Endpoint.READ_ONLY
    holds: tuple[Hold, ...] = ()

    def __init__(self) -> None:
        self.hello = {"protocol": 1, "version": "0.1", "scope": "user"}
        self.endpoint = self.door

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        del params
        held = {"holds": [hold.as_json() for hold in self.holds]}
        gpus = {"gpus": [{"id": "cpu"}], "backends": [{"name": "host", "state": "ok"}]}
        return {"gpus": gpus, "policy": self.policy.as_json(), "holds": held}[method]


@pytest.mark.parametrize(
    ("state", "code"),
    [("managed", 0), ("stale", 10), ("closed", 11), ("unmanaged", 12), ("audit_only", 13)],
)
def test_check_exits_with_the_state(
    state: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = Claim("ui.show_tray", False, Level.MANDATORY, Scope.MACHINE, Source("p", 2, 3))
    fault = Diagnostic("/etc/\x1b[31mp", 1, 2, "error", "GP001", "not TOML")
    FakeClient.policy = resolve(
        [claim], state=PolicyState(state), diagnostics=[fault], loosened=["ui.show_tray"]
    )
    monkeypatch.setattr(status, "Client", FakeClient)
    assert call() == 0
    assert call("--check") == code
    out, err = capsys.readouterr()
    assert f"{state.upper()}, 1 keys mandated" in out
    assert "Loosened  ui.show_tray" in out
    assert "GP001" in err
    assert "\x1b" not in err
    assert {one.value for one in status.CHECK_CODES} == {state.value for state in PolicyState}


def choose(monkeypatch: pytest.MonkeyPatch, state: str, door: Endpoint, *holds: Hold) -> None:
    FakeClient.policy = resolve([], state=PolicyState(state))
    monkeypatch.setattr(FakeClient, "door", door)
    monkeypatch.setattr(FakeClient, "holds", holds)
    monkeypatch.setattr(status, "Client", FakeClient)


@pytest.mark.parametrize(
    ("state", "code"),
    [("managed", 14), ("stale", 14), ("closed", 14), ("unmanaged", 12), ("audit_only", 14)],
)
def test_policy_without_a_service_is_a_service_that_is_down(
    state: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose(monkeypatch, state, Endpoint.PARENT)
    assert call("--check") == code
    assert call() == 0
    assert "there is no service" in capsys.readouterr().out


def test_a_service_that_does_not_answer_is_down(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable() -> FakeClient:
        raise ServiceUnreachable("the service does not answer: restart gpupaneld")

    monkeypatch.setattr(status, "Client", unreachable)
    assert call("--check") == 14
    assert "restart gpupaneld" in capsys.readouterr().err
    with pytest.raises(ServiceUnreachable):
        call()


def test_who_is_held_and_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Hold(
        "1", 1000, "mara", "xm\x1brig", 7, 1007, 3, ("cpu",), "throttle", "throttle", 50, 49.2,
        10.0, 1.0, 2.0, "mining.max_efficiency_percent = 50, set by the machine policy", "SIGSTOP",
        is_best_effort=True,
    )  # fmt: skip
    later_s = time.time() + 25.4
    nothing = Unavailable("nothing is held")
    holds = (
        first,
        replace(first, id="2", pid=8, acts_unix_s=later_s, efficiency_percent=nothing, means=""),
        replace(first, id="3", pid=9, action="observe", would="suspend", means="", user=None),
        replace(first, id="4", pid=10, means="", reason="permission\x1b denied"),
        replace(first, id="5", pid=11, action="notify", would="notify", means=""),
    )
    choose(monkeypatch, "managed", Endpoint.READ_ONLY, *holds)
    assert call() == 0
    out = capsys.readouterr().out
    assert "Holds     5\n" in out
    assert "\x1b" not in out
    told = [line.split("  ") for line in out.splitlines() if line.startswith("xm?rig  ")]
    assert [[cell.strip() for cell in row if cell] for row in told] == [
        ["xm?rig", "7", "3", "mara", "throttle", "50 %", "49 %", "SIGSTOP"],
        ["xm?rig", "8", "3", "mara", "throttle in 25 s", "50 %", "–", "–"],
        ["xm?rig", "9", "3", "–", "would suspend", "50 %", "49 %", "–"],
        ["xm?rig", "10", "3", "mara", "throttle, not in force", "50 %", "49 %", "–"],
        ["xm?rig", "11", "3", "mara", "notify", "50 %", "49 %", "–"],
    ]
    assert "xm?rig (10): permission? denied" in out
    assert call("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [Hold.from_json(entry) for entry in document["holds"]] == list(holds)
    choose(monkeypatch, "managed", Endpoint.READ_ONLY)
    call()
    assert "nobody is held" in capsys.readouterr().out

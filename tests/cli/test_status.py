"""gpupanelctl status through a real agent, and an exit code for each state of policy."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

import pytest

from gpupanel.cli import status
from gpupanel.ipc.transport import Endpoint
from gpupanel.model.decision import Diagnostic
from gpupanel.policy.claims import Claim, Level, Scope, Source
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, resolve


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    status.add_arguments(parser)
    return status.main(parser.parse_args(arguments))


def test_a_real_agent_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"policy", "agent", "backends", "gpus", "runs"}
    assert document["policy"]["state"] in [state.value for state in PolicyState]
    assert document["agent"]["scope"] == "user"
    assert "cpu" in document["gpus"]
    assert {"nvml", "host"} <= {one["name"] for one in document["backends"]}


class FakeClient:
    """An agent whose policy we choose."""

    policy: EffectivePolicy

    def __init__(self) -> None:
        self.hello = {"protocol": 1, "version": "0.1", "scope": "user"}
        self.endpoint = Endpoint.PARENT

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        del params
        gpus = {"gpus": [{"id": "cpu"}], "backends": [{"name": "host", "state": "ok"}]}
        return {"gpus": gpus, "policy": self.policy.as_json()}[method]


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

"""--record, with the agent as a real child process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpupanel.backends.base import ProbeState
from gpupanel.backends.replay import ReplayBackend
from gpupanel.cli.main import main
from gpupanel.model.gpu import CPU_ID


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_recorded_can_be_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    path = tmp_path / "a.jsonl"
    call = ["sample", "--interval", "0.1", "--record", str(path), *(["--json"] if as_json else [])]
    assert main([*call, "--count", "2"]) == 0
    out, _ = capsys.readouterr()
    _, *recorded = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(recorded) == 2
    if as_json:
        assert [json.loads(line) for line in out.splitlines()] == recorded
    backend = ReplayBackend(path)
    assert backend.probe().state is ProbeState.OK
    assert CPU_ID in [gpu.id for gpu in backend.gpus()]
    assert main([*call, "--count", "1"]) == 6
    assert "--force overwrites it" in capsys.readouterr().err
    assert len(path.read_text().splitlines()) == 3
    assert main([*call, "--count", "1", "--force"]) == 0
    assert len(path.read_text().splitlines()) == 2

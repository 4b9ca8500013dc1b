"""Somebody sets the clock back by a day while the daemon runs: it goes on, and says so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gpupanel.model.chain import unseal
from gpupanel.policy.sources import MachineSource, Sources, UserSource
from gpupanel.policy.trusted_file import Trust
from gpupanel.sampling.store import Store
from gpupanel.service.audit.log import Audit
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import Scope
from tests.service.test_daemon import Caller

DAY_S = 86_400.0


def test_it_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, back_s = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() - back_s[0])
    policies = tmp_path / "policy.d"
    policies.mkdir(mode=0o755)
    trust = Trust(policies.stat().st_uid, tmp_path)
    sources = Sources(
        MachineSource((policies,), trust), UserSource(tmp_path / "none"), tmp_path / "state"
    )
    audit = Audit(tmp_path / "log", None)
    daemon = Daemon(
        Scope("user", sources, tmp_path / "history.db"), Store(tmp_path / "history.db"), audit=audit
    )
    daemon.start()
    caller = Caller(daemon)
    caller.ask("subscribe", topic="snapshots", interval_s=1.0)
    caller.ask("subscribe", topic="policy")
    caller.wait_for("snapshot")
    back_s[0] = DAY_S
    policy = policies / "50.toml"
    policy.write_text("schema = 1\nmandatory.mining.max_efficiency_percent = 50\n")
    policy.chmod(0o644)
    told = caller.wait_for("policy")["policy"]
    caller.wait_for("snapshot")
    caller.close()
    daemon.stop()
    audit.close()
    assert told["state"] == "managed"
    records = [
        unseal(line)
        for path in sorted((tmp_path / "log").glob("audit-*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]
    events = [one.event for one in records]
    assert events[0] == "service.started"
    assert events.index("clock.rollback") < events.index("policy.loaded", 2)
    (rollback,) = (one for one in records if one.event == "clock.rollback")
    assert float(str(rollback.fields["back_s"])) == pytest.approx(DAY_S, abs=60)

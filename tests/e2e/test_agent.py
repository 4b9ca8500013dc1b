"""The agent as a real child process, through the client that gpupanelctl uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gpupanel.ipc import protocol
from gpupanel.ipc.client import Client
from gpupanel.ipc.transport import Service
from gpupanel.model.errors import ProtocolError
from gpupanel.model.gpu import Snapshot
from gpupanel.model.metrics import METRICS
from gpupanel.policy.resolve import EffectivePolicy


@pytest.fixture
def client(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    with Client(Service(Path(home["HOME"]))) as connected:
        yield connected


def test_it_greets_in_user_scope(client: Client) -> None:
    assert client.hello["protocol"] == protocol.PROTOCOL_VERSION
    assert client.hello["scope"] == "user"


def test_another_version_is_refused_with_the_remedy(client: Client) -> None:
    with pytest.raises(ProtocolError, match="install the same version"):
        client.call("hello", {"protocol": 99})


def test_snapshots_name_every_metric_and_history_remembers_them(client: Client) -> None:
    client.call("subscribe", {"topic": "snapshots", "interval_s": 0.2})
    notifications = client.notifications()
    seen = [Snapshot.from_json(next(notifications)[1]["snapshot"]) for _ in range(8)]
    keys = {metric.key for metric in METRICS}
    assert all(sample.readings.keys() == keys for shot in seen for sample in shot.samples)
    remembered = client.call("history", {"seconds": 60})["snapshots"]
    times_s = [Snapshot.from_json(entry).time_monotonic_s for entry in remembered]
    assert times_s == sorted(times_s)
    assert times_s[-1] >= seen[0].time_monotonic_s


@pytest.mark.parametrize("seconds", [0, -1, 1e9, float("inf")])
def test_history_of_a_senseless_length_is_refused(client: Client, seconds: float) -> None:
    with pytest.raises((ProtocolError, ValueError), match=r"seconds|JSON"):
        client.call("history", {"seconds": seconds})


def test_a_changed_policy_file_is_told_within_seconds(client: Client, home: dict[str, str]) -> None:
    client.call("subscribe", {"topic": "policy"})
    before = EffectivePolicy.from_json(client.call("policy", {}))
    assert before.integer("mining.max_efficiency_percent") == 100
    wishes = Path(home["XDG_CONFIG_HOME"], "gpupanel", "policy.toml")
    wishes.parent.mkdir(parents=True)
    wishes.write_text("schema = 1\n[mandatory.mining]\nmax_efficiency_percent = 40\n")
    method, params = next(client.notifications())
    after = EffectivePolicy.from_json(params["policy"])
    assert method == "policy"
    assert after.integer("mining.max_efficiency_percent") == 40
    assert str(wishes) in after.settings["mining.max_efficiency_percent"].set_by


def test_it_loads_neither_qt_nor_opencl_nor_numpy(client: Client) -> None:
    client.call("gpus", {})
    (agent,) = (one for one in psutil.Process().children() if "agent" in one.cmdline())
    mapped = {Path(mapping.path).name for mapping in agent.memory_maps()}
    assert [name for name in mapped if "Qt6" in name or "OpenCL" in name or "numpy" in name] == []


def test_closing_the_client_ends_it(client: Client) -> None:
    (agent,) = (one for one in psutil.Process().children() if "agent" in one.cmdline())
    client.close()
    assert not agent.is_running()

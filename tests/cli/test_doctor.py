"""``doctor``: what it finds of each part, and what its exit status says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gpupanel.backends.base import unavailable_sample
from gpupanel.cli import doctor as noun
from gpupanel.cli.doctor import Finding, Level
from gpupanel.cli.main import main
from gpupanel.model.decision import Diagnostic
from gpupanel.model.gpu import CPU_ID, GpuInfo, GpuKind, GpuState, Sample, Snapshot
from gpupanel.model.sleep import SleepRecord
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, resolve
from gpupanel.sampling.store import Store

CARD = GpuInfo("GPU-1", "RTX", "NVIDIA", GpuKind.GPU, "nvml")
CPU = GpuInfo(CPU_ID, "EPYC", "AMD", GpuKind.CPU, "host")
SLEEPS = SleepRecord(True, 1e9, 3, 0, 0.934)


def snapshot(*samples: Sample) -> Snapshot:
    return Snapshot(1e9, 5.0, samples)


def policy(state: PolicyState = PolicyState.UNMANAGED, severity: str = "") -> EffectivePolicy:
    fault = Diagnostic("/etc/p.toml", 3, 1, severity, "GP105", "no such key")
    return resolve((), (), (), state=state, diagnostics=(fault,) if severity else ())


def gpu_findings(
    *gpus: GpuInfo, sample: Sample | None = None, record: SleepRecord | None = None
) -> list[Finding]:
    records = {} if record is None else {CARD.id: record}
    return list(noun.gpu_findings(list(gpus), snapshot(*([sample] if sample else ())), records))


def test_absent_drivers_are_well_and_failed_ones_have_a_remedy() -> None:
    found = list(
        noun.backend_findings(
            [
                {"name": "nvml", "state": "failed", "reason": "updated; reboot"},
                {"name": "amdgpu", "state": "absent", "reason": "no amdgpu driver is loaded"},
                {"name": "host", "state": "ok", "reason": ""},
            ]
        )
    )
    assert [(one.about, one.level) for one in found] == [
        ("backend nvml", Level.FAULT), ("backend amdgpu", Level.OK), ("backend host", Level.OK),
    ]  # fmt: skip
    assert "nvidia-smi" in found[0].remedy


def test_a_sleeping_gpu_says_since_when_and_that_nobody_here_woke_it() -> None:
    (found,) = gpu_findings(CARD, record=SLEEPS)
    assert found.level is Level.OK
    assert "can sleep; asleep, seen so since" in found.text
    assert "asleep 93% of the time" in found.text
    assert found.text.endswith("wake-ups by gpupanel: 0")


def test_a_wake_up_by_us_is_a_fault() -> None:
    (found,) = gpu_findings(CARD, record=SleepRecord(True, None, 3, 2, None))
    assert (found.level, found.text) == (Level.FAULT, "RTX: woken 2 times by gpupanel")
    assert found.remedy


def test_a_gpu_that_was_never_met_is_listed_with_its_sleep() -> None:
    gpus = [CARD, CPU]
    (_, _, unmet) = noun.gpu_findings(gpus, snapshot(), {"pci:0000:01:00.0": SLEEPS})
    assert unmet.about == "GPU pci:0000:01:00.0"
    assert unmet.text.startswith("not asked while it sleeps; can sleep")


def test_a_lost_gpu_is_a_fault_with_its_reason() -> None:
    lost = unavailable_sample(CARD.id, "the GPU fell off the bus", GpuState.LOST)
    (found,) = gpu_findings(CARD, sample=lost)
    assert (found.level, found.text) == (Level.FAULT, "RTX: the GPU fell off the bus")


def test_without_a_gpu_there_is_a_warning() -> None:
    assert [one.level for one in gpu_findings(CPU)] == [Level.WARNING, Level.OK]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_opencl_drivers_are_the_files_of_the_loader(tmp_path: Path) -> None:
    (warned,) = noun.opencl_findings(tmp_path / "none")
    assert (warned.level, "pocl-opencl-icd" in warned.remedy) == (Level.WARNING, True)
    (tmp_path / "pocl.icd").write_text("libpocl.so.2\n")
    (tmp_path / "gone.icd").write_text("/opt/gone/libamdocl64.so\n")
    gone, pocl = noun.opencl_findings(tmp_path)
    assert (gone.level, "/opt/gone/libamdocl64.so, which is not there" in gone.text) == (
        Level.WARNING, True,
    )  # fmt: skip
    assert (pocl.level, pocl.text) == (Level.OK, "pocl: libpocl.so.2")


def test_a_missing_pyopencl_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(noun, "find_spec", lambda name: None)
    assert next(noun.opencl_findings(tmp_path)).level is Level.FAULT


@pytest.mark.parametrize(
    ("state", "severity", "level"),
    [
        (PolicyState.UNMANAGED, "", Level.OK),
        (PolicyState.MANAGED, "warning", Level.WARNING),
        (PolicyState.UNMANAGED, "error", Level.FAULT),
        (PolicyState.STALE, "error", Level.FAULT),
        (PolicyState.CLOSED, "error", Level.FAULT),
    ],
)
def test_a_broken_policy_is_a_fault(state: PolicyState, severity: str, level: Level) -> None:
    found = noun.policy_finding(policy(state, severity))
    assert found.level is level
    assert ("/etc/p.toml:3:1" in found.text) is bool(severity)
    assert bool(found.remedy) is bool(severity)


def test_the_history_has_a_place_and_a_size(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    assert "nothing remembered yet" in noun.history_finding(path).text
    store = Store(path)
    for second in range(3):
        store.append(Snapshot(1e9 + second, float(second), (Sample("cpu", {"power_draw_w": 5.0}),)))
    found = noun.history_finding(path)
    store.close()
    assert found.level is Level.OK
    assert found.text.startswith(f"{path}: 0.")
    path.write_bytes(b"this is no database" * 100)
    broken = noun.history_finding(path)
    assert (broken.level, bool(broken.remedy)) == (Level.FAULT, True)


class Agent:
    """In place of the client."""

    def __init__(self, record: SleepRecord) -> None:
        self.record = record

    def __call__(self) -> Agent:
        return self

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *reason: object) -> None:
        pass

    def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "gpus": {"gpus": [CARD.as_json(), CPU.as_json()], "backends": []},
            "policy": policy().as_json(),
            "sleep": {"sleep": {CARD.id: self.record.as_json()}},
            "subscribe": {},
        }[method]

    def notifications(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for _ in range(noun.SNAPSHOTS):
            yield "snapshot", {"snapshot": snapshot().as_json()}


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[SleepRecord], None]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return lambda record: monkeypatch.setattr(noun, "Client", Agent(record))


def test_the_exit_status_tells_of_faults(
    agent: Callable[[SleepRecord], None], capsys: pytest.CaptureFixture[str]
) -> None:
    agent(SLEEPS)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "wake-ups by gpupanel: 0" in out
    assert "0 faults" in out
    agent(SleepRecord(True, None, 1, 1, None))
    assert main(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["level"] == "fault"
    (fault,) = [one for one in document["findings"] if one["level"] == "fault"]
    assert (fault["about"], bool(fault["remedy"])) == ("GPU GPU-1", True)
    assert set(fault) == {"about", "level", "text", "remedy"}


REAL = """
import sys
from gpupanel.cli import doctor, main
doctor.SNAPSHOTS = 1
status = main.main(["doctor", "--json"])
loaded = {"pyopencl", "pynvml", "numpy"} & set(sys.modules)
sys.exit(f"loaded {loaded}" if loaded else status)
"""


def test_with_the_real_agent_it_loads_no_library_of_a_vendor(tmp_path: Path) -> None:
    homes = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("CONFIG", "STATE", "DATA")}
    done = subprocess.run(
        [sys.executable, "-c", REAL], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **homes},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    about = [one["about"] for one in json.loads(done.stdout)["findings"]]
    assert {"backend host", f"GPU {CPU_ID}", "policy", "history", "OpenCL"} <= set(about)

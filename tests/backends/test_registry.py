"""Opening backends: what fails is named, and the rest goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gpupanel.backends import registry
from gpupanel.backends.base import ProbeResult, ProbeState
from gpupanel.backends.registry import Opened, open_backends, probed_again
from gpupanel.model.errors import DriverMismatch
from gpupanel.model.gpu import GpuId, GpuInfo, Sample


class Scripted:
    """A double of a driver stack: answers each probe with the next entry of ``answers``."""

    def __init__(self, name: str, *answers: ProbeState | DriverMismatch) -> None:
        self.name = name
        self.answers = list(answers)

    def probe(self) -> ProbeResult:
        answer = self.answers.pop(0)
        if isinstance(answer, DriverMismatch):
            raise answer
        return ProbeResult(self.name, answer, "" if answer is ProbeState.OK else "not there")

    def gpus(self) -> tuple[GpuInfo, ...]:
        return ()

    def sample(self, gpu_id: GpuId) -> Sample:
        raise AssertionError(gpu_id)

    def close(self) -> None:
        pass


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Scripted]:
    backends = {
        "broken": Scripted("broken", DriverMismatch("reboot"), DriverMismatch("reboot")),
        "late": Scripted("late", ProbeState.ABSENT, ProbeState.OK),
        "good": Scripted("good", ProbeState.OK),
    }
    monkeypatch.setattr(registry, "_made", backends.__getitem__)
    return backends


def names(opened: Opened) -> tuple[list[str], list[str]]:
    return [b.name for b in opened.backends], [b.name for b in opened.unopened]


def test_one_that_fails_does_not_keep_the_rest_from_opening(scripted: dict[str, Scripted]) -> None:
    opened = open_backends(tuple(scripted))
    assert names(opened) == (["good"], ["broken", "late"])
    assert opened.results == (
        ProbeResult("broken", ProbeState.FAILED, "reboot"),
        ProbeResult("late", ProbeState.ABSENT, "not there"),
        ProbeResult("good", ProbeState.OK, ""),
    )
    assert opened.results[0].as_json() == {"name": "broken", "state": "failed", "reason": "reboot"}


def test_another_look_finds_what_came_and_keeps_the_order(scripted: dict[str, Scripted]) -> None:
    opened = probed_again(open_backends(tuple(scripted)))
    assert names(opened) == (["late", "good"], ["broken"])
    assert [result.state for result in opened.results] == ["failed", "ok", "ok"]


def test_the_list_of_backends_imports_no_vendor_library() -> None:
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "import gpupanel.backends.registry, gpupanel.backends.nvml, gpupanel.backends.host\n"
            "print({'pynvml', 'psutil'} & set(sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert loaded.stdout.strip() == "set()"

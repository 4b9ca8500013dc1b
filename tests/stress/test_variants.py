"""The choice of a variant, with scripts in the place of children, and with real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpupanel import children, paths
from gpupanel.model.errors import WorkloadError
from gpupanel.stress import variants as variants_module
from gpupanel.stress import variants_memory
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.device import open_device
from gpupanel.stress.variants import Choice, Question, choose
from gpupanel.stress.workload import Device, Report, Variant

SAFE, WIDE, ODD = Variant("safe", 8), Variant("wide", 16), Variant("odd", 1, {"X": 2})
QUESTION = Question(WORKLOAD_BY_NAME["ai.gemm"], "cpu", None, {"size": 4096})

PREAMBLE = """
import json, os, signal, sys, time
request = json.loads(sys.argv[1])
name = request["variant"]["name"]
def say(**line): print(json.dumps(line), flush=True)
def answer(rate=0.0, fault="", lasts=True): say(work_per_s=rate, fault=fault, lasts=lasts)
open({log!r}, "a").write(name + "\\n")
"""


@pytest.fixture(scope="module")
def device() -> Device:
    return open_device("cpu", None)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "user_cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache"


class Children:
    """Scripts in the place of ``gpupanel probe``."""

    def __init__(self, device: Device, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._device = device
        self._log = log
        self._monkeypatch = monkeypatch

    def choose(
        self, script: str, *variants: Variant, report: Report = lambda step, part: None
    ) -> Choice:
        command = [sys.executable, "-c", PREAMBLE.format(log=str(self._log)) + script]
        self._monkeypatch.setattr(children, "command", lambda role: command)
        return choose(QUESTION, variants or (SAFE, WIDE, ODD), self._device, report)

    @property
    def tried(self) -> list[str]:
        return self._log.read_text().split() if self._log.exists() else []


@pytest.fixture
def scripts(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Children:
    return Children(device, tmp_path / "log", monkeypatch)


def rates(**per_s: float) -> str:
    return f"answer({per_s!r}[name])"


def test_the_only_variant_is_not_tried(scripts: Children) -> None:
    assert scripts.choose("1/0", SAFE) == Choice(SAFE)
    assert scripts.tried == []


def test_the_fastest_is_chosen_and_said_so(scripts: Children) -> None:
    choice = scripts.choose(rates(safe=10, wide=30, odd=20))
    assert choice == Choice(WIDE, ("wide: fastest of 3 that gave right answers",))


def test_noise_does_not_beat_the_safer_one(scripts: Children) -> None:
    assert scripts.choose(rates(safe=100, wide=101, odd=101.5)).variant is SAFE


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV"),
        ("print('LLVM ERROR: no', file=sys.stderr); os.abort()", "SIGABRT LLVM ERROR: no"),
        ("sys.exit('no module')", "crashed with status 1 no module"),
        ("answer(fault='wrong answers: C[0, 0]')", "wrong answers: C[0, 0]"),
    ],
)
def test_what_is_of_no_use_is_left_out_with_its_reason(
    scripts: Children, script: str, fault: str
) -> None:
    body = f"if name == 'wide': {script}\nelse: answer(1.0)"
    choice = scripts.choose(body, SAFE, WIDE)
    assert choice.variant is SAFE
    first, second = choice.notes
    assert first == "safe: the only one of 2 that gave right answers"
    assert second.startswith("wide: left out, ")
    assert fault in second
    # It is remembered with its reason, and not tried again.
    assert scripts.choose("1/0", SAFE, WIDE) == choice
    assert scripts.tried == ["safe", "wide"]


def test_a_child_that_hangs_is_killed_and_tried_again_the_next_time(
    scripts: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants_module, "TIME_LIMIT_S", 0.5)
    script = "if name == 'wide': signal.pause()\nelse: answer(1.0)"
    choice = scripts.choose(script, SAFE, WIDE)
    assert choice.notes[1] == "wide: left out, it gave no answer in 0 s"
    scripts.choose(script, SAFE, WIDE)
    assert scripts.tried == ["safe", "wide"] * 2


def test_what_passes_is_not_remembered(scripts: Children) -> None:
    for script in ("answer(fault='no memory', lasts=False)", "os.kill(os.getpid(), 9)"):
        for _ in range(2):
            scripts.choose(f"if name == 'wide': {script}\nelse: answer(1.0)", SAFE, WIDE)
    assert len(scripts.tried) == 8


def test_none_of_use_is_an_error_with_all_reasons(scripts: Children) -> None:
    with pytest.raises(WorkloadError, match=r"ai\.gemm .*safe: .*bad.*; wide: .*bad.*; odd: .*bad"):
        scripts.choose("answer(fault='bad')")


def test_steps_are_reported_with_the_variant(scripts: Children) -> None:
    reports: list[tuple[str, float]] = []
    scripts.choose(
        "say(step='kernel', fraction=0.5); answer(1.0)",
        SAFE, WIDE, report=lambda step, part: reports.append((step, part)),
    )  # fmt: skip
    assert reports == [("safe: kernel", 0.5), ("wide: kernel", 0.5)]


def test_a_choice_is_remembered(scripts: Children) -> None:
    first = scripts.choose(rates(safe=1, wide=2, odd=3))
    assert scripts.choose("1/0") == first
    assert scripts.tried == ["safe", "wide", "odd"]


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(variants_memory, "__version__", "9.9"),
        lambda patch: patch.setattr(variants_memory, "source_of", lambda name: "another"),
    ],
    ids=["gpupanel", "kernel"],
)
def test_another_version_is_tried_anew_and_replaces_the_old(
    scripts: Children, cache: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None]
) -> None:
    scripts.choose(rates(safe=1, wide=2, odd=3))
    change(monkeypatch)
    assert scripts.choose(rates(safe=1, wide=3, odd=2)).variant is WIDE
    assert len(list(cache.iterdir())) == 1


def test_another_driver_is_tried_anew(scripts: Children, cache: Path) -> None:
    scripts.choose(rates(safe=1, wide=2, odd=3))
    [file] = cache.iterdir()
    document = json.loads(file.read_text())
    for field in ("driver_version", "platform_version", "device", "knobs", "variants"):
        assert document["key"][field]
    document["key"]["driver_version"] = "older"
    file.write_text(json.dumps(document))
    assert scripts.choose(rates(safe=1, wide=3, odd=2)).variant is WIDE


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: "\0" * 10,
        lambda text: text.replace('"work_per_s"', '"work"'),
        lambda text: text.replace('"probed": {', '"probed": [{').replace("}\n }\n", "}\n }]\n"),
    ],
)
def test_a_damaged_memory_is_said_and_made_anew(
    scripts: Children, cache: Path, damage: Callable[[str], str]
) -> None:
    whole = scripts.choose(rates(safe=1, wide=2, odd=3))
    [file] = cache.iterdir()
    intact = file.read_text()
    file.write_text(damage(intact))
    again = scripts.choose(rates(safe=1, wide=2, odd=3))
    assert again.variant is ODD
    assert f"{file} is damaged" in again.notes[-1]
    assert file.read_text() == intact
    assert scripts.choose("1/0") == whole


def test_a_cache_that_cannot_be_written_is_said(scripts: Children, cache: Path) -> None:
    cache.write_text("a file where a directory should be")
    choice = scripts.choose(rates(safe=1, wide=2, odd=3))
    assert choice.variant is ODD
    assert any("not kept for the next run" in note for note in choice.notes)


def test_real_children_build_check_and_time_a_load(device: Device) -> None:
    steps: set[str] = set()
    broken = Variant("vectors of 4", 4)
    good = Variant("vectors of 8", 8)
    choice = choose(QUESTION, [broken, good], device, lambda step, part: steps.add(step))
    assert choice.variant is good
    assert choice.notes[1] == "vectors of 4: left out, crashed with status 1 KeyError: 4"
    assert "vectors of 8: self-test" in steps
    assert "vectors of 8: timing" in steps


def test_a_probe_ends_when_nobody_waits() -> None:
    request = {
        "workload": "ai.gemm", "gpu": "cpu", "pci_bus_id": None,
        "knobs": {"size": 1024}, "variant": {"name": "", "lanes": 8, "macros": {}},
    }  # fmt: skip
    with subprocess.Popen(
        [*children.command("probe"), json.dumps(request)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        child.stdin.close()
        # 0 would be its answer.
        assert child.wait(timeout=30) == 1

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gpupanel.cli import processes as noun
from gpupanel.cli.main import NOUNS
from gpupanel.model.errors import ProtocolError
from gpupanel.model.gpu import ProcessKind, ProcessSample, Unavailable
from gpupanel.model.hold import Hold
from gpupanel.model.verdict import (
    Evidence,
    EvidenceFamily,
    EvidenceSource,
    ProcessClass,
    Standing,
    Verdict,
)

LINE = Evidence(
    EvidenceFamily.NETWORK, "pool", 5.0, "the host a\x1b[2J is a pool's", EvidenceSource.ARGUMENTS
)
VERDICT = Verdict(ProcessClass.MINING, Standing.MINING, 0.99995, 1.7e9, (LINE,), "it is ours")
MINER = ProcessSample(
    "GPU-1", 70, 5, "miner", "eve", ProcessKind.COMPUTE, 512.0 * 2**20, 98.7, {"compute": 98.7},
    verdict=VERDICT.without_evidence(),
)  # fmt: skip
HOLD = Hold(
    "hold-1-1", 1000, "eve", "miner", 70, 5, 3, ("GPU-1",), "throttle", "throttle", 50, 49.2, 10.0,
    1.0, 2.0, "mining.max_efficiency_percent = 50, set by the machine policy", "cgroup v2 freezer",
)  # fmt: skip
XORG = ProcessSample(
    "GPU-1", 9, 1, "Xorg", None, ProcessKind.GRAPHICS, Unavailable("hidden"), Unavailable("no")
)
GAME = ProcessSample("pci:0000:00:02.0", 8, 2, "ga\x1b[2Jme", "ann", ProcessKind.BOTH, 0.0, 3.0)


class Agent:
    """In place of the client: answers ``subscribe`` and tells of one look after another."""

    def __init__(self, *looks: Mapping[str, Any]) -> None:
        self.looks = looks
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self) -> Agent:
        return self

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append((method, params))
        if method == "holds":
            return {"holds": [HOLD.as_json()]}
        if method == "object" and params["pid"] != 70:
            raise ProtocolError("policy does not let users object")
        if method == "explain":
            return {"judgement": VERDICT.as_json() if params["pid"] == 70 else None}
        return {"subscription": 1}

    def notifications(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return (("processes", look) for look in self.looks)


def look(*samples: ProcessSample, **more: Any) -> dict[str, Any]:
    return {"subscription": 1, "processes": [sample.as_json() for sample in samples], **more}


def call(monkeypatch: pytest.MonkeyPatch, agent: Agent, *arguments: str) -> int:
    monkeypatch.setattr(noun, "Client", agent)
    parser = argparse.ArgumentParser()
    noun.add_arguments(parser)
    return noun.main(parser.parse_args(arguments))


def test_it_is_a_noun() -> None:
    assert "processes" in NOUNS


def test_people_get_a_table_of_the_second_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = Agent(look(), look(GAME, XORG, MINER), look())
    assert call(monkeypatch, agent) == 0
    subscribed = ("subscribe", {"topic": "processes", "interval_s": 1.0})
    assert agent.calls == [subscribed, ("holds", {})]
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [[cell.strip() for cell in row if cell] for row in rows] == [
        ["GPU", "PID", "USER", "NAME", "TYPE", "CLASS", "VERDICT", "HELD", "GPU%", "MEMORY"],
        ["GPU-1", "70", "eve", "miner", "compute", "mining", "mining", "throttle, 49 % of 50 %",
            "99 %", "512 MiB"],
        ["GPU-1", "9", "–", "Xorg", "graphics", "–", "–", "–", "–", "–"],
        ["pci:0000:00:02.0", "8", "ann", "ga?[2Jme", "both", "–", "–", "–", "3 %", "0 MiB"],
    ]  # fmt: skip


def test_programs_get_the_samples_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, Agent(look(), look(MINER, XORG)), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [ProcessSample.from_json(entry) for entry in document["processes"]] == [MINER, XORG]
    assert document["processes"][1]["memory_used_bytes"] is None
    miner, xorg = document["processes"]
    assert [Hold.from_json(entry) for entry in document["holds"]] == [HOLD]
    assert (miner["class"], miner["verdict"], miner["posterior"]) == ("mining", "mining", 0.99995)
    assert (xorg["class"], xorg["verdict"], xorg["posterior"]) == (None, None, None)


def test_a_verdict_is_explained_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = Agent(look(), look(MINER, XORG))
    assert call(monkeypatch, agent, "--explain", "70") == 0
    assert agent.calls[-1] == ("explain", {"pid": 70, "started": 5})
    assert capsys.readouterr().out.splitlines() == [
        "miner (pid 70): mining, class mining, probability of mining 0.9999",
        "never held: it is ours",
        "WEIGHT  FAMILY   READ FROM     EVIDENCE",
        "+5.0    network  command line  the host a?[2J is a pool's",
    ]
    call(monkeypatch, Agent(look(), look(MINER)), "--explain", "70", "--json")
    document = json.loads(capsys.readouterr().out)
    assert Verdict.from_json(document["judgement"]) == VERDICT


def test_who_was_not_judged_and_who_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, Agent(look(), look(XORG)), "--explain", "9") == 0
    assert "nobody looked into it" in capsys.readouterr().out
    assert call(monkeypatch, Agent(look(), look(XORG)), "--explain", "12") == 1
    assert "process 12 uses no GPU" in capsys.readouterr().err


def test_a_user_says_that_a_program_does_not_mine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = Agent(look(), look(MINER, XORG))
    assert call(monkeypatch, agent, "--not-mining", "70") == 0
    assert agent.calls[-1] == ("object", {"pid": 70, "started": 5})
    assert "miner (pid 70) is remembered" in capsys.readouterr().out
    assert call(monkeypatch, agent, "--not-mining", "70", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"pid": 70, "name": "miner", "excused": True}
    with pytest.raises(ProtocolError, match="does not let users object"):
        call(monkeypatch, Agent(look(), look(MINER, XORG)), "--not-mining", "9")
    assert call(monkeypatch, Agent(look(), look(XORG)), "--not-mining", "12") == 1


def test_one_gpu_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    agent = Agent(look(), look(MINER, GAME))
    call(monkeypatch, agent, "--json", "--gpu", "pci:0000:00:02.0", "--interval", "0.5")
    assert [entry["pid"] for entry in json.loads(capsys.readouterr().out)["processes"]] == [8]
    assert agent.calls[0][1]["interval_s"] == 0.5


def test_watching_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, Agent(look(), look(MINER), look(), look(GAME)), "--watch", "--json")
    lines = capsys.readouterr().out.splitlines()
    assert [len(json.loads(line)["processes"]) for line in lines] == [1, 0, 1]


def test_nobody_and_what_is_hidden_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, Agent(look(), look(hidden=["2 processes cannot be seen"])))
    assert capsys.readouterr() == ("no process uses a GPU\n", "2 processes cannot be seen\n")


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "soon"])
def test_an_interval_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, interval: str
) -> None:
    with pytest.raises(SystemExit) as error:
        call(monkeypatch, Agent(), f"--interval={interval}")
    assert error.value.code == 2

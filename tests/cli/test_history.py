from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from gpupanel import paths
from gpupanel.cli import history
from gpupanel.cli.main import main
from gpupanel.cli.remembered import ServiceMemory
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import Sample, Snapshot
from gpupanel.sampling.store import Store
from gpupanel.service.memory import MOST_EVENTS, Memory

Out = pytest.CaptureFixture[str]


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "user_data_dir", lambda: tmp_path / "gpupanel")
    assert paths.user_history_file() == tmp_path / "gpupanel" / "history.db"
    return paths.user_history_file()


@pytest.fixture
def start_s(database: Path) -> float:
    """Two hours of two GPUs at 300 and 60 W that ended an hour ago."""
    start_s = time.time() // 3600 * 3600 - 3 * 3600
    store = Store(database)
    for second in range(0, 7200, 2):
        readings: Mapping[str, float] = {"power_draw_w": 300.0, "temperature_gpu_c": 61.0}
        samples = (Sample("GPU-1", readings), Sample("GPU-2", {"power_draw_w": 60.0}))
        store.append(Snapshot(start_s + second, float(second), samples))
    assert store.problem == ""
    store.close()
    return start_s


def test_before_anything_was_remembered(database: Path, capsys: Out) -> None:
    assert main(["history", "energy"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{database}: nothing has been remembered yet" in err


@pytest.mark.usefixtures("start_s")
def test_energy_with_a_price(capsys: Out) -> None:
    assert main(["history", "energy", "--price-per-kwh", "0.5"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[:4] == [
        ["GPU", "KWH", "WATCHED", "COST"],
        ["GPU-1", "0.600", "2.0", "h", "0.30"],
        ["GPU-2", "0.120", "2.0", "h", "0.06"],
        ["total", "0.720", "4.0", "h", "0.36"],
    ]


def test_energy_as_json(start_s: float, capsys: Out) -> None:
    since = datetime.fromtimestamp(start_s + 3600, timezone(timedelta(hours=5))).isoformat()
    assert main(["history", "energy", "--json", "--since", since]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["gpus"]["GPU-1"]["kwh"] == pytest.approx(0.3, rel=1e-3)
    assert document["total"]["measured_s"] == pytest.approx(7200, rel=1e-3)
    assert "cost" not in document["total"]
    assert datetime.fromisoformat(document["since"]).timestamp() == start_s + 3600


def test_export_as_csv_of_all(start_s: float, capsys: Out) -> None:
    assert main(["history", "export", "--since", "90d"]) == 0
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head[:3] == ["time_utc", "gpu", "power_draw_w [W] low"]
    assert "temperature_gpu_c [°C] mean" in head
    assert len(rows) == 2 * 720
    assert datetime.fromisoformat(rows[0][0]).timestamp() == start_s
    assert datetime.fromisoformat(rows[-1][0]).timestamp() == start_s + 7190


def test_export_as_json_of_some(start_s: float, capsys: Out) -> None:
    begin, end = (
        datetime.fromtimestamp(start_s + offset_s).isoformat() for offset_s in (600, 1200)
    )
    arguments = ["--gpu", "GPU-1", "--metric", "temperature_gpu_c", "--since", begin]
    assert main(["history", "export", "--format", "json", *arguments, "--until", end]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["units"] == {"temperature_gpu_c": "°C"}
    assert len(document["readings"]) == 60
    assert {entry["gpu"] for entry in document["readings"]} == {"GPU-1"}


@pytest.mark.usefixtures("start_s")
def test_a_gpu_that_is_not_there_is_told_with_those_that_are(capsys: Out) -> None:
    assert main(["history", "export", "--gpu", "GPU-7"]) == 1
    assert "nothing is remembered of GPU-7; there is GPU-1, GPU-2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["history"],
        ["history", "export", "--since", "yesterday"],
        ["history", "export", "--metric", "power_limit_w"],
        ["history", "energy", "--price-per-kwh", "-1"],
        ["history", "energy", "--price-per-kwh", "nan"],
    ],
)
def test_wrong_usage_is_told(arguments: list[str], capsys: Out) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_time_that_runs_backwards_is_wrong_usage(capsys: Out) -> None:
    assert main(["history", "energy", "--since", "1h", "--until", "2h"]) == 2
    assert "--since must be before --until" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [("export",), ("export", "--format", "json", "--since", "4h"), ("energy", "--json")],
    ids=" ".join,
)
def test_the_service_tells_the_same_as_the_file(
    database: Path,
    start_s: float,
    capsys: Out,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    store = Store(database)
    for number in range(MOST_EVENTS + 9):
        store.add_event(EventRecord(start_s + 3 * number, "GPU-1", "clock", str(number)))
    store.close()
    until = ["--until", datetime.fromtimestamp(start_s + 9000).isoformat()]
    assert main(["history", *command, *until]) == 0
    of_file = capsys.readouterr().out
    methods = Memory(database).methods

    @contextmanager
    def service() -> Iterator[ServiceMemory]:
        yield ServiceMemory(lambda method, params: methods[method](params))

    monkeypatch.setattr(history, "_source", service)
    assert main(["history", *command, *until]) == 0
    of_service = capsys.readouterr().out
    assert of_service == of_file

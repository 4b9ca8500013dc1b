"""The replay backend against clocks, loops and files that nobody should have written."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpupanel.backends.base import ProbeState
from gpupanel.backends.replay import ReplayBackend
from gpupanel.model.errors import BackendError, DriverMissing
from gpupanel.model.gpu import GpuState, Sample, Unavailable
from gpupanel.model.limits import LIMIT_BY_NAME
from gpupanel.model.metrics import METRIC_BY_KEY

GPU: dict[str, Any] = {
    "id": "GPU-1", "name": "Example", "vendor": "NVIDIA", "kind": "gpu", "backend": "nvml",
    "driver_version": "570.1", "pci_bus_id": "00000000:01:00.0", "memory_total_bytes": 1 << 34,
    "limits": {"power_limit_w": 250.0, "future_thing": 3}, "details": {"VBIOS": "94"},
}  # fmt: skip
HEADER: dict[str, Any] = {"format": "gpupanel-recording", "version": 1, "gpus": [GPU]}


def line(time_s: float, power_w: Any = 100.0, gpu_id: str = "GPU-1", **changed: Any) -> Any:
    sample = {
        "id": gpu_id, "state": "active", "state_since_unix_s": None, "limited_by": ["idle"],
        "limited_by_unavailable": None, "limited_s": {}, "metrics": {"power_draw_w": power_w},
        "unavailable": {"fan_speed_percent": "no fan"},
    } | changed  # fmt: skip
    return {"time_unix_s": 1.8e9, "time_monotonic_s": time_s, "gpus": [sample]}


def write(path: Path, *documents: Any) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


class Clock:
    def __init__(self) -> None:
        self.now_s = 7000.0

    def __call__(self) -> float:
        return self.now_s


def opened(path: Path) -> tuple[ReplayBackend, Clock]:
    clock = Clock()
    backend = ReplayBackend(path, clock)
    assert backend.probe().state is ProbeState.OK
    return backend, clock


def test_it_plays_at_the_pace_of_the_recording_and_begins_again(tmp_path: Path) -> None:
    times_s = (500.0, 501.0, 503.0, 504.0)
    lines = [line(time_s, power_w=n) for n, time_s in enumerate(times_s)]
    backend, clock = opened(write(tmp_path / "a", HEADER, *lines))
    played = []
    for second in range(12):
        clock.now_s = 7000.0 + second
        played.append(backend.sample("GPU-1").readings["power_draw_w"])
    assert played == [0, 1, 1, 2, 3, 0, 1, 1, 2, 3, 0, 1]


def test_gpus_keep_their_ids_and_say_who_plays_them(tmp_path: Path) -> None:
    backend, _ = opened(write(tmp_path / "a", HEADER, line(1.0)))
    (gpu,) = backend.gpus()
    assert (gpu.id, gpu.backend, gpu.driver_version) == ("GPU-1", "replay", "570.1")
    assert gpu.limits == {"power_limit_w": 250.0}
    assert backend.processes() == ()
    backend.close()
    assert backend.gpus() == ()
    with pytest.raises(BackendError, match="not open"):
        backend.sample("GPU-1")
    assert backend.probe().state is ProbeState.OK
    assert backend.gpus() == (gpu,)


def test_a_sample_is_complete_and_plausible(tmp_path: Path) -> None:
    changed: dict[str, Any] = {
        "state": "lost",
        "limited_by": ["thermal", "invented"],
        "limited_s": {"thermal": 2, "invented": 3},
    }
    backend, _ = opened(write(tmp_path / "a", HEADER, line(1.0, power_w=1e9, **changed)))
    sample = backend.sample("GPU-1")
    assert set(sample.readings) == set(METRIC_BY_KEY)
    assert sample.readings["power_draw_w"] == Unavailable("implausible: 1e+09 W")
    assert sample.readings["fan_speed_percent"] == Unavailable("no fan")
    assert sample.readings["voltage_mv"] == Unavailable("not in the recording")
    assert (sample.state, sample.limited_by) == (GpuState.LOST, ("thermal", "other"))
    assert sample.limited_s == {"thermal": 2}


def test_a_gpu_that_was_away_is_an_error_of_that_time_only(tmp_path: Path) -> None:
    away = line(2.0, gpu_id="GPU-2")
    backend, clock = opened(write(tmp_path / "a", HEADER, line(1.0), away, line(3.0)))
    assert backend.sample("GPU-1").readings["power_draw_w"] == 100
    clock.now_s += 1
    with pytest.raises(BackendError, match="GPU-1 was not there"):
        backend.sample("GPU-1")
    clock.now_s += 1
    assert backend.sample("GPU-1").readings["power_draw_w"] == 100


def test_a_recording_that_was_cut_off_plays_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a", HEADER, line(1.0), line(2.0))
    path.write_bytes(path.read_bytes()[:-20])
    result = ReplayBackend(path).probe()
    assert result.state is ProbeState.OK
    assert result.reason == f"{path}:3: the last line is not complete; left out"


def test_a_file_that_changes_while_it_plays_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a", HEADER, line(1.0), line(2.0))
    backend, _ = opened(path)
    path.write_text("gone\n")
    with pytest.raises(BackendError, match=r"a:2: not a recording"):
        backend.sample("GPU-1")
    path.unlink()
    with pytest.raises(BackendError, match="No such file"):
        backend.sample("GPU-1")


def test_no_file_is_a_missing_driver(tmp_path: Path) -> None:
    with pytest.raises(DriverMissing, match="there is no such recording"):
        ReplayBackend(tmp_path / "none").probe()
    with pytest.raises(BackendError, match="directory"):
        ReplayBackend(tmp_path).probe()


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ([], "a:1: not a recording"),
        ([[]], "a:1: not a recording"),
        ([HEADER | {"format": "other"}, line(1.0)], "a:1: .*the format is 'other'"),
        ([HEADER | {"version": 2}, line(1.0)], "a:1: .*version 2"),
        ([HEADER | {"gpus": [GPU, GPU]}, line(1.0)], "a:1: .*listed twice"),
        ([HEADER | {"gpus": [GPU | {"id": 5}]}, line(1.0)], "a:1: .*id must be text"),
        ([HEADER | {"gpus": [{}]}, line(1.0)], "a:1: .*'id' is missing"),
        ([HEADER], "a:2: the recording has no snapshot"),
        ([HEADER, line(2.0), line(2.0)], "a:3: time does not go on"),
        ([HEADER, line(1.0), {"time_unix_s": 1}], "a:3: .*is missing"),
        ([HEADER, line(1.0, power_w="much")], "a:2: .*'much' is not a number"),
        ([HEADER, line(1.0, power_w=True)], "a:2: .*'True' is not a number"),
        ([HEADER, line(1.0, power_w=10**400)], "a:2: .*is not a number"),
        ([HEADER, line(1.0, state="odd")], "a:2: .*odd"),
        ([HEADER, line(1.0, limited_by=[[]])], "a:2: "),
        ([HEADER, line(float("nan"))], "a:2: .*time_monotonic_s must be a number"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, documents: list[Any], why: str
) -> None:
    backend = ReplayBackend(write(tmp_path / "a", *documents))
    with pytest.raises(BackendError, match=why):
        backend.probe()
    assert backend.gpus() == ()


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    nested,
    max_leaves=8,
)


def assert_honest(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a")
        path.write_bytes(raw)
        backend = ReplayBackend(path, lambda: 0.0)
        try:
            backend.probe()
            samples: list[Sample] = [backend.sample(gpu.id) for gpu in backend.gpus()]
        except BackendError:
            return
    for sample in samples:
        assert set(sample.readings) == set(METRIC_BY_KEY)
        for key, reading in sample.readings.items():
            if isinstance(reading, Unavailable):
                assert isinstance(reading.reason, str)
            else:
                assert METRIC_BY_KEY[key].low <= reading <= METRIC_BY_KEY[key].high
        if not isinstance(sample.limited_by, Unavailable):
            assert set(sample.limited_by) <= set(LIMIT_BY_NAME)
        assert Sample.from_json(json.loads(json.dumps(sample.as_json()))) == sample


@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@settings(deadline=None)
def test_no_bytes_are_more_than_a_refusal(raw: bytes) -> None:
    assert_honest(raw)
    assert_honest(json.dumps(HEADER).encode() + b"\n" + raw + b"\n")


@given(
    st.sampled_from([*GPU, "-"]),
    st.sampled_from([*line(1.0)["gpus"][0], "-"]),
    st.sampled_from([*line(1.0), "-"]),
    json_values,
)
@settings(max_examples=300, deadline=None)
def test_no_field_of_a_wrong_kind_gets_through(
    of_gpu: str, of_sample: str, of_snapshot: str, wrong: Any
) -> None:
    good = line(1.0)
    for header, snapshot in (
        (HEADER | {"gpus": [GPU | {of_gpu: wrong}]}, good),
        (HEADER, good | {"gpus": [good["gpus"][0] | {of_sample: wrong}]}),
        (HEADER, good | {of_snapshot: wrong}),
    ):
        assert_honest(f"{json.dumps(header)}\n{json.dumps(snapshot)}\n".encode())

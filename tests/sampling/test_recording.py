"""What is recorded is what is played, whatever it was."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupanel.backends.replay import ReplayBackend
from gpupanel.model.gpu import GpuInfo, GpuKind, GpuState, Reading, Sample, Snapshot, Unavailable
from gpupanel.model.limits import LIMITS
from gpupanel.model.metrics import METRICS
from gpupanel.sampling.recording import RecordingWriter

GPU = GpuInfo(
    "GPU-1", "Example 4000 – 16 GiB", "NVIDIA", GpuKind.GPU, "nvml", "570.1", "00000000:01:00.0",
    16 << 30, {"power_limit_w": 250.0}, {"VBIOS": "94.02"},
)  # fmt: skip

reasons = st.text(min_size=1, max_size=20).map(Unavailable)
limits = st.sampled_from([limit.name for limit in LIMITS])
samples = st.builds(
    Sample,
    gpu_id=st.just(GPU.id),
    readings=st.fixed_dictionaries(
        {metric.key: reasons | st.floats(metric.low, metric.high) for metric in METRICS}
    ),
    state=st.sampled_from(GpuState),
    state_since_unix_s=st.none() | st.floats(0, 2e9),
    limited_by=reasons | st.lists(limits, unique=True).map(tuple),
    limited_s=st.dictionaries(limits, st.floats(0, 1e9)),
)


@given(st.lists(st.tuples(st.floats(0.1, 10), samples), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_a_recording_plays_as_it_was(drawn: list[tuple[float, Sample]]) -> None:
    now_s = 1000.0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a.jsonl")
        times_s = []
        with RecordingWriter(path, [GPU]) as recording:
            for step_s, sample in drawn:
                now_s += step_s
                times_s.append(now_s)
                recording.append(Snapshot(1.8e9 + now_s, now_s, (sample,)))
        clock = [50.0]
        backend = ReplayBackend(path, lambda: clock[0])
        assert backend.probe().reason == ""
        for time_s, (_, sample) in zip(times_s, drawn, strict=True):
            clock[0] = 50.0 + time_s - times_s[0] + 1e-6
            assert backend.sample(GPU.id) == sample


def test_a_file_that_is_there_stays_unless_it_is_to_be_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="--force overwrites it"):
        RecordingWriter(path, [GPU])
    assert path.read_text() == "precious"
    RecordingWriter(path, [GPU], overwrite=True).close()
    assert json.loads(path.read_text())["format"] == "gpupanel-recording"


def test_every_snapshot_is_in_the_file_at_once(tmp_path: Path) -> None:
    reading: Reading = 1.0
    with RecordingWriter(tmp_path / "a.jsonl", [GPU]) as recording:
        for n in range(3):
            recording.append(Snapshot(0.0, float(n), (Sample("GPU-1", {"power_draw_w": reading}),)))
            assert len((tmp_path / "a.jsonl").read_text().splitlines()) == n + 2

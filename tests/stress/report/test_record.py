"""A record survives its file, and a file that is no record is refused with the reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.errors import RecordError
from gpupanel.model.gpu import Sample, Unavailable
from gpupanel.model.workload import Failed, Run
from gpupanel.stress.report.record import Recorder, RunRecord, read_record
from tests.stress.report.builders import gpu, record, started

FAILED = Failed("mining.ethash", "GPU-1", "BuildFailed", "no compiler")


@pytest.mark.parametrize("last", [None, FAILED])
def test_what_is_written_is_read(last: Failed | None) -> None:
    original = record(last)
    assert read_record(json.dumps(original.as_json())) == original


def test_work_per_joule_is_work_over_energy_and_unknown_without_a_sensor() -> None:
    assert record().work_per_j == pytest.approx(45e6 * 70 / 14_000)
    assert record(FAILED).work_per_j is None


def test_only_the_measured_part_is_traced_and_only_what_was_known() -> None:
    recorder = Recorder(Run("mining.ethash", "GPU-1", 70.0), gpu(), 0.0)
    sample = Sample("GPU-1", {"power_draw_w": 200.0, "temperature_gpu_c": Unavailable("asleep")})
    recorder.sample(sample, 1.0)
    recorder.event(started(), 2.0, 0.0)
    recorder.sample(sample, 3.0)
    recorder.event(FAILED, 4.0, 0.0)
    recorder.sample(sample, 5.0)
    (point,) = recorder.record().trace
    assert point.seconds == 1.0
    assert point.readings == {"power_draw_w": 200.0}
    assert point.limited_by == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not a record"),
        ('{"format": "other"}', "not a record"),
        ('{"format": "gpupanel.run", "version": 2}', "update gpupanel"),
        ('{"format": "gpupanel.run", "version": 1}', "damaged"),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        read_record(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(key=st.sampled_from(sorted(record().as_json())), value=JSON)
def test_a_record_with_any_part_replaced_is_read_or_refused(key: str, value: object) -> None:
    document = {**record().as_json(), key: value}
    assert read_or_reason(json.dumps(document))


def read_or_reason(text: str) -> RunRecord | str:
    try:
        return read_record(text)
    except RecordError as error:
        return str(error)

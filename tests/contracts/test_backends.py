"""What every backend in BACKENDS owes to its callers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import pytest

from gpupanel.backends.amdgpu import AmdgpuBackend
from gpupanel.backends.base import Backend, ProbeState, checked, unavailable_sample
from gpupanel.backends.intel import IntelBackend
from gpupanel.backends.nvml import NvmlBackend
from gpupanel.backends.registry import BACKENDS, backends_here, open_backends
from gpupanel.model.gpu import CPU_ID, GpuInfo, Sample, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY, METRICS, Metric
from tests.backends import fake_windows, nvml_double


@pytest.fixture(params=BACKENDS)
def backend(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    recorded_card: Callable[[str], Path],
    sysfs_of: Callable[..., Path],
) -> Backend:
    """Each backend, opened: on this machine's parts, or on the double of what it lacks."""
    nvml_double.install(monkeypatch)
    fake_windows.install(monkeypatch, fake_windows.FakeWindows())
    recorded: Mapping[str, Callable[[], Backend]] = {
        "amdgpu": lambda: AmdgpuBackend(sysfs_of(recorded_card("amd-rx6900xt"))),
        "intel": lambda: IntelBackend(sysfs_of(recorded_card("intel-b580"))),
    }
    module, _, cls = str(request.param).partition(":")
    default: Callable[[], Backend] = getattr(import_module(module), cls)
    make = recorded.get(module.rpartition(".")[2], default)
    made = make()
    assert made.probe().state is ProbeState.OK
    return made


def test_its_name_is_that_of_its_module(backend: Backend) -> None:
    assert type(backend).__module__ == f"gpupanel.backends.{backend.name}"


def test_its_gpus_are_complete_and_survive_json(backend: Backend) -> None:
    gpus = backend.gpus()
    assert gpus
    assert len({gpu.id for gpu in gpus}) == len(gpus)
    for gpu in gpus:
        assert gpu.backend == backend.name
        assert gpu.name
        assert gpu.vendor
        assert set(gpu.limits) <= set(METRIC_BY_KEY)
        assert all(gpu.limits.values())
        assert GpuInfo.from_json(json.loads(json.dumps(gpu.as_json()))) == gpu


def test_a_sample_has_every_metric_as_a_plausible_number_or_a_reason(backend: Backend) -> None:
    for gpu in backend.gpus():
        sample = backend.sample(gpu.id)
        assert sample.gpu_id == gpu.id
        assert set(sample.readings) == set(METRIC_BY_KEY)
        for key, reading in sample.readings.items():
            if isinstance(reading, Unavailable):
                assert reading.reason
            else:
                assert METRIC_BY_KEY[key].low <= reading <= METRIC_BY_KEY[key].high
        assert Sample.from_json(json.loads(json.dumps(sample.as_json()))) == sample


def test_it_reports_no_metric_that_the_table_does_not_know_it_for(backend: Backend) -> None:
    for gpu in backend.gpus():
        readings = backend.sample(gpu.id).readings
        reported = {key for key, value in readings.items() if not isinstance(value, Unavailable)}
        assert reported <= {metric.key for metric in METRICS if backend.name in metric.sources}


def test_a_whole_nvidia_card_reports_all_that_the_table_promises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvml_double.install(monkeypatch, 1)
    backend = NvmlBackend()
    backend.probe()
    promised = {metric.key for metric in METRICS if "nvml" in metric.sources}
    backend.sample(nvml_double.gpu_id(0))
    assert set(backend.sample(nvml_double.gpu_id(0)).as_json()["metrics"]) == promised


def test_after_close_it_lists_nothing_and_opens_again(backend: Backend) -> None:
    before = backend.gpus()
    backend.close()
    assert backend.gpus() == ()
    assert backend.probe().state is ProbeState.OK
    assert [gpu.id for gpu in backend.gpus()] == [gpu.id for gpu in before]
    backend.close()


def test_the_processor_is_there_on_every_machine() -> None:
    opened = open_backends()
    assert CPU_ID in [gpu.id for backend in opened.backends for gpu in backend.gpus()]
    modules = [name.partition(":")[0] for name in backends_here()]
    assert [f"gpupanel.backends.{result.name}" for result in opened.results] == modules
    for result in opened.results:
        assert result.reason or result.state is ProbeState.OK
    for backend in opened.backends:
        backend.close()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.key)
def test_the_bounds_of_the_table_are_kept(metric: Metric) -> None:
    assert checked(metric.key, metric.low) == metric.low
    assert checked(metric.key, metric.high) == metric.high
    for wrong in (metric.low - 1, metric.high * 1.01, float("nan"), float("inf")):
        refused = checked(metric.key, wrong)
        assert isinstance(refused, Unavailable)
        assert refused.reason.startswith("implausible: ")
        assert refused.reason.endswith(metric.unit)


def test_a_sample_without_a_number_names_the_reason_for_each_metric() -> None:
    sample = unavailable_sample("GPU-1", "asleep")
    assert sample.as_json()["unavailable"] == dict.fromkeys(METRIC_BY_KEY, "asleep")

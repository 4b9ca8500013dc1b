"""METRICS is well-formed: every reader of the table relies on this and checks nothing."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from gpupanel.backends.registry import BACKENDS
from gpupanel.model.metrics import METRIC_BY_KEY, METRICS, Metric

SUFFIXES_BY_UNIT: dict[str, tuple[str, ...]] = {
    "%": ("_percent",),
    "W": ("_w",),
    "°C": ("_c",),
    "MHz": ("_mhz",),
    "B": ("_bytes",),
    "B/s": ("_bytes_per_s",),
    "J": ("_j",),
    "mV": ("_mv",),
    "rpm": ("_rpm",),
    "": ("_count", "_state", "_generation", "_width"),
}


def test_keys_and_labels_are_unique() -> None:
    for values in ([m.key for m in METRICS], [m.label for m in METRICS]):
        assert [value for value, count in Counter(values).items() if count > 1] == []
    assert list(METRIC_BY_KEY) == [metric.key for metric in METRICS]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.key)
class TestRow:
    def test_the_key_ends_in_its_unit(self, metric: Metric) -> None:
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", metric.key)
        assert metric.key.endswith(SUFFIXES_BY_UNIT[metric.unit])

    def test_the_bounds_are_bounds(self, metric: Metric) -> None:
        assert metric.low < metric.high < float("inf")

    def test_a_person_can_read_it(self, metric: Metric) -> None:
        assert metric.label[:1].isupper()
        assert not metric.label.endswith(".")
        assert metric.help[:1].isupper()
        assert metric.help.endswith(".")

    def test_it_comes_from_somewhere_that_exists(self, metric: Metric) -> None:
        backends = {name.partition(":")[0].rpartition(".")[2] for name in BACKENDS}
        assert metric.sources
        assert set(metric.sources) <= backends
        assert all(metric.sources.values())

"""The page stands alone, says what the record says, and trusts no name."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

import pytest

from gpupanel.model.workload import Failed
from gpupanel.stress.report.page import as_csv, as_html
from gpupanel.stress.report.published import published_for
from tests.stress.report.builders import finished, record

VOID = {"meta"}


class Structure(HTMLParser):
    """Counts what must balance and collects what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.titles: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in VOID and (tag, "/") not in attrs:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h3":
            self.titles.append(data)


def structure(html: str) -> Structure:
    parsed = Structure()
    parsed.feed(html)
    assert parsed.open == []
    return parsed


def test_the_page_is_whole_and_loads_nothing() -> None:
    parsed = structure(as_html(record()))
    assert parsed.loads == []
    assert parsed.scripts == 0
    assert parsed.titles == [
        "Rate", "Beside the limit", "Roofline", "Power", "Temperature", "Work per joule",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["45 MH/s", "90 %", "50.0 % of uncapped", "140, 0 wrong", "225 kH/J", "Passed", "a note",
     "98 MH/s", "40 MH/s", "Power limit 50 % of the time", "Memory, random 128 B"],
)  # fmt: skip
def test_the_page_says_what_was_measured(text: str) -> None:
    assert text in as_html(record())


def test_a_failed_run_has_a_page_too() -> None:
    html = as_html(record(Failed("mining.ethash", "GPU-1", "BuildFailed", "no <compiler>")))
    structure(html)
    assert "no &lt;compiler&gt;" in html
    assert "Failed" in html


def test_names_cannot_become_markup() -> None:
    html = as_html(record(finished(faults=("<b>x",), errors=1), name="<script>alert(1)</script>"))
    assert structure(html).scripts == 0
    assert "<b>x" not in html


def test_the_table_has_a_row_per_report_and_empty_cells_for_what_is_unknown() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(record()))))
    assert len(rows) == 70
    assert float(rows[9]["seconds"]) == 10
    assert float(rows[9]["work_per_s"]) == 45e6
    assert float(rows[9]["power_draw_w"]) == 200
    assert rows[9]["clock_memory_mhz"] == ""


@pytest.mark.parametrize(
    ("name", "workload", "rate", "limited"),
    [
        ("NVIDIA GeForce RTX 3080", "mining.ethash", 98e6, 40e6),
        ("NVIDIA GeForce RTX 3080", "mining.kawpow", 49e6, None),
        ("AMD Radeon RX 6900 XT (radeonsi, navi21)", "mining.ethash", 63e6, None),
        ("NVIDIA GeForce RTX 4090", "ai.gemm", None, None),
    ],
)
def test_published_rates_are_found_by_the_drivers_name(
    name: str, workload: str, rate: float | None, limited: float | None
) -> None:
    found = published_for(name, workload)
    assert found is not None
    assert (found.hash_per_s, found.lhr_hash_per_s) == (rate, limited)


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 3080 Laptop GPU", "AMD EPYC", ""])
def test_another_card_is_not_taken_for_it(name: str) -> None:
    assert published_for(name, "mining.ethash") is None

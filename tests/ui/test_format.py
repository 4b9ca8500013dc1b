from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QLocale

from gpupanel.ui import format as fmt

EN = QLocale(QLocale.Language.English)
DE = QLocale(QLocale.Language.German, QLocale.Country.Germany)
PREFIX = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


def plain(text: str) -> str:
    return text.replace(fmt.NARROW_SPACE, " ").replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (87.4, "%", "87 %"),
        (99.94, "W", "99.9 W"),
        (312.4, "W", "312 W"),
        (64.0, "°C", "64 °C"),
        (-0.2, "°C", "0 °C"),
        (2520.0, "MHz", "2 520 MHz"),
        (18.2 * 2**30, "B", "18.2 GiB"),
        (99.96 * 2**30, "B", "100 GiB"),
        (143_771 * 2**20, "B", "140 GiB"),
    ],
)
def test_metric(value: float, unit: str, text: str) -> None:
    assert plain(str(fmt.metric(value, unit, EN))) == text


@pytest.mark.parametrize(
    ("per_s", "unit", "text"),
    [
        (19.87e6, "hash", "19.9 MH/s"),
        (999.96e3, "hash", "1.00 MH/s"),
        (0.0, "hash", "0.00 H/s"),
        (61.23e12, "flop", "61.2 TFLOP/s"),
        (143.4, "frame", "143 fps"),
        (0.31, "frame", "0.31 fps"),
        (12345.0, "frame", "12 345 fps"),
        (5.0, "token", "5.00 tok/s"),
    ],
)
def test_rate(per_s: float, unit: str, text: str) -> None:
    assert plain(str(fmt.rate(per_s, unit, EN))) == text


def test_decimal_sign_is_the_locales_and_grouping_is_not() -> None:
    assert str(fmt.memory(1.5 * 2**30, DE)) == "1,5\u00a0GiB"
    assert fmt.number(1234567.0, 0, DE) == fmt.number(1234567.0, 0, EN) == "1\u202f234\u202f567"


@given(st.floats(1e-2, 9e20))
def test_rate_reads_back_within_half_a_digit(per_s: float) -> None:
    number, unit = fmt.rate(per_s, "hash", EN)
    shown = float(number.replace(fmt.NARROW_SPACE, "")) * PREFIX[unit.removesuffix("H/s")]
    assert shown == pytest.approx(per_s, rel=5.1e-3, abs=5.1e-3)


@given(st.floats(1, 999e18))
def test_rate_never_shows_four_digits_before_the_prefix_runs_out(per_s: float) -> None:
    number, _ = fmt.rate(per_s, "hash", EN)
    assert re.fullmatch(r"\d\.\d\d|\d\d\.\d|\d\d\d", number)


@given(st.floats(-1e12, 1e12), st.integers(0, 3))
def test_number_never_shows_minus_zero_and_groups_by_three(value: float, decimals: int) -> None:
    text = fmt.number(value, decimals, EN)
    assert float(text.replace(fmt.NARROW_SPACE, "")) == pytest.approx(value, abs=10**-decimals)
    assert not re.fullmatch(r"-[0.]+", text)
    whole = text.lstrip("-").partition(".")[0]
    assert re.fullmatch(rf"\d{{1,3}}({fmt.NARROW_SPACE}\d{{3}})*", whole)


@given(st.integers(0, 10**6))
def test_duration_reads_back(seconds: int) -> None:
    parts = [int(part) for part in fmt.duration(seconds + 0.9).split(":")]
    assert sum(part * 60**power for power, part in enumerate(reversed(parts))) == seconds


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("00000000:01:00.0", "0000:01:00.0"),
        ("00010000:01:00.0", "00010000:01:00.0"),
        ("0000:65:00.0", "0000:65:00.0"),
    ],
)
def test_pci_bus_id(address: str, text: str) -> None:
    assert fmt.pci_bus_id(address) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mining is off", "Mining is off."),
        ("mining.x = 5, done", "mining.x = 5, done."),
        ("Really?", "Really?"),
        ("", "."),
    ],
)
def test_sentence(text: str, shown: str) -> None:
    assert fmt.sentence(text) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (42, "42 s"), (60, "1 min"), (90, "1.5 min"), (3600, "1 h"), (86400, "24 h"),
     (7776000, "90 d"), (77777, "22 h")],
)  # fmt: skip
def test_spans_are_told_in_the_largest_unit(seconds: float, text: str) -> None:
    assert plain(fmt.span(seconds, EN)) == text


@pytest.mark.parametrize(
    ("span_s", "text"),
    [(3600, "14:02:30"), (86400, "Tue 14:02:30"), (7 * 86400, "Tue 14 Jul 14:02")],
)
def test_moments_are_as_short_as_is_clear(span_s: float, text: str) -> None:
    import datetime

    moment = datetime.datetime(2026, 7, 14, 14, 2, 30).timestamp()
    assert fmt.moment(moment, span_s, EN) == text


@pytest.mark.parametrize(
    ("kwh", "text"), [(0.0, "0.000 kWh"), (0.4627, "0.463 kWh"), (12.345, "12.35 kWh")]
)
def test_energy_as_on_a_bill(kwh: float, text: str) -> None:
    assert plain(str(fmt.kilowatt_hours(kwh, EN))) == text


def test_money_is_in_the_words_of_the_user() -> None:
    assert plain(fmt.money(1234.5, "EUR", DE)) == "1 234,50 EUR"
    assert plain(fmt.money(0.004, "", EN)) == "0.00"


def test_bytes_per_second_have_prefixes() -> None:
    assert plain(str(fmt.metric(2.34e9, "B/s", EN))) == "2.34 GB/s"


def test_memory_of_a_process_is_told_in_mib_below_one_gib() -> None:
    assert plain(str(fmt.memory_of_process(310 * 2**20, EN))) == "310 MiB"
    assert plain(str(fmt.memory_of_process(18.4 * 2**30, EN))) == "18.4 GiB"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (1e-9, "< 0.1 %"),
        (0.003, "0.3 %"),
        (0.5, "50 %"),
        (0.9899, "99 %"),
        (0.9989999, "99.8 %"),
        (0.999, "99.9 %"),
        (0.9996, "> 99.9 %"),
        (1 - 1e-12, "> 99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_only_what_is_certain_is_a_hundred_percent(value: float, text: str) -> None:
    assert fmt.probability(value, QLocale.c()).replace("\u00a0", " ") == text

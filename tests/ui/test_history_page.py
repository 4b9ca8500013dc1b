"""The History page as a user meets it: charts with gaps, events, shares, energy, a file."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAccessible
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFileDialog

from gpupanel.ui import past as past_module
from gpupanel.ui import theme
from gpupanel.ui.link import LinkState
from gpupanel.ui.past import Tariff
from gpupanel.ui.theme import ThemeChoice, Tone
from gpupanel.ui.widgets.past.chart import PastChart, scale_of
from gpupanel.ui.widgets.past.lane import EventLane
from tests.ui.past_agent import GPU_ID, POWER, TEMPERATURE
from tests.ui.test_window import cut, nameless, spoken

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

EVENTS = (
    (2690.0, GPU_ID, "asleep", f"{GPU_ID} fell asleep"),
    (1000.0, GPU_ID, "awake", f"{GPU_ID} woke up"),
    (600.0, GPU_ID, "xid", "Xid 79: the GPU fell off the bus"),
    (500.0, None, "policy", "the policy was read anew: managed"),
    (400.0, "GPU-other", "xid", "Xid 13 of another card"),
)


def account(watched_s: float, *held: tuple[str, str, float]) -> dict[str, Any]:
    names = ("limit", "set_by", "share")
    entries = [dict(zip(names, one, strict=True)) for one in held]
    return {"watched_s": watched_s, "held": entries}


LIMITS = {
    GPU_ID: {
        "minute": account(42.0, ("power_cap", "lowered from 450 W", 1.0)),
        "hour": account(3600.0, ("power_cap", "lowered from 450 W", 0.41), ("thermal", "", 0.003)),
        "day": account(40000.0, ("idle", "", 0.6), ("power_cap", "lowered from 450 W", 0.12)),
    }
}

Open = Callable[..., Any]


@pytest.fixture
def opened(bench: Any) -> Open:
    """Feed a GPU, open the page, and have the agent answer."""

    def go(**changes: Any) -> Any:
        for name, value in ({"events": EVENTS, "limits": LIMITS} | changes).items():
            setattr(bench.agent, name, value)
        bench.feed([bench.gpu()])
        bench.window.open_named("history")
        bench.agent.answer()
        QApplication.processEvents()
        bench.agent.answer()
        return bench.window.page

    return go


def charts(page: Any) -> list[PastChart]:
    found: list[PastChart] = page.charts.findChildren(PastChart)
    return found


def described(widget: Any) -> str:
    interface = QAccessible.queryAccessibleInterface(widget)
    return interface.text(QAccessible.Text.Description).replace("\u00a0", " ")


@pytest.mark.parametrize("size", [(1180, 760), (1024, 680)])
@pytest.mark.parametrize("choice", [ThemeChoice.LIGHT, ThemeChoice.DARK])
def test_the_full_page_cuts_nothing(
    bench: Any, opened: Open, size: tuple[int, int], choice: ThemeChoice, qapp: QApplication
) -> None:
    theme.apply(qapp, choice)
    bench.window.resize(*size)
    opened(energy={"joules": 3.6e6, "measured_s": 3000.0})
    for _ in range(3):
        qapp.processEvents()
    assert (nameless(bench.window), cut(bench.window)) == ([], [])


def test_each_chart_tells_its_numbers_and_its_scale(opened: Open) -> None:
    page = opened()
    power, temperature = charts(page)
    assert described(power) == "mean 120 W, 100 W to 140 W; scale to 500 W; limit now 450 W"
    assert described(temperature) == "mean 120 °C, 100 °C to 140 °C; scale to 150 °C"
    assert "a point per 10 s" in spoken(page)


@pytest.mark.parametrize(
    ("highest", "whole", "unit", "expected"),
    [
        (73, None, "°C", (75, 25)),
        (99, 100, "%", (100, 25)),
        (120, 100, "%", (125, 25)),
        (450, None, "W", (500, 250)),
        (380, None, "W", (400, 200)),
        (3 * 2**30, None, "B", (3 * 2**30, 2**30)),
        (0, None, "MHz", (1, 1)),
    ],
)
def test_scales_are_round_and_hold_the_greatest(
    highest: float, whole: float | None, unit: str, expected: tuple[float, float]
) -> None:
    assert scale_of(highest, whole, unit) == expected


def test_a_gap_is_drawn_grey_and_never_bridged(bench: Any, opened: Open) -> None:
    page = opened(events=())
    chart = charts(page)[0]
    image = chart.grab().toImage()
    accent = theme.colour(chart.palette(), Tone.ACCENT)
    surface = theme.colour(chart.palette(), Tone.SURFACE)

    def has(colour: Any, share: float) -> bool:
        x = round(68 + share * (chart.width() - 80))
        pixels = [image.pixelColor(x, y) for y in range(30, chart.height() - 8)]
        return any(pixel == colour for pixel in pixels)

    def blue(share: float) -> bool:
        x = round(68 + share * (chart.width() - 80))
        pixels = [image.pixelColor(x, y) for y in range(30, chart.height() - 8)]
        return any(abs(p.hue() - accent.hue()) < 12 and p.saturation() > 30 for p in pixels)

    assert [blue(share) for share in (0.1, 0.4, 0.6, 0.9)] == [True, False, False, True]
    assert [has(surface, share) for share in (0.1, 0.4)] == [True, False]


def test_the_cursor_tells_value_or_reason_on_every_chart(opened: Open) -> None:
    page = opened(events=())
    power, temperature = charts(page)
    power.setFocus()
    QTest.keyClick(power, Qt.Key.Key_End)
    assert "mean 120 W, 100 W to 140 W" in described(power)
    assert "mean 120 °C" in described(temperature)
    until_s = page.store.past.look.until_s
    page.charts.set_cursor(until_s - 1800)
    assert "not known: nobody watched" in described(power)
    QTest.keyClick(power, Qt.Key.Key_Escape)
    assert described(power).startswith("mean")


def test_a_gap_says_that_the_gpu_slept_or_did_not_tell(bench: Any, opened: Open) -> None:
    page = opened()
    until_s = page.store.past.look.until_s
    page.charts.set_cursor(until_s - 2000)
    power = charts(page)[0]
    assert "not known: the GPU slept since" in described(power)
    bench.agent.events = ()
    bench.agent.points = lambda params: (
        [] if params["metric"] == POWER else [(params["until_unix_s"] - 1800, 1.0, 1.0, 1.0)]
    )
    page.span.choose(86400.0)
    bench.agent.answer()
    page.charts.set_cursor(page.store.past.look.until_s - 1795)
    assert "the device did not tell it" in described(charts(page)[0])


def test_mouse_moves_the_cursor_and_leaving_takes_it_away(opened: Open) -> None:
    page = opened(events=())
    power, temperature = charts(page)
    QTest.mouseMove(power, QPoint(power.width() - 40, 60))
    assert "mean 120 °C, 100 °C to 140 °C" in described(temperature)
    assert described(temperature)[:2].isdigit()
    page.charts.set_cursor(None)
    assert described(temperature).startswith("mean")


def test_events_of_this_gpu_and_the_machine_are_listed_the_newest_first(opened: Open) -> None:
    page = opened()
    model = page.events.table.model()
    kinds = [model.index(row, 1).data() for row in range(model.rowCount())]
    assert kinds == ["Policy", "Driver error (Xid)", "Woke up", "Fell asleep"]
    told = spoken(page)
    assert "Xid 79: the GPU fell off the bus." in told
    assert model.index(3, 2).data() == "NVIDIA GeForce RTX 4090 fell asleep."
    assert "another card" not in told


def test_events_can_be_filtered_by_kind_and_words(opened: Open) -> None:
    page = opened()
    model = page.events.table.model()
    page.events.kind.setCurrentIndex(page.events.kind.findData("xid"))
    assert [model.index(row, 2).data() for row in range(model.rowCount())] == [
        "Xid 79: the GPU fell off the bus."
    ]
    assert "1 of 4" in spoken(page.events)
    page.events.kind.setCurrentIndex(0)
    QTest.keyClicks(page.events.search, "WOKE 4090")
    assert model.rowCount() == 1
    page.events.search.setText("nothing like it")
    assert model.rowCount() == 0
    assert "No event matches." in spoken(page.events)


def test_event_and_time_axis_lead_to_each_other(opened: Open) -> None:
    page = opened()
    (lane,) = page.findChildren(EventLane)
    assert "4 events; the last:" in described(lane)
    lane.setFocus()
    QTest.keyClick(lane, Qt.Key.Key_Left)
    QTest.keyClick(lane, Qt.Key.Key_Left)
    assert "Xid 79" in described(lane)
    assert page.events.table.currentIndex().siblingAtColumn(1).data() == "Driver error (Xid)"
    assert "mean 120 W" in described(charts(page)[0])
    page.events.table.selectRow(3)
    assert "slept" in described(charts(page)[0])


def test_events_that_were_left_off_are_told(opened: Open) -> None:
    page = opened(complete=False)
    assert "the newest; older ones are left off" in spoken(page.events)


def test_the_ledger_tells_shares_with_who_set_the_limit(opened: Open) -> None:
    page = opened()
    told = spoken(page.ledger)
    assert "Power limit (lowered from 450 W) held the clocks down for 41 % of the time" in told
    assert "42 s seen" in told
    assert "seen whole" in told
    numbers = {
        words: number.text().replace("\u00a0", " ")
        for share in page.ledger._shares.values()
        for number in [share.number]
        for words in [described(number)]
    }
    assert numbers["Last minute: Power limit (lowered from 450 W)"] == "100 %"
    assert numbers["Last hour: Temperature"] == "< 1 %"
    assert numbers["Last day: Idle"] == "60 %"
    assert numbers["Last minute: Idle"] == "0 %"


def test_a_device_without_reasons_says_so(opened: Open) -> None:
    page = opened(limits={GPU_ID: {name: account(0.0) for name in ("minute", "hour", "day")}})
    assert "does not tell what limits its clocks." in spoken(page.ledger)


def test_energy_and_its_cost_at_the_price_of_the_user(bench: Any, opened: Open) -> None:
    page = opened(energy={"joules": 9.0e6, "measured_s": 7200.0})
    assert "2.50 kWh" in spoken(page.energy)
    assert "the power was known for 2 h" in spoken(page.energy)
    told: list[Tariff] = []
    bench.store.past.tariff_chosen.connect(told.append)
    page.energy._price.setFocus()
    page.energy._price.setValue(0.4)
    page.energy._currency.setText("EUR")
    page.energy._currency.editingFinished.emit()
    assert told[-1] == Tariff(0.4, "EUR")
    assert "1.00 EUR" in spoken(page.energy)


def test_a_known_price_fills_the_fields_and_is_not_told_back(bench: Any, opened: Open) -> None:
    told: list[Tariff] = []
    bench.store.past.tariff = Tariff(0.25, "CHF")
    bench.store.past.tariff_chosen.connect(told.append)
    page = opened(energy={"joules": 3.6e6, "measured_s": 60.0})
    assert "0.25 CHF" in spoken(page.energy)
    assert told == []


def test_without_power_there_is_no_energy(opened: Open) -> None:
    page = opened()
    assert "this device does not tell it" in spoken(page.energy)
    assert "0 kWh" not in spoken(page.energy)


def test_export_holds_what_is_shown(opened: Open, tmp_path: Path, qtbot: QtBot) -> None:
    page = opened()
    look = page.store.past.look
    for name in ("shown.csv", "shown.json"):
        with qtbot.waitSignal(page._exporter.finished, timeout=10_000):
            page.export_to(tmp_path / name)
    assert "Written:" in spoken(page)
    text = (tmp_path / "shown.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(look.curves[POWER].points)
    assert {row["gpu"] for row in rows} == {GPU_ID}
    assert {row["power_draw_w [W] low"] for row in rows} == {"100.0"}
    assert {row["temperature_gpu_c [°C] high"] for row in rows} == {"140.0"}
    document = json.loads((tmp_path / "shown.json").read_text(encoding="utf-8"))
    assert len(document["readings"]) == len(rows)
    assert [one["kind"] for one in document["events"]] == ["asleep", "awake", "xid", "policy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shown.csv", "shown.json"]


def test_a_file_that_cannot_be_written_is_told(opened: Open, tmp_path: Path, qtbot: QtBot) -> None:
    page = opened()
    with qtbot.waitSignal(page._exporter.finished, timeout=10_000):
        page.export_to(tmp_path / "none" / "shown.csv")
    assert "was not written: No such file or directory" in spoken(page)
    assert page._export.isEnabled()


def test_the_file_dialog_leads_to_a_file(opened: Open, tmp_path: Path, qtbot: QtBot) -> None:
    page = opened()
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs)
    page._export.click()
    (dialog,) = page.findChildren(QFileDialog)
    assert dialog.nameFilters() == ["Table (*.csv)", "JSON (*.json)"]
    with qtbot.waitSignal(page._exporter.finished, timeout=10_000):
        dialog.fileSelected.emit(str(tmp_path / "a.json"))
    dialog.close()
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["readings"]


def test_another_choice_asks_anew_and_late_answers_are_dropped(bench: Any, opened: Open) -> None:
    page = opened()
    page.span.choose(7 * 86400.0)
    late, bench.agent.asked = bench.agent.asked, []
    page.span.choose(86400.0)
    assert "Reading…" in spoken(page)
    for one in late:
        one.answer(bench.agent._result(one.method, one.params))
    assert page.store.past.look.question.span_s == 3600.0
    bench.agent.answer()
    look = page.store.past.look
    assert look.question.span_s == 86400.0
    assert all(point.time_unix_s >= look.since_s for point in look.curves[POWER].points)
    assert "Reading…" not in spoken(page)


def test_metrics_can_be_chosen_one_stays(bench: Any, opened: Open) -> None:
    page = opened()
    assert page.metrics.values == (POWER, TEMPERATURE)
    power, temperature = page.metrics._menu.actions()
    power.trigger()
    bench.agent.answer()
    QApplication.processEvents()
    assert [chart.accessibleName() for chart in charts(page) if chart.isVisible()] == [
        "Temperature"
    ]
    assert not temperature.isEnabled()


def test_answers_are_renewed_while_the_page_is_seen(
    bench: Any, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened()
    first = page.store.past.look
    page.refresh()
    assert bench.agent.asked == []
    now_s = time.time() + past_module.RENEW_S
    monkeypatch.setattr(past_module, "time", lambda: now_s)
    page.refresh()
    assert [one.method for one in bench.agent.asked] == [
        "limits", "series", "series", "events", "energy",
    ]  # fmt: skip
    bench.agent.answer()
    assert page.store.past.look is not first
    bench.window.open_named("overview")
    bench.store.changed.emit()
    assert bench.agent.asked == []


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ("waiting", ["Waiting for the agent"]),
        ("refused", ["There is no history to show", "This agent writes no history."]),
        ("lost", ["The agent was lost", "The agent crashed."]),
        ("nothing", ["Nothing is remembered of this device yet"]),
    ],
)
def test_an_empty_page_says_why(bench: Any, setup: str, words: list[str]) -> None:
    bench.feed([bench.gpu()])
    bench.window.open_named("history")
    if setup == "refused":
        bench.agent.refuse("this agent writes no history")
    elif setup == "lost":
        bench.store.set_link(LinkState.RESTARTING, "The agent crashed.")
    elif setup == "nothing":
        bench.agent.metrics = ()
        bench.agent.answer()
    told = spoken(bench.window)
    assert [word for word in words if word not in told] == []
    assert not bench.window.page._export.isEnabled()


def test_what_is_known_of_the_past_outlives_the_agent(bench: Any, opened: Open) -> None:
    page = opened()
    bench.store.set_link(LinkState.RESTARTING, "The agent crashed.")
    assert described(charts(page)[0]).startswith("mean 120 W")
    assert "Nothing is known yet of what limits this device" in spoken(page.ledger)
    bench.store.set_link(LinkState.RUNNING, "")
    assert {one.method for one in bench.agent.asked} >= {"remembered", "limits", "series"}


def test_a_card_that_left_can_still_be_looked_at(bench: Any, opened: Open) -> None:
    opened()
    bench.feed([bench.cpu()])
    page = bench.window.page
    names = [page.gpu.itemText(row) for row in range(page.gpu.count())]
    assert names == ["AMD EPYC 9B45", f"{GPU_ID} (not here now)"]


def test_runs_are_noted_on_the_time_axis(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(mining__max_efficiency_percent=50)
    bench.drive("mining.ethash", "finished")
    notes = [params for method, params in bench.agent.seen if method == "note"]
    assert [note["text"] for note in notes] == [
        "Ethash began, at 50 % of its speed at most",
        "Ethash ended: 20.0 MH/s",
    ]
    assert {note["gpu"] for note in notes} == {GPU_ID}

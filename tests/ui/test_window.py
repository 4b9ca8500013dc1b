"""Every page in every state in both themes: what it says, and that nothing is cut or nameless."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAccessible, QAccessibleInterface, QGuiApplication, QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QFileDialog,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QStackedWidget,
    QWidget,
)

from gpupanel.model.decision import Diagnostic
from gpupanel.policy.resolve import PolicyState
from gpupanel.ui import theme
from gpupanel.ui.link import LinkState
from gpupanel.ui.pages import PAGE_NAMES
from gpupanel.ui.theme import DARK, LIGHT, ThemeChoice, Tone
from gpupanel.ui.widgets.text import ElidedText

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

Setup = Callable[[Any], None]
FAULT = Diagnostic("/etc/gpupanel/policy.d/20-lab.toml", 7, 3, "error", "GP011", "no such key")


def starting(bench: Any) -> None:
    del bench


def no_gpu(bench: Any) -> None:
    bench.feed([bench.cpu()])
    bench.feed_policy(PolicyState.UNMANAGED)


def nothing_at_all(bench: Any) -> None:
    bench.feed([])
    bench.feed_policy(PolicyState.UNMANAGED)


def one_gpu(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(mining__max_efficiency_percent=50)


def eight_gpus(bench: Any) -> None:
    bench.feed([bench.gpu(index) for index in range(8)])
    bench.feed_policy(PolicyState.UNMANAGED)


def agent_lost(bench: Any) -> None:
    one_gpu(bench)
    bench.store.set_link(LinkState.RESTARTING, "The agent crashed.")


def stale(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(PolicyState.STALE, (FAULT,), mining__max_efficiency_percent=50)


def closed(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(PolicyState.CLOSED, (FAULT,))


def denied(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(stress__allowed_loads=())


def run_to(workload: str, until: str) -> Setup:
    def setup(bench: Any) -> None:
        one_gpu(bench)
        bench.drive(workload, until)

    return setup


STATES: dict[str, Setup] = {
    "starting": starting,
    "no_gpu": no_gpu,
    "nothing_at_all": nothing_at_all,
    "one_gpu": one_gpu,
    "eight_gpus": eight_gpus,
    "agent_lost": agent_lost,
    "stale": stale,
    "closed": closed,
    "denied": denied,
    "preparing": run_to("mining.ethash", "preparing"),
    "running": run_to("gaming.raymarch", "running"),
    "finished": run_to("ai.gemm", "finished"),
    "failed": run_to("mining.ethash", "failed"),
}


def visible(window: QWidget) -> Iterator[QWidget]:
    return (one for one in window.findChildren(QWidget) if one.isVisible())


def spoken(widget: QWidget) -> str:
    """Everything that a screen reader finds in ``widget``."""
    words: list[str] = []

    def walk(node: QAccessibleInterface) -> None:
        if node.state().invisible:
            return
        words.extend(
            node.text(kind) for kind in (QAccessible.Text.Name, QAccessible.Text.Description)
        )
        for index in range(node.childCount()):
            child = node.child(index)
            if child is not None:
                walk(child)

    walk(QAccessible.queryAccessibleInterface(widget))
    return "\n".join(words).replace("\u00a0", " ").replace("\u202f", " ")


def nameless(window: QWidget) -> list[str]:
    """Widgets that take the focus and have no name; inner parts of Qt's widgets do not count."""
    return [
        f"{type(one).__name__} {one.objectName()}"
        for one in visible(window)
        if one.focusPolicy() & Qt.FocusPolicy.TabFocus
        and not one.objectName().startswith("qt_")
        and not QAccessible.queryAccessibleInterface(one).text(QAccessible.Text.Name)
    ]


def cut(window: QWidget) -> list[str]:
    """Widgets that are smaller than what they have to show."""
    found = []
    for one in visible(window):
        if one.objectName().startswith("qt_"):
            continue
        least, size = one.minimumSizeHint(), one.size()
        layout = one.layout()
        if isinstance(one, QLabel) and not isinstance(one, ElidedText):
            least = one.sizeHint()
        if isinstance(one, QLabel) and one.wordWrap():
            least = QSize(0, one.heightForWidth(one.width()))
        elif isinstance(one, QStackedWidget | QHeaderView) or (
            layout is not None and layout.hasHeightForWidth()
        ):
            continue  # as small as its parts, which are looked at themselves
        if size.width() < least.width() or size.height() < least.height():
            found.append(f"{type(one).__name__} {one.accessibleName()!r}: {size} < {least}")
    return found


@pytest.mark.parametrize("size", [(1180, 760), (1024, 680)], ids=["usual", "least"])
@pytest.mark.parametrize("choice", [ThemeChoice.LIGHT, ThemeChoice.DARK])
@pytest.mark.parametrize("state", STATES)
def test_nothing_is_cut_or_nameless(
    bench: Any, state: str, choice: ThemeChoice, size: tuple[int, int], qapp: QApplication
) -> None:
    theme.apply(qapp, choice)
    bench.window.resize(*size)
    STATES[state](bench)
    for page in PAGE_NAMES:
        bench.window.open_named(page)
        for _ in range(3):  # a text that wraps asks its layout for another round
            qapp.processEvents()
        image = bench.window.grab().toImage()
        assert (nameless(bench.window), cut(bench.window)) == ([], []), page
        back = (DARK if choice is ThemeChoice.DARK else LIGHT).window
        corner = image.pixelColor(image.width() - 2, image.height() - 2)
        assert corner.name().upper() == back


@pytest.mark.parametrize(
    ("state", "page", "words"),
    [
        ("starting", "overview", ["Looking for GPUs", "Agent starting"]),
        ("no_gpu", "overview", ["No GPU was found: showing the processor", "no NVIDIA driver"]),
        ("nothing_at_all", "overview", ["No GPU was found", "no NVIDIA driver"]),
        ("one_gpu", "overview", ["NVIDIA GeForce RTX 4090", "PCI 0000:01:00.0", "Agent running",
            "2 520 MHz", "of 450 W", "not available: not supported on this board"]),
        ("agent_lost", "overview", ["The agent crashed.", "Agent restarting", "not available"]),
        ("one_gpu", "policy", ["Managed by your", "50 %", "10-site.toml:4", "Locked"]),
        ("eight_gpus", "policy", ["Not managed", "Built in"]),
        ("stale", "policy", ["last good policy", "no such key", "20-lab.toml:7:3"]),
        ("closed", "policy", ["strictest limits", "Closed"]),
        ("denied", "stress", ["loads may not run", "stress.allowed_loads"]),
        ("one_gpu", "stress", ["No run yet", "50 % of its speed"]),
        ("preparing", "overview", ["Mining · preparing"]),
        ("preparing", "stress", ["Preparing: building the kernel", "Stop"]),
        ("running", "stress", ["fps", "Picture of the running scene", "0:08 / 0:30", "No cap"]),
        ("finished", "stress", ["Completed", "MFLOP/s", "95 %", "9.12 kJ", "Start", "A note."]),
        ("failed", "stress", ["The kernel does not compile.", "line 1: error: x", "Failed"]),
    ],
)  # fmt: skip
def test_states_are_told_in_words(
    bench: Any, state: str, page: str, words: list[str], qtbot: QtBot
) -> None:
    STATES[state](bench)
    bench.window.open_named(page)
    if state == "running":
        qtbot.waitUntil(lambda: "Picture" in spoken(bench.window))
    told = spoken(bench.window)
    assert [word for word in words if word not in told] == []


def test_the_cap_is_told_where_it_works(bench: Any) -> None:
    one_gpu(bench)
    bench.drive("mining.ethash", "running")
    assert "Mining · capped at 50 % by policy" in spoken(bench.window)
    bench.window.open_named("stress")
    told = spoken(bench.window)
    assert "Capped at 50 % by policy · uncapped 40.0 MH/s" in told
    assert "50 % / 50 %" in told


def test_numbers_of_each_gpu_are_its_own(bench: Any) -> None:
    gpus = [bench.gpu(0), bench.gpu(1)]
    bench.feed(gpus)
    one, other = (
        bench.snapshot([gpu], 40.0, temperature_gpu_c=c)
        for gpu, c in zip(gpus, (41.0, 77.0), strict=True)
    )
    bench.store.add_snapshot(type(one)(40.0, 40.0, one.samples + other.samples))
    for _ in range(5):  # descriptions are renewed every fifth time
        bench.window.refresh()
    told = spoken(bench.window)
    assert "41 °C" in told
    assert "77 °C" in told


def test_fields_show_what_runs_and_the_same_again_may_not_start(bench: Any) -> None:
    bench.feed([bench.gpu(0), bench.gpu(1)])
    bench.feed_policy()
    bench.window.open_named("stress")
    bench.drive("gaming.raymarch", "running", bench.gpu(1).id)
    page = bench.window.page
    shown = (page.load.currentData(), page.gpu.currentData(), page.seconds.value())
    assert shown == ("gaming.raymarch", bench.gpu(1).id, 30)
    assert not page.button.isEnabled()
    assert "already runs" in page.button.toolTip()
    page.load.setCurrentIndex(page.load.findData("ai.gemm"))
    assert page.button.isEnabled()
    assert page.button.text() == "&Start beside"


def test_loads_side_by_side_are_shown_one_in_full(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(mining__max_efficiency_percent=50)
    bench.window.open_named("stress")
    bench.drive("gaming.raymarch", "running")
    assert not bench.window.page.strip.isVisible()
    bench.drive("mining.ethash", "running")
    page = bench.window.page
    told = spoken(page)
    assert "20.0 MH/s · cap 50 %" in told
    assert "Mining · Ethash · NVIDIA GeForce RTX 4090" in told
    QTest.mouseClick(page.strip.chips[0], Qt.MouseButton.LeftButton)
    assert "Gaming · Ray-marched scene · NVIDIA GeForce RTX 4090" in spoken(page)
    assert page.load.currentData() == "gaming.raymarch"
    QTest.mouseClick(page.stop_button, Qt.MouseButton.LeftButton)
    assert [runner.calls for runner in bench.runners] == [["start", "stop"], ["start", "stop"]]


def test_a_new_session_forgets_the_results_of_the_last(bench: Any) -> None:
    one_gpu(bench)
    bench.drive("ai.gemm", "finished")
    bench.drive("mining.ethash", "running")
    assert [live.run.workload for live in bench.runs.all] == ["mining.ethash"]
    assert bench.runners[0].calls == ["start", "close"]


def test_the_options_of_a_load_reach_its_run(bench: Any) -> None:
    one_gpu(bench)
    bench.window.open_named("stress")
    page = bench.window.page
    page.load.setCurrentIndex(page.load.findData("ai.gemm"))
    page.knobs.set_values({"size": 2048})
    page.profile.setCurrentIndex(page.profile.findData("steps"))
    QTest.mouseClick(page.button, Qt.MouseButton.LeftButton)
    run = bench.runners[0].run
    assert (dict(run.knobs), run.profile) == ({"size": 2048}, "steps")


def test_a_finished_run_can_be_kept(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_gpu(bench)
    bench.window.open_named("stress")
    bench.drive("ai.gemm", "running")
    assert not bench.window.page.view.save.isVisible()
    bench.drive("mining.ethash", "finished")
    target = tmp_path / "report"
    answer = (str(target), "HTML (*.html)")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *arguments: answer)
    QTest.mouseClick(bench.window.page.view.save, Qt.MouseButton.LeftButton)
    assert "Ethash on NVIDIA GeForce RTX 4090" in (tmp_path / "report.html").read_text()


def test_deny_greys_out_start(bench: Any) -> None:
    denied(bench)
    bench.window.open_named("stress")
    button = bench.window.page.button
    assert not button.isEnabled()
    assert "stress.allowed_loads" in button.toolTip()


def test_duration_is_bounded_by_policy(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(stress__max_run_seconds=20)
    bench.window.open_named("stress")
    seconds = bench.window.page.seconds
    assert (seconds.maximum(), seconds.value()) == (20, 20)


def test_start_and_stop_by_keyboard(bench: Any) -> None:
    one_gpu(bench)
    bench.window.open_named("stress")
    page = bench.window.page
    page.button.setFocus()
    QTest.keyClick(page.button, Qt.Key.Key_Space)
    assert bench.runners[0].calls == ["start"]
    assert page.stop_button.isDefault()
    assert bench.window.focusWidget() is page.stop_button
    QTest.keyClick(page.stop_button, Qt.Key.Key_Space)
    assert bench.runners[0].calls == ["start", "stop"]
    assert not page.stop_button.isEnabled()


@pytest.mark.parametrize(("number", "name"), list(enumerate(PAGE_NAMES, start=1)))
def test_number_keys_open_pages(bench: Any, number: int, name: str, qtbot: QtBot) -> None:
    one_gpu(bench)
    with qtbot.waitActive(bench.window):
        bench.window.activateWindow()
    QTest.keySequence(bench.window, QKeySequence(f"Ctrl+{number}"))
    assert type(bench.window.page).__name__.lower() == f"{name}page"


def test_hidden_window_does_nothing(bench: Any) -> None:
    one_gpu(bench)
    told = spoken(bench.window)
    bench.window.hide()
    bench.store.set_link(LinkState.RESTARTING, "The agent crashed.")
    bench.window.show()
    assert "Agent restarting" not in told
    assert "Agent restarting" in spoken(bench.window)


def test_theme_switch_reaches_every_widget(bench: Any, qapp: QApplication) -> None:
    one_gpu(bench)
    bench.window.open_named("stress")
    theme.apply(qapp, ThemeChoice.DARK)
    qapp.processEvents()
    seen = {
        theme.colour(one.palette(), Tone.SURFACE).name().upper() for one in visible(bench.window)
    }
    assert seen - {"#000000"} == {DARK.surface}


# The offscreen platform says this of every menu; it has no keyboard.
@pytest.mark.qt_log_ignore("does not support grabbing the keyboard")
def test_theme_can_be_chosen_in_the_window(bench: Any, qtbot: QtBot) -> None:
    button = next(
        one for one in bench.window.findChildren(QPushButton) if one.accessibleName() == "Theme"
    )
    button.click()
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    assert [action.text() for action in menu.actions()] == ["As the system", "Light", "Dark"]
    with qtbot.waitSignal(bench.window.theme_chosen) as chosen:
        menu.actions()[2].trigger()
    assert chosen.args == [ThemeChoice.DARK]
    menu.close()


def test_table_rows_can_be_copied(bench: Any, qapp: QApplication) -> None:
    one_gpu(bench)
    bench.window.open_named("policy")
    table = bench.window.page.effective.table
    table.selectRow(2)  # below the heading of the group
    QTest.keySequence(table, QKeySequence(QKeySequence.StandardKey.Copy))
    copied = QGuiApplication.clipboard().text().replace("\u00a0", " ")
    assert copied.split("\t")[:2] == ["mining.max_efficiency_percent", "50 %"]


def test_tables_obey_qts_rules(bench: Any, qtmodeltester: Any) -> None:
    one_gpu(bench)
    bench.window.open_named("policy")
    from gpupanel.ui.widgets.table import Table

    for table in bench.window.page.findChildren(Table):
        qtmodeltester.check(table.model())


def test_a_restarted_agent_leaves_a_gap_in_the_picture(bench: Any, qapp: QApplication) -> None:
    from gpupanel.ui.widgets.sparkline import Sparkline

    line = Sparkline(11)
    line.resize(101, 40)
    values = [50.0] * 4 + [None] * 3 + [50.0] * 4
    line.set_series(values, 100, None)
    image = line.grab().toImage()
    surface = theme.colour(line.palette(), Tone.SURFACE)
    below = [image.pixelColor(x, 30) == surface for x in (15, 45, 85)]
    assert below == [False, True, False]
    line.close()

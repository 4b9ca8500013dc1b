"""The Policy page and its padlocks: what is in force and why, and a user's wishes as a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from gpupanel import paths
from gpupanel.cli.policy import explain as terminal
from gpupanel.model.decision import Diagnostic
from gpupanel.policy.claims import Scope
from gpupanel.policy.generation import load
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.parse import parse, parse_machine
from gpupanel.policy.resolve import PolicyState, resolve
from gpupanel.policy.sources import MachineSource, Sources, UserSource
from gpupanel.policy.trusted_file import Trust
from gpupanel.ui import theme
from gpupanel.ui.theme import ThemeChoice
from gpupanel.ui.widgets.policy_lock import PolicyLock
from tests.ui.test_window import cut, nameless, spoken

SITE = "/etc/gpupanel/policy.d/10-site.toml"
CAP = "mining.max_efficiency_percent"
MACHINE = b"""schema = 1
[mandatory.mining]
max_efficiency_percent = 50
[mandatory.stress]
max_run_seconds = 60
allowed_loads = ["mining", "ai"]
"""
LOOSER = "schema = 1\n[mandatory.mining]\nmax_efficiency_percent = 80\n"
TIGHTER = "schema = 1\n[mandatory.mining]\nmax_efficiency_percent = 20\n"
FAULT = Diagnostic(SITE, 7, 3, "error", "GP011", "no such key")


def status_of(page: Any, key: str) -> str:
    model = page.effective.table.model()
    rows = {model.index(row, 0).data(): row for row in range(model.rowCount())}
    return str(model.index(rows[key], 4).data())


def first_column(page: Any) -> list[str]:
    model = page.effective.table.model()
    return [str(model.index(row, 0).data()) for row in range(model.rowCount())]


@pytest.fixture
def wish_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own."""
    path = tmp_path / "config" / "policy.toml"
    monkeypatch.setattr(paths, "user_policy_file", lambda: path)
    return path


@pytest.fixture
def feed(bench: Any, wish_path: Path) -> Callable[..., Any]:
    """Resolve a machine's and a user's file, open the page."""

    def feeding(machine: bytes = MACHINE, user: str = "", **more: Any) -> Any:
        wishes = parse(user.encode(), str(wish_path), Scope.USER) if user else ()
        bench.feed([bench.gpu()])
        policy = resolve(parse_machine(machine, SITE), wishes, **more)
        bench.store.set_policy(policy.as_json())
        bench.window.open_named("policy")
        return bench.window.page

    return feeding


def test_every_key_stands_below_its_group(feed: Any) -> None:
    page = feed()
    names = first_column(page)
    groups = list(dict.fromkeys(key.group for key in POLICY_KEYS))
    assert [name for name in names if "." not in name] == groups
    assert [name for name in names if "." in name] == [key.name for key in POLICY_KEYS]
    assert "22 of 22 keys" in spoken(page).replace(str(len(POLICY_KEYS)), "22")


@pytest.mark.parametrize(
    ("user", "status", "why"),
    [
        ("", "Locked", "Nobody says anything else"),
        (LOOSER, "Locked, yours is looser", "looser than what the machine policy allows"),
        (TIGHTER, "Yours, tighter, overrides 50 %", "tightened by the user's policy"),
    ],
)
def test_a_status_says_who_holds_it_and_what_lost(
    feed: Any, user: str, status: str, why: str
) -> None:
    page = feed(user=user)
    page.effective.select(CAP)
    assert status_of(page, CAP).replace("\u00a0", " ") == status
    assert why in spoken(page)
    assert status_of(page, "mining.action") == "Default"


def test_the_filter_finds_by_key_value_and_file(feed: Any) -> None:
    page = feed()
    for typed, found in (
        ("grace", ["mining", "mining.grace_seconds"]),
        ("50 %", ["mining", CAP]),
        # With a cap goes its switch.
        (
            "10-site",
            [
                "mining",
                "mining.enforcement",
                CAP,
                "stress",
                "stress.allowed_loads",
                "stress.max_run_seconds",
            ],
        ),
        ("no such", []),
    ):
        page.effective.filter.setText(typed)
        assert first_column(page) == found, typed
    assert "No key matches" in spoken(page)
    page.effective.select(CAP)
    assert len(first_column(page)) > len(POLICY_KEYS)


def test_the_selection_survives_another_policy(feed: Any) -> None:
    page = feed()
    page.effective.select("stress.max_run_seconds")
    feed(MACHINE.replace(b"60", b"90"))
    assert "Longest run: 90 s" in spoken(page)


def test_the_page_explains_what_the_terminal_explains(
    bench: Any, tmp_path: Path, wish_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "etc"
    site.mkdir()
    (site / "10.toml").write_bytes(MACHINE)
    wish_path.parent.mkdir()
    wish_path.write_text(LOOSER)
    trust = Trust(os.geteuid(), tmp_path) if os.name == "posix" else Trust(base=tmp_path)
    sources = Sources(MachineSource([site], trust), UserSource(wish_path), tmp_path / "state")
    bench.store.set_policy(load(sources).as_json())
    bench.window.open_named("policy")
    page = bench.window.page
    for key in (CAP, "ui.show_tray", "stress.allowed_loads"):
        terminal.run(key, sources, None, as_json=False)
        lines = capsys.readouterr().out.splitlines()
        facts = [line.split(maxsplit=1)[1] for line in lines[3:] if line and line[0] in "LCBTDS"]
        page.effective.select(key)
        told = spoken(page)
        missing = [fact.removeprefix("by").strip() for fact in facts if fact not in told]
        assert [fact for fact in missing if fact not in told] == []
        beaten = [line.split(maxsplit=3)[2:] for line in lines if line.startswith("  ")]
        assert [part for parts in beaten for part in parts if part not in told] == []


def test_the_banner_tells_what_was_loosened(feed: Any) -> None:
    told = spoken(feed(loosened=(CAP,)))
    assert f"bounds less than before: {CAP}" in told


def test_faults_have_line_and_column(feed: Any) -> None:
    told = spoken(feed(state=PolicyState.STALE, diagnostics=(FAULT,)))
    assert f"{SITE}:7:3" in told
    assert "no such key" in told.lower()


def open_wishes(page: Any) -> Any:
    page.views.choose(1)
    return page.wishes.editor


def test_a_wish_is_written_by_the_window_and_only_there(feed: Any, wish_path: Path) -> None:
    page = feed()
    editor = open_wishes(page)
    assert "There is no file yet" in spoken(editor)
    form = page.wishes.form
    assert form.field.currentText() == "enforce"  # what is in force is proposed
    form.key.setCurrentIndex(form.key.findData("stress.max_run_seconds"))
    assert form.field.value() == 60
    form.field.setValue(20)
    QTest.mouseClick(form.button, Qt.MouseButton.LeftButton)
    assert "[mandatory.stress]\nmax_run_seconds = 20\n" in editor.text.source()
    assert not wish_path.exists()
    QTest.mouseClick(editor.save_button, Qt.MouseButton.LeftButton)
    (claim,) = parse(wish_path.read_bytes(), "", Scope.USER)
    assert (claim.key, claim.value) == ("stress.max_run_seconds", 20)
    assert "Saved. It is in force within seconds." in spoken(editor)
    assert not editor.save_button.isEnabled()


def test_faults_are_told_while_one_types_and_cannot_be_saved(
    feed: Any, wish_path: Path, qtbot: Any
) -> None:
    wish_path.parent.mkdir()
    wish_path.write_text("# mine\n" + LOOSER)
    page = feed()
    editor = open_wishes(page)
    assert "Valid and saved." in spoken(editor)
    with qtbot.waitSignal(editor.checked):
        editor.text.moveCursor(editor.text.textCursor().MoveOperation.End)
        QTest.keyClicks(editor.text, "max_eficiency = 3")
        assert not editor.save_button.isEnabled()
    assert not editor.save_button.isEnabled()
    told = spoken(editor)
    assert "Not valid. It cannot be saved like this." in told
    assert "5:1" in told
    assert "did you mean" in told
    marks = editor.text.extraSelections()
    assert {one.cursor.blockNumber() for one in marks} == {4}
    assert not page.wishes.form.button.isEnabled()
    editor.text.moveCursor(editor.text.textCursor().MoveOperation.Start)
    editor.faults.selectRow(0)
    assert editor.text.textCursor().blockNumber() == 4
    QTest.keySequence(editor.text, QKeySequence(QKeySequence.StandardKey.Save))
    assert wish_path.read_text() == "# mine\n" + LOOSER


def test_places_and_spaces_are_those_of_the_file(feed: Any, wish_path: Path) -> None:
    page = feed()
    editor = open_wishes(page)
    editor.replace("schema = 1\nname = '😀\u00a0' # \u00a0\n[mandatory]\n'😀' = 1\n")
    editor.faults.selectRow(0)
    assert editor.text.textCursor().blockNumber() == 3
    editor.replace("schema = 1\nname = '😀' '\n")
    editor.faults.selectRow(0)
    cursor = editor.text.textCursor()
    assert (cursor.blockNumber(), cursor.positionInBlock()) == (1, len("name = '12' "))
    text = "schema = 1\nname = '😀\u00a0' # \u00a0\n"
    editor.replace(text)
    editor.save_button.click()
    assert wish_path.read_text(encoding="utf-8") == text


def test_what_another_program_wrote_is_not_written_over(feed: Any, wish_path: Path) -> None:
    wish_path.parent.mkdir()
    wish_path.write_text(LOOSER)
    editor = open_wishes(feed())
    editor.replace(TIGHTER)
    wish_path.write_text("# elsewhere\n" + LOOSER)
    QTest.mouseClick(editor.save_button, Qt.MouseButton.LeftButton)
    assert "changed by another program" in spoken(editor)
    assert wish_path.read_text() == "# elsewhere\n" + LOOSER
    QTest.mouseClick(editor.reload_button, Qt.MouseButton.LeftButton)
    assert editor.text.source() == "# elsewhere\n" + LOOSER


def test_a_file_that_cannot_be_written_is_said(feed: Any, wish_path: Path, tmp_path: Path) -> None:
    editor = open_wishes(feed())
    (tmp_path / "config").write_text("a file where a directory should be")
    editor.replace(TIGHTER)
    editor.save_button.click()
    assert "Not saved" in spoken(editor) or "cannot be read" in spoken(editor)
    assert editor.text.source() == TIGHTER


def test_a_file_that_is_no_text_is_left_alone(feed: Any, wish_path: Path) -> None:
    wish_path.parent.mkdir()
    wish_path.write_bytes(b"\xff\xfe")
    page = feed()
    editor = open_wishes(page)
    assert "not UTF-8" in spoken(editor)
    assert editor.text.isReadOnly()
    assert not page.wishes.form.button.isEnabled()
    assert wish_path.read_bytes() == b"\xff\xfe"


def test_the_form_tells_a_looser_wish_before_it_is_written(feed: Any) -> None:
    page = feed()
    open_wishes(page)
    form = page.wishes.form
    form.key.setCurrentIndex(form.key.findData(CAP))
    assert "You can only make it tighter." in spoken(form)
    form.field.setValue(80)
    assert "A looser value has no effect." in spoken(form)
    form.key.setCurrentIndex(form.key.findData("mining.gpu_roles"))
    form.field.setText("here=nothing")
    QTest.mouseClick(form.button, Qt.MouseButton.LeftButton)
    assert "This value is not allowed here" in spoken(form)


@pytest.mark.parametrize("size", [(1180, 760), (1024, 680)], ids=["usual", "least"])
@pytest.mark.parametrize("choice", [ThemeChoice.LIGHT, ThemeChoice.DARK])
@pytest.mark.parametrize("view", [0, 1, 2])
def test_nothing_is_cut_in_any_view(
    bench: Any, feed: Any, view: int, choice: ThemeChoice, size: tuple[int, int],
    qapp: QApplication,
) -> None:  # fmt: skip
    theme.apply(qapp, choice)
    bench.window.resize(*size)
    faults = (FAULT, FAULT, FAULT)
    page = feed(user=LOOSER, state=PolicyState.STALE, diagnostics=faults, loosened=(CAP,))
    page.views.choose(view)
    if view == 1:
        page.wishes.editor.replace("schema = 1\n[mandatory.mining]\nfirst = 1\nsecond = 2\nc = 3\n")
    for _ in range(4):
        qapp.processEvents()
    assert (nameless(bench.window), cut(bench.window)) == ([], [])


def test_a_wish_that_replaces_another_of_ones_own_is_not_in_vain(feed: Any) -> None:
    both = "schema = 1\n[recommended.mining]\nmax_efficiency_percent = 80\n" + TIGHTER[11:]
    page = feed(b"schema = 1\n", both)
    assert status_of(page, CAP).replace("\u00a0", " ") == "Yours, overrides 80 %"


@pytest.mark.parametrize("key", [key.name for key in POLICY_KEYS])
def test_nothing_is_cut_in_the_form_of_any_key(feed: Any, key: str, qapp: QApplication) -> None:
    page = feed()
    open_wishes(page)
    form = page.wishes.form
    form.key.setCurrentIndex(form.key.findData(key))
    for _ in range(4):
        qapp.processEvents()
    assert (nameless(page), cut(form)) == ([], [])


def locks(page: QWidget) -> dict[str, PolicyLock]:
    return {one.accessibleName(): one for one in page.findChildren(PolicyLock) if one.isVisible()}


def test_padlocks_stand_only_where_policy_bounds(bench: Any, feed: Any) -> None:
    feed()
    bench.window.open_named("stress")
    page = bench.window.page
    names = {"Policy: Allowed loads", "Policy: Longest run", "Policy: Mining efficiency"}
    assert locks(page).keys() == names
    page.load.setCurrentIndex(page.load.findData("ai.gemm"))
    assert locks(page).keys() == names - {"Policy: Mining efficiency"}
    bench.store.set_policy(resolve(()).as_json())
    assert locks(page).keys() == set()


# The offscreen platform says these of every popup; it has no keyboard and no window manager.
@pytest.mark.qt_log_ignore("does not support")
def test_a_padlock_opens_the_explanation_by_keyboard(bench: Any, feed: Any) -> None:
    feed()
    bench.window.open_named("stress")
    lock = locks(bench.window.page)["Policy: Longest run"]
    assert lock.focusPolicy() & Qt.FocusPolicy.TabFocus
    assert f"set by the machine policy ({SITE}:5:19)" in lock.accessibleDescription()
    QTest.keyClick(lock, Qt.Key.Key_Space)
    popup = QApplication.activePopupWidget()
    assert popup is not None
    told = spoken(popup)
    assert "Longest run: 60 s" in told
    assert f"the administrator in {SITE}; you can only make it tighter" in told
    assert cut(popup) == []
    QTest.keyClick(popup, Qt.Key.Key_Escape)
    assert QApplication.activePopupWidget() is None

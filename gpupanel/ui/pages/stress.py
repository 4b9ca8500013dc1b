"""Stress test: choose GPUs and loads, see what policy allows, run them, see what they do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QMessageBox,
    QStackedWidget,
    QVBoxLayout,
)

from gpupanel.model.decision import Decision, Verb
from gpupanel.model.gpu import CPU_ID, GpuInfo
from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.model.workload import Family, Run
from gpupanel.stress.catalog import WORKLOAD_BY_NAME, WORKLOADS
from gpupanel.stress.profile import PROFILES, STEADY, STEPS
from gpupanel.ui import format as fmt
from gpupanel.ui.pages.base import Page
from gpupanel.ui.runs import LiveRun, Phase
from gpupanel.ui.store import Store
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.controls import Button, Choice, NumberField
from gpupanel.ui.widgets.knob_fields import KnobFields
from gpupanel.ui.widgets.policy_lock import PolicyLock
from gpupanel.ui.widgets.run_strip import RunStrip
from gpupanel.ui.widgets.run_view import RunView
from gpupanel.ui.widgets.state_view import StateView
from gpupanel.ui.widgets.text import Text

if TYPE_CHECKING:
    from PySide6.QtGui import QHideEvent, QShowEvent

_FRAME_MS = 33
_DEFAULT_SECONDS = 60
_MOST_SECONDS = 2 * 3600

_PROFILES = {
    STEADY: QT_TRANSLATE_NOOP("Profiles", "Steady"),
    STEPS: QT_TRANSLATE_NOOP("Profiles", "20 to 100 % in steps"),
}


class StressPage(Page):
    """Loads side by side, one of them in full; stopping all is always one key away."""

    def __init__(self, store: Store, title: str) -> None:
        super().__init__(store, title)
        self._shown_gpus: Sequence[GpuInfo] | None = None
        self._asked: tuple[object, ...] | None = None
        self._decision: Decision | None = None
        self._shown: LiveRun | None = None
        self._latest: LiveRun | None = None
        self._make_fields()
        self.add(self._make_setup())
        self.strip = RunStrip()
        self.strip.chosen.connect(self._choose)
        self.add(self.strip)
        self._idle = StateView(
            "stress",
            self.tr("No run yet"),
            self.tr("Choose a load and press Start. Its results are checked while it runs."),
        )
        self.view = RunView()
        self.view.save_wanted.connect(self._save_report)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._idle)
        self._stack.addWidget(self.view)
        self.add(self._stack, 1)
        self._frame_timer = QTimer(self, interval=_FRAME_MS)
        self._frame_timer.timeout.connect(self._show_frame)

    def refresh(self) -> None:
        """Fields, decision and runs."""
        runs = self.store.runs
        self._list_gpus(self.store.gpus or ())
        if runs.latest is not self._latest:
            self._latest = runs.latest
            self._show(runs.latest)
        self._ask_policy()
        self._show_buttons()
        self.strip.show_runs(runs.all, self._shown)
        self._stack.setCurrentWidget(self._idle if self._shown is None else self.view)
        if self._shown is not None and self._shown.run is not None:
            self.view.show_run(self._shown, self._shown.run)
        self._follow_frames()

    def showEvent(self, event: QShowEvent) -> None:
        """Qt: pictures move only while somebody sees them."""
        super().showEvent(event)
        self._follow_frames()

    def hideEvent(self, event: QHideEvent) -> None:
        """Qt: nobody sees them."""
        super().hideEvent(event)
        self._frame_timer.stop()

    def _make_fields(self) -> None:
        self.gpu = Choice()
        self.load = Choice()
        for workload in WORKLOADS:
            family = fmt.family_name(workload.family)
            self.load.addItem(f"{family} · {workload.title}", workload.name)
        self.profile = Choice()
        for profile in PROFILES:
            self.profile.addItem(fmt.translated("Profiles", _PROFILES[profile]), profile)
        self.seconds = NumberField()
        self.seconds.setRange(1, _MOST_SECONDS)
        self.seconds.setValue(_DEFAULT_SECONDS)
        self.seconds.setSuffix("\u00a0s")
        self.knobs = KnobFields()
        self.loads_lock = PolicyLock("stress.allowed_loads")
        self.seconds_lock = PolicyLock("stress.max_run_seconds")
        self.cap_lock = PolicyLock("mining.max_efficiency_percent")
        self.button = Button(self.tr("&Start"))
        self.button.setDefault(True)
        self.stop_button = Button(self.tr("S&top"))
        self.load.currentIndexChanged.connect(self._chosen)
        self.gpu.currentIndexChanged.connect(self._chosen)
        self.seconds.valueChanged.connect(self._chosen)
        self.button.clicked.connect(self._start)
        self.stop_button.clicked.connect(self.store.runs.stop)

    def _make_setup(self) -> Card:
        self._summary = Text(tone=Tone.SECONDARY, wrap=True)
        self._verdict = Text(tone=Tone.SECONDARY, wrap=True)
        words = QVBoxLayout()
        words.setSpacing(4)
        words.addWidget(self._summary)
        verdict = QHBoxLayout()
        verdict.addWidget(self.cap_lock, 0, Qt.AlignmentFlag.AlignTop)
        verdict.addWidget(self._verdict, 1)
        words.addLayout(verdict)
        card = Card()
        card.body.addLayout(self._make_grid())
        card.body.addLayout(self._make_options())
        card.body.addLayout(words)
        return card

    def _make_grid(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(4)
        for column, (label, field, stretch, lock) in enumerate(
            (
                (self.tr("&GPU"), self.gpu, 3, None),
                (self.tr("&Load"), self.load, 3, self.loads_lock),
                (self.tr("&Profile"), self.profile, 2, None),
                (self.tr("&Duration"), self.seconds, 1, self.seconds_lock),
            )
        ):
            title = Text(label, tone=Tone.SECONDARY, size_px=SMALL_PX)
            title.setBuddy(field)
            field.setAccessibleName(label.replace("&", ""))
            head = QHBoxLayout()
            head.addWidget(title)
            if lock is not None:
                head.addWidget(lock)
            head.addStretch(1)
            grid.addLayout(head, 0, column)
            grid.addWidget(field, 1, column)
            grid.setColumnStretch(column, stretch)
        return grid

    def _make_options(self) -> QHBoxLayout:
        """What shapes the chosen load, and the buttons at the right."""
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.knobs, 1)
        for button in (self.button, self.stop_button):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignBottom)
        return row

    def _list_gpus(self, gpus: Sequence[GpuInfo]) -> None:
        if gpus == self._shown_gpus:
            return
        self._shown_gpus = gpus
        chosen = self.gpu.currentData()
        self.gpu.blockSignals(True)
        self.gpu.clear()
        for gpu in gpus:
            self.gpu.addItem(gpu.name, gpu.id)
        self.gpu.setCurrentIndex(max(self.gpu.findData(chosen), 0))
        self.gpu.blockSignals(False)

    def _show(self, live: LiveRun | None) -> None:
        """Give ``live`` the room below, and the fields what it was started with."""
        self._shown = live
        self.view.clear()
        if live is not None and live.run is not None:
            self._fill_in(live.run)

    def _choose(self, live: LiveRun) -> None:
        """Somebody wants to see another run."""
        self._show(live)
        self.refresh()

    def _fill_in(self, run: Run) -> None:
        self.load.setCurrentIndex(self.load.findData(run.workload))
        self.gpu.setCurrentIndex(self.gpu.findData(run.gpu))
        self.profile.setCurrentIndex(self.profile.findData(run.profile))
        self.seconds.setValue(round(run.seconds))
        self._show_knobs()
        self.knobs.set_values(run.knobs)

    def _show_knobs(self) -> None:
        is_cpu = self.gpu.currentData() == CPU_ID
        self.knobs.show_knobs(WORKLOAD_BY_NAME[self.load.currentData()], is_cpu=is_cpu)

    def _run(self, seconds: float) -> Run | None:
        gpu_id = self.gpu.currentData()
        if not gpu_id:
            return None
        self._show_knobs()
        return Run(
            self.load.currentData(),
            gpu_id,
            seconds,
            knobs=self.knobs.values(),
            profile=self.profile.currentData(),
        )

    def _ask_policy(self) -> None:
        """Bound the duration and show the decision; asked again only for another question."""
        question = (
            self.load.currentData(),
            self.gpu.currentData(),
            self.seconds.value(),
            self.store.policy,
        )
        if question == self._asked:
            return
        self._summary.set_text(WORKLOAD_BY_NAME[self.load.currentData()].summary)
        longest = self._run(_MOST_SECONDS)
        bound = self.store.decide(longest) if longest else None
        if bound is not None and bound.verb is not Verb.DENY:
            self.seconds.setMaximum(bound.values["max_seconds"])
        run = self._run(self.seconds.value())
        self._decision = self.store.decide(run) if run else None
        self._asked = (*question[:2], self.seconds.value(), self.store.policy)
        self._show_decision()
        self._show_locks()

    def _show_locks(self) -> None:
        """A padlock wherever policy bounds what can be chosen."""
        policy = self.store.policy
        self.loads_lock.show_policy(policy)
        self.seconds_lock.show_policy(policy)
        mines = WORKLOAD_BY_NAME[self.load.currentData()].family is Family.MINING
        self.cap_lock.show_policy(policy, matters=mines)

    def _show_decision(self) -> None:
        decision = self._decision
        if decision is None:
            waiting = self.tr(
                "Waiting for the agent: it tells which GPUs and which policy there are."
            )
            self._verdict.set_text(waiting)
            self._verdict.set_tone(Tone.SECONDARY)
            return
        tones = {Verb.ALLOW: Tone.SECONDARY, Verb.CLAMP: Tone.WARN, Verb.DENY: Tone.ERROR}
        self._verdict.set_text(fmt.sentence(decision.reason))
        self._verdict.set_tone(tones[decision.verb])

    def _show_buttons(self) -> None:
        runs = self.store.runs
        run = self._run(self.seconds.value())
        allowed = self._decision is not None and self._decision.verb is not Verb.DENY
        has_room = run is not None and runs.has_room(run)
        self.button.setText(self.tr("&Start beside") if runs.active else self.tr("&Start"))
        self.button.setEnabled(allowed and has_room)
        self.button.setDefault(not runs.active)
        why = ""
        if not allowed and self._decision is not None:
            why = fmt.sentence(self._decision.reason)
        elif not has_room:
            why = self.tr("This load already runs on this GPU.")
        self.button.setToolTip(why)
        self.button.setAccessibleDescription(why)
        stoppable = any(live.active and live.phase is not Phase.STOPPING for live in runs.all)
        self.stop_button.setText(self.tr("S&top all") if len(runs.all) > 1 else self.tr("S&top"))
        self.stop_button.setVisible(runs.active)
        self.stop_button.setDefault(runs.active)
        self.stop_button.setEnabled(stoppable)

    def _chosen(self) -> None:
        self._ask_policy()
        self._show_buttons()

    def _start(self) -> None:
        run = self._run(self.seconds.value())
        if run is not None and self.store.start_run(run) is not None:
            self.stop_button.setFocus()

    def _save_report(self) -> None:
        record = self._shown.record if self._shown is not None else None
        if record is None:
            return
        from gpupanel.stress.report.files import FORMS, write_report

        kinds = ";;".join(f"{form[1:].upper()} (*{form})" for form in FORMS)
        name = f"{record.run.workload}.html"
        chosen, kind = QFileDialog.getSaveFileName(self, self.tr("Save report"), name, kinds)
        if not chosen:
            return
        path = Path(chosen)
        if path.suffix.lower() not in FORMS:
            path = path.with_name(f"{path.name}.{kind.partition(' ')[0].lower()}")
        try:
            write_report(path, record)
        except OSError as reason:
            QMessageBox.warning(self, self.tr("Save report"), str(reason))

    def _follow_frames(self) -> None:
        wanted = self.isVisible() and self._shown is not None and self._shown.active
        if wanted and not self._frame_timer.isActive():
            self._frame_timer.start()
        elif not wanted:
            self._frame_timer.stop()

    def _show_frame(self) -> None:
        frame = self._shown.frame() if self._shown is not None else None
        if frame is not None:
            self.view.show_frame(frame)

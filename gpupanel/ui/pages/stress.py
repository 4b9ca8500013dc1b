"""Stress test: choose a GPU and a load, see what policy allows, run it, see what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QGridLayout, QStackedWidget, QVBoxLayout

from gpupanel.model.decision import Decision, Verb
from gpupanel.model.gpu import GpuInfo
from gpupanel.model.workload import Run
from gpupanel.stress.catalog import WORKLOAD_BY_NAME, WORKLOADS
from gpupanel.ui import format as fmt
from gpupanel.ui.pages.base import Page
from gpupanel.ui.runs import Phase
from gpupanel.ui.store import Store
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.controls import Button, Choice, NumberField
from gpupanel.ui.widgets.run_view import RunView
from gpupanel.ui.widgets.state_view import StateView
from gpupanel.ui.widgets.text import Text

if TYPE_CHECKING:
    from PySide6.QtGui import QHideEvent, QShowEvent

_FRAME_MS = 100
_DEFAULT_SECONDS = 60
_MOST_SECONDS = 24 * 3600


class StressPage(Page):
    """One run at a time; stopping it is always one key away."""

    def __init__(self, store: Store, title: str) -> None:
        super().__init__(store, title)
        self._shown_gpus: Sequence[GpuInfo] | None = None
        self._asked: tuple[object, ...] | None = None
        self._decision: Decision | None = None
        self._filled_for: Run | None = None
        self._make_fields()
        self.add(self._make_setup())
        self._idle = StateView(
            "stress",
            self.tr("No run yet"),
            self.tr("Choose a load and press Start. Its results are checked while it runs."),
        )
        self.view = RunView()
        self._stack = QStackedWidget()
        self._stack.addWidget(self._idle)
        self._stack.addWidget(self.view)
        self.add(self._stack, 1)
        self._frame_timer = QTimer(self, interval=_FRAME_MS)
        self._frame_timer.timeout.connect(self._show_frame)

    def refresh(self) -> None:
        """Fields, decision and run."""
        live = self.store.live_run
        self._list_gpus(self.store.gpus or ())
        if live.active and live.run is not None and live.run is not self._filled_for:
            self._fill_in(live.run)
        self._ask_policy()
        for field in (self.gpu, self.load, self.seconds):
            field.setEnabled(not live.active)
        self._show_button()
        self._stack.setCurrentWidget(self._idle if live.run is None else self.view)
        if live.run is not None:
            self.view.show_run(live, live.run)
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
        self.seconds = NumberField()
        self.seconds.setRange(1, _MOST_SECONDS)
        self.seconds.setValue(_DEFAULT_SECONDS)
        self.seconds.setSuffix("\u00a0s")
        self.button = Button(self.tr("&Start"))
        self.button.setDefault(True)
        self.load.currentIndexChanged.connect(self._chosen)
        self.gpu.currentIndexChanged.connect(self._chosen)
        self.seconds.valueChanged.connect(self._chosen)
        self.button.clicked.connect(self._start_or_stop)

    def _make_setup(self) -> Card:
        self._summary = Text(tone=Tone.SECONDARY, wrap=True)
        self._verdict = Text(tone=Tone.SECONDARY, wrap=True)
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(4)
        for column, (label, field) in enumerate(
            (
                (self.tr("&GPU"), self.gpu),
                (self.tr("&Load"), self.load),
                (self.tr("&Duration"), self.seconds),
            )
        ):
            title = Text(label, tone=Tone.SECONDARY, size_px=SMALL_PX)
            title.setBuddy(field)
            field.setAccessibleName(label.replace("&", ""))
            grid.addWidget(title, 0, column)
            grid.addWidget(field, 1, column)
        self.button.setMinimumWidth(112)
        grid.addWidget(self.button, 1, 3)
        grid.setColumnStretch(0, 3)
        grid.setColumnStretch(1, 3)
        grid.setColumnStretch(2, 1)
        words = QVBoxLayout()
        words.setSpacing(4)
        words.addWidget(self._summary)
        words.addWidget(self._verdict)
        card = Card()
        card.body.addLayout(grid)
        card.body.addLayout(words)
        return card

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

    def _fill_in(self, run: Run) -> None:
        """Show what runs, whoever started it."""
        self._filled_for = run
        self.load.setCurrentIndex(self.load.findData(run.workload))
        self.gpu.setCurrentIndex(self.gpu.findData(run.gpu))
        self.seconds.setValue(round(run.seconds))

    def _run(self, seconds: float) -> Run | None:
        gpu_id = self.gpu.currentData()
        return Run(self.load.currentData(), gpu_id, seconds) if gpu_id else None

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

    def _show_button(self) -> None:
        live = self.store.live_run
        self.button.setText(self.tr("&Stop") if live.active else self.tr("&Start"))
        allowed = self._decision is not None and self._decision.verb is not Verb.DENY
        self.button.setEnabled(live.phase is not Phase.STOPPING if live.active else allowed)
        refused = self._decision is not None and not allowed and not live.active
        why = fmt.sentence(self._decision.reason) if refused and self._decision else ""
        self.button.setToolTip(why)
        self.button.setAccessibleDescription(why)

    def _chosen(self) -> None:
        if not self.store.live_run.active:
            self._ask_policy()
            self._show_button()

    def _start_or_stop(self) -> None:
        if self.store.live_run.active:
            self.store.live_run.stop()
            return
        run = self._run(self.seconds.value())
        if run is not None:
            self.view.clear()
            self.store.start_run(run)

    def _follow_frames(self) -> None:
        wanted = self.isVisible() and self.store.live_run.active
        if wanted and not self._frame_timer.isActive():
            self._frame_timer.start()
        elif not wanted:
            self._frame_timer.stop()

    def _show_frame(self) -> None:
        frame = self.store.live_run.frame()
        if frame is not None:
            self.view.show_frame(frame)

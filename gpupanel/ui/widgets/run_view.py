"""A run as it happens and as it ended: rate, chart, picture, facts, or what went wrong."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, Qt, Signal
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.model.workload import Failed, Finished, Run, Started
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.report.published import published_for
from gpupanel.stress.report.verdict import STABLE_PERCENT
from gpupanel.ui import format as fmt
from gpupanel.ui.runs import Frame, LiveRun, Phase
from gpupanel.ui.theme import ROLES, SMALL_PX, Tone, fixed_font
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.chart import RateChart
from gpupanel.ui.widgets.controls import Button, Meter, ThinScrollBar
from gpupanel.ui.widgets.facts import Fact, ReadingFacts
from gpupanel.ui.widgets.frame_view import FrameView
from gpupanel.ui.widgets.limit_bars import Bar, LimitBars
from gpupanel.ui.widgets.text import ElidedText, Text

translate = QCoreApplication.translate

_MOST_FAULTS = 3
"""So many stand on the page; the report has them all."""

STOP_REASONS = {
    "time": (QT_TRANSLATE_NOOP("StopReasons", "Completed"), Tone.OK),
    "stopped": (QT_TRANSLATE_NOOP("StopReasons", "Stopped by you"), Tone.SECONDARY),
    "temperature": (QT_TRANSLATE_NOOP("StopReasons", "Stopped: too hot"), Tone.WARN),
    "power": (QT_TRANSLATE_NOOP("StopReasons", "Stopped: more power than allowed"), Tone.WARN),
    "fan": (QT_TRANSLATE_NOOP("StopReasons", "Stopped: the fan stands still"), Tone.WARN),
    "sensor_lost": (QT_TRANSLATE_NOOP("StopReasons", "Stopped: no temperature"), Tone.WARN),
    "policy": (QT_TRANSLATE_NOOP("StopReasons", "Stopped by policy"), Tone.WARN),
}


class RunView(Card):
    """Fed with the live run on each change.

    Signals:
        save_wanted(): Keep the run as a file.
    """

    save_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._title = ElidedText(size_px=14, bold=True)
        self._phase = Text(tone=Tone.SECONDARY, size_px=SMALL_PX)
        head = QHBoxLayout()
        head.addWidget(self._title, 1)
        head.addWidget(self._phase)
        self.save = Button(self.tr("Save &report…"))
        self.save.clicked.connect(self.save_wanted)
        head.addWidget(self.save)
        self.body.addLayout(head)
        self._number = Text(fmt.UNKNOWN, size_px=40, bold=True)
        self._unit = Text(size_px=16, tone=Tone.SECONDARY)
        self._against = Text(size_px=SMALL_PX, tone=Tone.SECONDARY)
        self._meter = Meter()
        self._chart = RateChart(self.tr("Rate over the run"))
        self._picture = FrameView(self.tr("Picture of the running scene"))
        self._picture.hide()
        self._bars = LimitBars(self.tr("Rates beside the limit"))
        self._readings = ReadingFacts()
        self._faults = Text(tone=Tone.ERROR, size_px=SMALL_PX, wrap=True)
        self._notes = Text(tone=Tone.SECONDARY, size_px=SMALL_PX, wrap=True)
        self._live = self._make_live()
        self._failure = self._make_failure()
        self.body.addWidget(self._live, 1)
        self.body.addWidget(self._failure, 1)

    def clear(self) -> None:
        """Before another run is shown: no picture."""
        self._picture.clear()
        self._picture.hide()

    def show_frame(self, frame: Frame) -> None:
        """The latest picture of a gaming load."""
        self._picture.show_frame(*frame)
        self._picture.show()

    def show_run(self, live: LiveRun, run: Run) -> None:
        """Everything that is known of ``run``, which is live or was the last one."""
        workload = WORKLOAD_BY_NAME[run.workload]
        latest = live.finished or live.progress
        family = fmt.family_name(workload.family)
        on_gpu = f" · {live.gpu.name}" if live.gpu else ""
        self._title.set_text(f"{family} · {workload.title}{on_gpu}")
        self._show_phase(live, run)
        self._show_rate(live, run, workload.unit)
        self._show_facts(live, run, workload.unit)
        self._bars.set_bars(_rate_bars(live, run), lambda rate: str(fmt.rate(rate, workload.unit)))
        self._readings.show_readings(workload, latest.readings if latest is not None else {})
        self._show_faults(live)
        self.save.setVisible(live.record is not None)
        if live.phase is Phase.PREPARING:
            self._picture.hide()
        self._show_notes(live.started)
        failed = live.failed
        self._failure.setVisible(failed is not None)
        self._live.setVisible(failed is None)
        if failed is not None:
            self._show_failure(failed)

    def _show_notes(self, started: Started | None) -> None:
        self._notes.setVisible(started is not None)
        if started is not None:
            device = f"OpenCL: {started.device}"
            self._notes.set_text(" · ".join((*started.notes, device)))

    def _make_live(self) -> QWidget:
        pair = QHBoxLayout()
        pair.setSpacing(16)
        pair.addWidget(self._chart, 2)
        pair.addWidget(self._picture, 3)
        part = QWidget()
        column = QVBoxLayout(part)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addLayout(self._make_rate_row())
        column.addWidget(self._meter)
        column.addLayout(pair, 1)
        column.addWidget(self._bars)
        column.addLayout(self._make_facts())
        column.addWidget(self._readings)
        column.addWidget(self._faults)
        column.addWidget(self._notes)
        return part

    def _make_failure(self) -> QWidget:
        """What happened and what to do; the compiler's log below, to be copied."""
        self._failure_text = Text(wrap=True)
        self._failure_details = Text(tone=Tone.SECONDARY, size_px=SMALL_PX, wrap=True)
        self._failure_details.setFont(fixed_font(SMALL_PX))
        for label in (self._failure_text, self._failure_details):
            label.setTextInteractionFlags(
                Qt.TextInteractionFlag.TextSelectableByMouse
                | Qt.TextInteractionFlag.TextSelectableByKeyboard
            )
            label.setAlignment(Qt.AlignmentFlag.AlignTop)
        copy = Button(self.tr("&Copy details"))
        copy.clicked.connect(self._copy_failure)
        part = QWidget()
        column = QVBoxLayout(part)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self._failure_text)
        column.addWidget(self._scrolled(self._failure_details), 1)
        column.addWidget(copy, 0, Qt.AlignmentFlag.AlignLeft)
        return part

    @staticmethod
    def _scrolled(label: Text) -> QScrollArea:
        area = QScrollArea()
        area.setWidget(label)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical))
        area.viewport().setBackgroundRole(ROLES[Tone.SURFACE])
        label.setBackgroundRole(ROLES[Tone.SURFACE])
        return area

    def _copy_failure(self) -> None:
        whole = f"{self._failure_text.text()}\n{self._failure_details.text()}".strip()
        QApplication.clipboard().setText(whole)

    def _make_rate_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        bottom = Qt.AlignmentFlag.AlignBottom
        self._unit.setContentsMargins(0, 0, 0, 7)
        self._against.setContentsMargins(0, 0, 0, 8)
        row.addWidget(self._number, 0, bottom)
        row.addWidget(self._unit, 0, bottom)
        row.addStretch(1)
        row.addWidget(self._against, 0, bottom)
        return row

    def _make_facts(self) -> QHBoxLayout:
        self._elapsed = Fact(self.tr("Time"))
        self._work = Fact(self.tr("Work done"))
        self._verified = Fact(self.tr("Results verified"))
        self._errors = Fact(self.tr("Errors"))
        self._efficiency = Fact(self.tr("Efficiency / cap"))
        self._share = Fact(self.tr("Share of device limit"))
        self._stability = Fact(self.tr("Slowest / fastest 5 s"))
        self._energy = Fact(self.tr("Energy"))
        row = QHBoxLayout()
        row.setSpacing(16)
        for fact in (
            self._elapsed, self._work, self._verified, self._errors,
            self._efficiency, self._share, self._stability, self._energy,
        ):  # fmt: skip
            row.addWidget(fact, 1)
        return row

    def _show_phase(self, live: LiveRun, run: Run) -> None:
        """In words, at the right end of the head; and the bar."""
        fraction, text, tone = 0.0, "", Tone.SECONDARY
        if live.phase is Phase.PREPARING:
            text = self.tr("Preparing…")
            if live.preparing is not None:
                fraction = live.preparing.fraction
                text = self.tr("Preparing: {0}").format(live.preparing.step)
        elif live.active:
            fraction = live.progress.seconds / run.seconds if live.progress else 0.0
            stopping = live.phase is Phase.STOPPING
            text, tone = (self.tr("Stopping…"), tone) if stopping else (self.tr("Running"), Tone.OK)
        elif live.finished is not None:
            fraction = 1.0
            words, tone = STOP_REASONS.get(live.finished.stop_reason, ("", Tone.SECONDARY))
            text = translate("StopReasons", words) or live.finished.stop_reason
        elif live.failed is not None:
            text, tone = self.tr("Failed"), Tone.ERROR
        self._meter.set_fraction(fraction)
        self._phase.set_text(text)
        self._phase.set_tone(tone)

    def _show_rate(self, live: LiveRun, run: Run, unit: str) -> None:
        latest = live.finished or live.progress
        number, unit_text = fmt.rate(latest.work_per_s, unit) if latest else (fmt.UNKNOWN, "")
        self._number.set_text(number)
        self._unit.set_text(unit_text)
        capped = run.cap_percent < 100
        reference, against = None, ""
        if latest is not None and capped:
            uncapped = latest.uncapped_work_per_s
            words = self.tr("uncapped {0}").format(fmt.rate(uncapped, unit))
            cap = fmt.percent(run.cap_percent)
            against = self.tr("Capped at {0} by policy · {1}").format(cap, words)
            reference = (uncapped, words)
        self._against.set_text(against)
        self._against.set_tone(Tone.WARN)
        self._chart.set_series(
            live.rates, run.seconds, lambda rate: str(fmt.rate(rate, unit)), reference
        )

    def _show_facts(self, live: LiveRun, run: Run, unit: str) -> None:
        latest = live.finished or live.progress
        limit = fmt.duration(run.seconds)
        if latest is None:
            self._elapsed.set_value(f"0:00 / {limit}")
            for fact in (self._work, self._verified, self._errors):
                fact.set_value(fmt.UNKNOWN)
        else:
            checks = latest.checks if isinstance(latest, Finished) else latest.verified
            self._elapsed.set_value(f"{fmt.duration(latest.seconds + 0.05)} / {limit}")
            self._work.set_value(str(fmt.amount(latest.work, unit)))
            self._verified.set_value(fmt.number(checks, 0), Tone.OK if checks else Tone.TEXT)
            bad = Tone.ERROR if latest.errors else Tone.TEXT
            self._errors.set_value(fmt.number(latest.errors, 0), bad)
        self._show_efficiency(live, run.cap_percent)
        self._show_share(live)
        self._show_result(live.finished)

    def _show_efficiency(self, live: LiveRun, cap: int) -> None:
        latest = live.finished or live.progress
        share = fmt.UNKNOWN
        if latest is not None and latest.uncapped_work_per_s > 0:
            # Over the run: within one second a cap is a burst and a rest.
            mean_per_s = latest.work / latest.seconds
            share = fmt.percent(100 * mean_per_s / latest.uncapped_work_per_s)
        if cap < 100:
            self._efficiency.set_value(f"{share} / {fmt.percent(cap)}", Tone.WARN)
        else:
            self._efficiency.set_value(self.tr("No cap"))

    def _show_share(self, live: LiveRun) -> None:
        """Of what the device was measured to do just before the run; not there if it was not."""
        latest, started = live.finished or live.progress, live.started
        limit_per_s = started.limit_per_s if started is not None else None
        self._share.setVisible(latest is not None and limit_per_s is not None)
        if latest is not None and limit_per_s is not None:
            self._share.set_value(fmt.percent(100 * latest.uncapped_work_per_s / limit_per_s))

    def _show_result(self, finished: Finished | None) -> None:
        """What is known at the end only, and where it could be measured; else not there."""
        energy_j = finished.energy_j if finished else None
        stability = finished.stability_percent if finished else None
        self._energy.setVisible(energy_j is not None)
        self._stability.setVisible(stability is not None)
        if energy_j is not None:
            self._energy.set_value(str(fmt.energy(energy_j)))
        if stability is not None:
            steady = stability >= STABLE_PERCENT
            self._stability.set_value(fmt.percent(stability), Tone.OK if steady else Tone.WARN)

    def _show_faults(self, live: LiveRun) -> None:
        latest = live.finished or live.progress
        faults = latest.faults if latest is not None else ()
        self._faults.setVisible(bool(faults))
        self._faults.set_text("\n".join(faults[:_MOST_FAULTS]))

    def _show_failure(self, failed: Failed) -> None:
        first, _, rest = failed.reason.partition("\n")
        self._failure_text.set_text(first)
        self._failure_details.set_text(rest.strip())
        self._failure_details.setVisible(bool(rest.strip()))


def _rate_bars(live: LiveRun, run: Run) -> list[Bar]:
    """The mean rate so far beside the full speed, the limit, and what others published."""
    latest, started = live.finished or live.progress, live.started
    if latest is None or started is None or latest.seconds == 0:
        return []
    bars = [Bar(translate("RateBars", "Measured"), latest.work / latest.seconds, Tone.ACCENT)]
    if run.cap_percent < 100:
        full = translate("RateBars", "While it may work")
        bars.append(Bar(full, latest.uncapped_work_per_s, Tone.WARN))
    if started.limit_per_s is not None:
        limit = translate("RateBars", "Limit of this device")
        bars.append(Bar(limit, started.limit_per_s, Tone.SECONDARY))
    published = published_for(live.gpu.name, run.workload) if live.gpu else None
    if published is not None and published.hash_per_s:
        others = translate("RateBars", "Published for this card")
        bars.append(Bar(others, published.hash_per_s, Tone.BORDER))
    if published is not None and published.lhr_hash_per_s:
        limited = translate("RateBars", "With NVIDIA's limiter")
        bars.append(Bar(limited, published.lhr_hash_per_s, Tone.BORDER))
    return bars

"""Why one process is thought to mine or not: every line of evidence, and the user's word on it."""

from __future__ import annotations

from collections.abc import Mapping
from time import time

from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtWidgets import QHBoxLayout

from gpupanel.model.gpu import ProcessSample
from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.model.verdict import Evidence, EvidenceFamily, ProcessClass, Standing, Verdict
from gpupanel.ui import format as fmt
from gpupanel.ui.holds import ProcessKey
from gpupanel.ui.store import Store
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.holds.block import HoldBlock
from gpupanel.ui.widgets.holds.objection import Objection
from gpupanel.ui.widgets.table import Cell, Table
from gpupanel.ui.widgets.text import Text

translate = QCoreApplication.translate

_CLASSES: Mapping[ProcessClass, str] = {
    ProcessClass.MINING: QT_TRANSLATE_NOOP("ProcessClasses", "Mining"),
    ProcessClass.AI: QT_TRANSLATE_NOOP("ProcessClasses", "AI"),
    ProcessClass.GAMING: QT_TRANSLATE_NOOP("ProcessClasses", "Game"),
    ProcessClass.RENDERING: QT_TRANSLATE_NOOP("ProcessClasses", "Rendering"),
    ProcessClass.MEDIA: QT_TRANSLATE_NOOP("ProcessClasses", "Video"),
    ProcessClass.COMPUTE: QT_TRANSLATE_NOOP("ProcessClasses", "Science"),
    ProcessClass.HASHING: QT_TRANSLATE_NOOP("ProcessClasses", "Hashing"),
    ProcessClass.GRAPHICS: QT_TRANSLATE_NOOP("ProcessClasses", "Graphics"),
    ProcessClass.DESKTOP: QT_TRANSLATE_NOOP("ProcessClasses", "Desktop"),
    ProcessClass.TEST: QT_TRANSLATE_NOOP("ProcessClasses", "Test"),
    ProcessClass.UNKNOWN: QT_TRANSLATE_NOOP("ProcessClasses", "Not told"),
}
_STANDINGS: Mapping[Standing, str] = {
    Standing.CLEAR: QT_TRANSLATE_NOOP("Standings", "Clear"),
    Standing.SUSPECTED: QT_TRANSLATE_NOOP("Standings", "Suspected"),
    Standing.MINING: QT_TRANSLATE_NOOP("Standings", "Mining"),
    Standing.EXCUSED: QT_TRANSLATE_NOOP("Standings", "Excused"),
    Standing.OWN: QT_TRANSLATE_NOOP("Standings", "Own load"),
}
STANDING_TONES: Mapping[Standing, Tone] = {
    Standing.CLEAR: Tone.SECONDARY,
    Standing.SUSPECTED: Tone.WARN,
    Standing.MINING: Tone.ERROR,
    Standing.EXCUSED: Tone.SECONDARY,
    Standing.OWN: Tone.ACCENT,
}
_FAMILIES: Mapping[EvidenceFamily, str] = {
    EvidenceFamily.PROCESS: QT_TRANSLATE_NOOP("EvidenceFamilies", "Program"),
    EvidenceFamily.NETWORK: QT_TRANSLATE_NOOP("EvidenceFamilies", "Network"),
    EvidenceFamily.FILES: QT_TRANSLATE_NOOP("EvidenceFamilies", "Files"),
    EvidenceFamily.TELEMETRY: QT_TRANSLATE_NOOP("EvidenceFamilies", "GPU use"),
    EvidenceFamily.BENIGN: QT_TRANSLATE_NOOP("EvidenceFamilies", "Against"),
}
_MOST_LINES = 6


def class_text(verdict: Verdict) -> str:
    """What a process uses a GPU for, in the reader's language."""
    return translate("ProcessClasses", _CLASSES[verdict.process_class])


def standing_text(verdict: Verdict) -> str:
    """What follows from the evidence, in the reader's language."""
    return translate("Standings", _STANDINGS[verdict.standing])


class EvidenceCard(Card):
    """Below the table of processes; there only while one of them is selected.

    Signals:
        place_wanted(str, object): As of a page.
        help_wanted(str, str): As of a page.
    """

    place_wanted = Signal(str, object)
    help_wanted = Signal(str, str)

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._key: ProcessKey | None = None
        self._asked_for: Verdict | None = None
        self._title = Text(bold=True)
        self._sentence = Text(tone=Tone.SECONDARY, size_px=SMALL_PX, wrap=True)
        self.objection = Objection(store.holds, self, self.tr("It does not &mine"))
        self.held = HoldBlock(store)
        self.held.key_wanted.connect(lambda key: self.place_wanted.emit("policy", key))
        self.held.help_wanted.connect(lambda case: self.help_wanted.emit("held", case))
        columns = [self.tr("Evidence"), self.tr("Kind"), self.tr("Read from"), self.tr("Weight")]
        self.table = Table(self.tr("Evidence"), columns, (520, 92, 140), _MOST_LINES)
        head = QHBoxLayout()
        head.addWidget(self._title)
        head.addStretch(1)
        head.addWidget(self.held.why)
        head.addWidget(self.objection.button)
        self.body.addLayout(head)
        self.body.addWidget(self.objection.question)
        self.body.addWidget(self.held)
        self.body.addWidget(self._sentence)
        self.body.addWidget(self.table)
        self.hide()

    def show_process(self, process: ProcessSample | None) -> None:
        """What is known of ``process`` now; asks for more where its verdict is another one."""
        self.setVisible(process is not None)
        if process is None:
            self._key = self._asked_for = None
            return
        key = process.pid, process.started
        if key != self._key or process.verdict != self._asked_for:
            self._key, self._asked_for = key, process.verdict
            self._store.explain(key)
        explained = self._store.explained
        verdict = explained[1] if explained and explained[0] == key else ""
        self._title.set_text(self.tr("{0} (PID {1})").format(process.name, process.pid))
        self._show_hold(key, verdict)
        self._show_verdict(verdict)

    def _show_hold(self, key: ProcessKey, verdict: Verdict | str) -> None:
        hold = self._store.holds.of(key)
        self.held.show_hold(hold, time())
        may_object = isinstance(verdict, Verdict) and verdict.may_object
        may_release = hold is not None and hold.may_release
        self.objection.show_process(key, is_possible=may_object or may_release)

    def _show_verdict(self, verdict: Verdict | str) -> None:
        lines = verdict.evidence if isinstance(verdict, Verdict) else ()
        self.table.setVisible(bool(lines))
        if isinstance(verdict, str):
            self._sentence.set_text(fmt.sentence(verdict))
            return
        self._sentence.set_text(self._summary(verdict))
        self.table.set_rows([_row(line) for line in verdict.evidence])

    def _summary(self, verdict: Verdict) -> str:
        """One or two sentences above the lines."""
        sentences = [
            self.tr("{0}, probability of mining {1}.").format(
                standing_text(verdict), fmt.probability(verdict.posterior)
            )
        ]
        if verdict.protected:
            sentences.append(self.tr("Never held: {0}.").format(verdict.protected))
        if not verdict.evidence:
            sentences.append(self.tr("Nothing speaks for mining or against it."))
        return " ".join(sentences)


def _row(line: Evidence) -> tuple[Cell, ...]:
    tone = Tone.TEXT if line.weight_nats > 0 else Tone.SECONDARY
    return (
        Cell(fmt.sentence(line.text), tone),
        Cell(translate("EvidenceFamilies", _FAMILIES[line.family]), Tone.SECONDARY),
        Cell(line.source.value, Tone.SECONDARY),
        Cell(f"{line.weight_nats:+.1f}".replace("-", "\N{MINUS SIGN}"), tone),
    )

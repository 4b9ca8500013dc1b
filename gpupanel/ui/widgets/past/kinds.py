"""EVENT_KINDS, the one table of how events look and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPolygonF

from gpupanel.model.event import EventRecord
from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.ui.theme import Tone


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind; its shape says what its tone says, for those who do not see colours."""

    label: str
    tone: Tone


EVENT_KINDS: Mapping[str, EventKind] = {
    "xid": EventKind(QT_TRANSLATE_NOOP("Events", "Driver error (Xid)"), Tone.ERROR),
    "ecc": EventKind(QT_TRANSLATE_NOOP("Events", "Memory error (ECC)"), Tone.ERROR),
    "lost": EventKind(QT_TRANSLATE_NOOP("Events", "Lost"), Tone.ERROR),
    "throttle": EventKind(QT_TRANSLATE_NOOP("Events", "Slowed down"), Tone.WARN),
    "clock": EventKind(QT_TRANSLATE_NOOP("Events", "Clock change"), Tone.SECONDARY),
    "recovered": EventKind(QT_TRANSLATE_NOOP("Events", "Answers again"), Tone.OK),
    "appeared": EventKind(QT_TRANSLATE_NOOP("Events", "Appeared"), Tone.OK),
    "removed": EventKind(QT_TRANSLATE_NOOP("Events", "Removed"), Tone.WARN),
    "asleep": EventKind(QT_TRANSLATE_NOOP("Events", "Fell asleep"), Tone.SECONDARY),
    "awake": EventKind(QT_TRANSLATE_NOOP("Events", "Woke up"), Tone.SECONDARY),
    "run": EventKind(QT_TRANSLATE_NOOP("Events", "Stress test"), Tone.ACCENT),
    "policy": EventKind(QT_TRANSLATE_NOOP("Events", "Policy"), Tone.ACCENT),
    "mining": EventKind(QT_TRANSLATE_NOOP("Events", "Mining"), Tone.WARN),
    "other": EventKind(QT_TRANSLATE_NOOP("Events", "Other"), Tone.SECONDARY),
    "history": EventKind(QT_TRANSLATE_NOOP("Events", "History"), Tone.WARN),
}


def label_of(event: EventRecord) -> str:
    """In the reader's language; a kind of another version keeps its word."""
    kind = EVENT_KINDS.get(event.kind)
    return QCoreApplication.translate("Events", kind.label) if kind else event.kind


def tone_of(event: EventRecord) -> Tone:
    """How bad it is."""
    kind = EVENT_KINDS.get(event.kind)
    return kind.tone if kind else Tone.SECONDARY


def draw_mark(painter: QPainter, centre: QPointF, tone: Tone, fill: QColor) -> None:
    """A triangle for faults, a diamond for warnings, a dot for the rest."""
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(fill)
    if tone is Tone.ERROR:
        corners = [QPointF(0, -5), QPointF(5.5, 4.5), QPointF(-5.5, 4.5)]
    elif tone is Tone.WARN:
        corners = [QPointF(0, -5), QPointF(5, 0), QPointF(0, 5), QPointF(-5, 0)]
    else:
        painter.drawEllipse(centre, 3.5, 3.5)
        return
    painter.drawPolygon(QPolygonF([centre + corner for corner in corners]))

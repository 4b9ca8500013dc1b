"""What is in force: a row for each key below its group, a filter, and one key in full."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gpupanel import paths
from gpupanel.policy.claims import Level, Source
from gpupanel.policy.explain import explain
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.resolve import EffectivePolicy, Setting
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card, framed
from gpupanel.ui.widgets.fields import LineField
from gpupanel.ui.widgets.policy.details import ScrolledDetails
from gpupanel.ui.widgets.policy.words import (
    help_text,
    is_in_vain,
    label_text,
    level_text,
    place_text,
    value_text,
)
from gpupanel.ui.widgets.table import Cell, Table
from gpupanel.ui.widgets.text import Text

if TYPE_CHECKING:
    from PySide6.QtCore import QModelIndex

_DETAILS_PX = 212
_LEAST_DETAILS_PX = 96
_MOST_ROWS = 40
_BLANKS = (Cell(""),) * 4


class EffectiveView(QWidget):
    """Read only; the key that is selected stays so when another policy comes.

    Attributes:
        head: The filter and how many keys it leaves, for its owner to place.
    """

    def __init__(self) -> None:
        super().__init__()
        self._policy: EffectivePolicy | None = None
        self._names: list[Hashable] = []
        self._key = POLICY_KEYS[0].name
        self.filter = LineField(self.tr("Filter"), 260)
        self.filter.setPlaceholderText(self.tr("Filter by key, value or file"))
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._show_rows)
        self._count = Text(tone=Tone.SECONDARY, size_px=SMALL_PX)
        columns = [self.tr(t) for t in ("Key", "Value", "Level", "Source", "Status")]
        name = self.tr("Effective policy")
        self.table = Table(name, columns, (252, 96, 104, 124), _MOST_ROWS)
        self.table.selectionModel().currentRowChanged.connect(self._chosen)
        self._details = ScrolledDetails(self.tr("Explanation of the selected key"))
        self._details.setMinimumHeight(_LEAST_DETAILS_PX)
        self._details.setMaximumHeight(_DETAILS_PX)
        details_card = Card()
        details_card.body.setContentsMargins(1, 1, 1, 1)
        details_card.body.addWidget(self._details)
        self.head = QWidget()
        head = QHBoxLayout(self.head)
        head.setContentsMargins(0, 0, 0, 0)
        head.setSpacing(12)
        head.addWidget(self._count)
        head.addWidget(self.filter)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(framed(self.table), 1)
        column.addWidget(details_card)

    def show_policy(self, policy: EffectivePolicy) -> None:
        """Show another policy."""
        self._policy = policy
        self._show_rows()
        self._explain()

    def select(self, key: str) -> None:
        """Select the row of ``key``, whatever the filter hides."""
        if key not in self._names:
            self.filter.clear()
        self.table.selectRow(self._names.index(key))

    def _show_rows(self) -> None:
        if self._policy is None:
            return
        wanted = self.filter.text().casefold().strip()
        rows: dict[Hashable, tuple[Cell, ...]] = {}
        shown = 0
        for key in POLICY_KEYS:
            row = self._row(self._policy.settings[key.name])
            words = (*(f"{cell.text}\n{cell.help}" for cell in row), key.group)
            if wanted in "\n".join(words).casefold().replace("\u00a0", " "):
                heading = (Cell(key.group, Tone.SECONDARY, is_heading=True), *_BLANKS)
                rows.setdefault(f"[{key.group}]", heading)
                rows[key.name] = row
                shown += 1
        self._names = list(rows)
        self.table.renew(rows)
        told = self.tr("{0} of {1} keys") if shown else self.tr("No key matches; {1} keys in all")
        self._count.set_text(told.format(shown, len(POLICY_KEYS)))

    def _chosen(self, current: QModelIndex) -> None:
        name = self._names[current.row()] if current.isValid() else None
        if name in POLICY_KEY_BY_NAME:
            self._key = str(name)
            self._explain()

    def _explain(self) -> None:
        if self._policy is not None:
            told = explain(self._policy, self._key, str(paths.user_policy_file()))
            self._details.details.show_explanation(told)

    def _row(self, setting: Setting) -> tuple[Cell, ...]:
        key = POLICY_KEY_BY_NAME[setting.key]
        quiet = Tone.SECONDARY if setting.source is None else Tone.TEXT
        return (
            Cell(setting.key, help=f"{label_text(key)}: {help_text(key)}"),
            Cell(value_text(setting.key, setting.value)),
            Cell(level_text(setting.level), quiet),
            self._source(setting.source),
            self._status(setting),
        )

    def _source(self, source: Source | None) -> Cell:
        """The name of the file is enough here; the whole way to it is in the help."""
        if source is None:
            return Cell(self.tr("Built in"), Tone.SECONDARY)
        whole = place_text(source)
        return Cell(re.split(r"[/\\]", whole)[-1], help=whole, is_path=True)

    def _status(self, setting: Setting) -> Cell:
        """Who holds it, and whether somebody said something else."""
        text, tone = self._hold(setting)
        why = "\n".join(
            f"{value_text(setting.key, one.value)} · {place_text(one.source)}: {one.why}"
            for one in setting.overridden
        )
        if is_in_vain(setting):
            text, tone = self.tr("{0}, yours is looser").format(text), Tone.WARN
        elif setting.overridden:
            losers = ", ".join(value_text(setting.key, one.value) for one in setting.overridden)
            text, tone = self.tr("{0}, overrides {1}").format(text, losers), Tone.WARN
        icon_name = "lock" if setting.is_locked else ""
        return Cell(text, tone, why and f"{text}\n{why}", icon_name=icon_name)

    def _hold(self, setting: Setting) -> tuple[str, Tone]:
        if setting.level is Level.USER:
            told = self.tr("Yours, tighter") if setting.is_locked else self.tr("Yours")
            return told, Tone.OK
        if setting.is_locked:
            return self.tr("Locked"), Tone.TEXT
        if setting.level is Level.RECOMMENDED:
            return self.tr("Recommended, you may change it"), Tone.TEXT
        return self.tr("Default"), Tone.SECONDARY

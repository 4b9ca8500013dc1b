"""Policy: what is in force, who says so, what was wrong with it, and what it decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from PySide6.QtCore import QCoreApplication

from gpupanel.model.decision import Diagnostic, Verb
from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.policy.claims import Level, Source
from gpupanel.policy.key import Value
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, Setting
from gpupanel.ui import format as fmt
from gpupanel.ui.pages.base import Page
from gpupanel.ui.store import DecisionRecord, Store
from gpupanel.ui.theme import Tone
from gpupanel.ui.widgets.banner import Banner
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.table import Cell, Table
from gpupanel.ui.widgets.text import Text

translate = QCoreApplication.translate

_LEVELS = {
    Level.MANDATORY: QT_TRANSLATE_NOOP("Levels", "Mandatory"),
    Level.RECOMMENDED: QT_TRANSLATE_NOOP("Levels", "Recommended"),
    Level.USER: QT_TRANSLATE_NOOP("Levels", "Yours"),
    Level.DEFAULT: QT_TRANSLATE_NOOP("Levels", "Default"),
    Level.CLOSED: QT_TRANSLATE_NOOP("Levels", "Closed"),
}
_VERB_TONES = {Verb.ALLOW: Tone.OK, Verb.CLAMP: Tone.WARN, Verb.DENY: Tone.ERROR}


class PolicyPage(Page):
    """Read only: nothing in the window writes policy."""

    def __init__(self, store: Store, title: str) -> None:
        super().__init__(store, title)
        self._shown: EffectivePolicy | None = None
        self._state = Banner(Tone.SECONDARY, icon_name="policy")
        self._state.set_text(self.tr("Waiting for the agent to read the policy…"))
        self.add(self._state)
        effective = [self.tr(t) for t in ("Key", "Value", "Source", "Level", "Status")]
        self._table = Table(self.tr("Effective policy"), effective, (228, 144, 272, 116), 12)
        self.add(_framed(self._table))
        self._faults_title = Text(self.tr("Faults in policy files"), size_px=14, bold=True)
        where = [self.tr("Where"), self.tr("Severity"), self.tr("Fault")]
        self._faults = Table(self.tr("Faults in policy files"), where, (288, 84), 4, lines=2)
        self._faults_card = _framed(self._faults)
        self.add(self._faults_title)
        self.add(self._faults_card)
        self.add(Text(self.tr("Last decisions"), size_px=14, bold=True))
        what = [self.tr("Time"), self.tr("Subject"), self.tr("Reason")]
        self._decisions = Table(self.tr("Last decisions"), what, (84, 288), 4, lines=2)
        self._decisions_card = _framed(self._decisions)
        self._none_yet = Text(
            self.tr("No decision since this window was opened."), tone=Tone.SECONDARY
        )
        self.add(self._decisions_card)
        self.add(self._none_yet)
        self.body.addStretch(1)
        self._show_faults(())

    def refresh(self) -> None:
        """Policy only if it is another one; decisions always."""
        policy = self.store.policy
        if policy is not None and policy is not self._shown:
            self._shown = policy
            self._show_policy(policy)
        records = self.store.decisions
        self._decisions.set_rows([_decision_row(record) for record in records])
        self._decisions_card.setVisible(bool(records))
        self._none_yet.setVisible(not records)

    def _show_policy(self, policy: EffectivePolicy) -> None:
        text, tone = self._state_sentence(policy)
        self._state.set_tone(tone)
        self._state.set_text(text)
        self._table.set_rows([self._row(policy.settings[key.name]) for key in POLICY_KEYS])
        self._show_faults(policy.diagnostics)

    def _show_faults(self, diagnostics: Sequence[Diagnostic]) -> None:
        self._faults.set_rows([_fault_row(fault) for fault in diagnostics])
        self._faults_title.setVisible(bool(diagnostics))
        self._faults_card.setVisible(bool(diagnostics))

    def _state_sentence(self, policy: EffectivePolicy) -> tuple[str, Tone]:
        """The state in words that a person understands."""
        match policy.state:
            case PolicyState.UNMANAGED:
                return self.tr(
                    "Not managed: no administrator set a policy on this computer. "
                    "Your own limits and the defaults apply."
                ), Tone.SECONDARY
            case PolicyState.MANAGED:
                return self.tr(
                    "Managed by your organisation. You can set stricter limits, not looser ones."
                ), Tone.OK
            case PolicyState.STALE:
                return self.tr(
                    "A policy file is broken: the last good policy stays in force until it is "
                    "repaired."
                ), Tone.WARN
            case PolicyState.AUDIT_ONLY:
                return self.tr(
                    "Managed by your organisation, as a trial: the mining cap reports what it "
                    "would do and does nothing."
                ), Tone.SECONDARY
            case PolicyState.CLOSED:
                return self.tr(
                    "A policy file is broken and there was no good one before: the strictest "
                    "limits apply until it is repaired."
                ), Tone.ERROR

    def _row(self, setting: Setting) -> tuple[Cell, ...]:
        key = POLICY_KEY_BY_NAME[setting.key]
        help_text = f"{translate('PolicyKeys', key.label)}: {translate('PolicyKeys', key.help)}"
        quiet = Tone.SECONDARY if setting.source is None else Tone.TEXT
        source = place(setting.source) or self.tr("Built in")
        return (
            Cell(setting.key, help=help_text),
            Cell(value_text(setting.key, setting.value)),
            Cell(source, quiet, is_path=True),
            Cell(translate("Levels", _LEVELS[setting.level]), quiet),
            self._status(setting),
        )

    def _status(self, setting: Setting) -> Cell:
        if setting.overridden:
            loser = setting.overridden[0]
            told = self.tr("Overrides {0}").format(value_text(setting.key, loser.value))
            why = f"{place(loser.source)}: {loser.why}".removeprefix(": ")
            return Cell(told, Tone.WARN, why)
        if setting.level is Level.DEFAULT:
            return Cell(self.tr("Default"), Tone.SECONDARY)
        return Cell(self.tr("In force"), Tone.OK)


def place(source: Source | None) -> str:
    """``file:line`` of a setting; empty where there is none."""
    return "" if source is None else f"{source.path}:{source.line}"


def value_text(key: str, value: Value) -> str:
    """A policy value with the unit that its key names."""
    if isinstance(value, tuple):
        return ", ".join(value) or fmt.UNKNOWN
    if isinstance(value, bool):
        return translate("PolicyPage", "yes") if value else translate("PolicyPage", "no")
    if isinstance(value, int):
        if key.endswith("_percent"):
            return fmt.percent(value)
        unit = {"seconds": "s", "c": "°C"}.get(key.rpartition("_")[2], "")
        return str(fmt.Quantity(fmt.number(value, 0), unit))
    return value


def _fault_row(fault: Diagnostic) -> tuple[Cell, ...]:
    tone = Tone.ERROR if fault.severity == "error" else Tone.WARN
    where = f"{fault.path}:{fault.line}:{fault.column}"
    return (
        Cell(where, is_path=True),
        Cell(fault.severity, tone),
        Cell(fmt.sentence(fault.text), help=str(fault)),
    )


def _decision_row(record: DecisionRecord) -> tuple[Cell, ...]:
    time_text = datetime.fromtimestamp(record.time_unix_s).strftime("%H:%M:%S")
    return (
        Cell(time_text, Tone.SECONDARY),
        Cell(record.subject),
        Cell(fmt.sentence(record.decision.reason), _VERB_TONES[record.decision.verb]),
    )


def _framed(table: Table) -> Card:
    """``table`` on a card, flush with its edges."""
    card = Card()
    card.body.setContentsMargins(4, 4, 4, 4)
    card.body.addWidget(table)
    return card

"""Policy: what is in force and why, what the user wishes, and what policy decided."""

from __future__ import annotations

from datetime import datetime

from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from gpupanel.model.decision import Diagnostic, Verb
from gpupanel.policy.keys import POLICY_KEY_BY_NAME
from gpupanel.policy.resolve import EffectivePolicy, PolicyState
from gpupanel.ui import format as fmt
from gpupanel.ui.pages.base import Page
from gpupanel.ui.store import DecisionRecord, Store
from gpupanel.ui.theme import Tone
from gpupanel.ui.widgets.banner import Banner
from gpupanel.ui.widgets.card import framed
from gpupanel.ui.widgets.fields import Options
from gpupanel.ui.widgets.policy.effective import EffectiveView
from gpupanel.ui.widgets.policy.wishes import WishesView
from gpupanel.ui.widgets.table import Cell, Table
from gpupanel.ui.widgets.text import Text

_VERB_TONES = {Verb.ALLOW: Tone.OK, Verb.CLAMP: Tone.WARN, Verb.DENY: Tone.ERROR}

_IN_FORCE, _WISHES, _DECISIONS = range(3)


class PolicyPage(Page):
    """Three views of it below one banner; only the user's own file is ever written."""

    def __init__(self, store: Store, title: str) -> None:
        super().__init__(store, title)
        self._shown: EffectivePolicy | None = None
        self.wishes: WishesView | None = None
        self._state = Banner(Tone.SECONDARY, icon_name="policy")
        self._state.set_text(self.tr("Waiting for the agent to read the policy…"))
        self.add(self._state)
        where = [self.tr("Where"), self.tr("Severity"), self.tr("Fault")]
        self._faults = Table(self.tr("Faults in policy files"), where, (288, 84), 2, lines=2)
        self._faults_card = framed(self._faults)
        self._faults_card.hide()
        self.add(self._faults_card)
        names = (self.tr("In &force"), self.tr("Your &limits"), self.tr("Decis&ions"))
        self.views = Options(self.tr("View"), [(name, view) for view, name in enumerate(names)])
        self.views.chosen.connect(self._open_view)
        self.effective = EffectiveView()
        head = QWidget()
        row = QHBoxLayout(head)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.views)
        row.addStretch(1)
        row.addWidget(self.effective.head)
        self.add(head)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.effective)
        self._stack.addWidget(self._make_decisions())
        self.add(self._stack, 1)

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

    def seek(self, what: object) -> None:
        """The row of a key."""
        if what in POLICY_KEY_BY_NAME and self._shown is not None:
            self.views.choose(_IN_FORCE)
            self.effective.select(str(what))

    def _make_decisions(self) -> QWidget:
        what = [self.tr("Time"), self.tr("Subject"), self.tr("Reason")]
        self._decisions = Table(self.tr("Last decisions"), what, (84, 288), 50, lines=2)
        self._decisions_card = framed(self._decisions)
        self._none_yet = Text(
            self.tr("No decision since this window was opened."), tone=Tone.SECONDARY
        )
        self._decisions_view = QWidget()
        column = QVBoxLayout(self._decisions_view)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._decisions_card)
        column.addWidget(self._none_yet)
        column.addStretch(1)
        return self._decisions_view

    def _open_view(self) -> None:
        view = self.views.value
        if view == _WISHES:
            self._stack.setCurrentWidget(self._made_wishes())
        else:
            is_in_force = view == _IN_FORCE
            self._stack.setCurrentWidget(self.effective if is_in_force else self._decisions_view)
        self.effective.head.setVisible(view == _IN_FORCE)
        self._show_faults()

    def _made_wishes(self) -> WishesView:
        if self.wishes is None:
            self.wishes = WishesView()
            self._stack.addWidget(self.wishes)
            if self._shown is not None:
                self.wishes.show_policy(self._shown)
        return self.wishes

    def _show_policy(self, policy: EffectivePolicy) -> None:
        text, tone = self._state_sentence(policy)
        if policy.loosened:
            loosened = self.tr("It now bounds less than before: {0}.")
            text, tone = f"{text} {loosened.format(', '.join(policy.loosened))}", Tone.WARN
        self._state.set_tone(tone)
        self._state.set_text(text)
        self._show_faults()
        self.effective.show_policy(policy)
        if self.wishes is not None:
            self.wishes.show_policy(policy)

    def _show_faults(self) -> None:
        """Above what is in force; who edits sees the faults of that text."""
        diagnostics = self._shown.diagnostics if self._shown is not None else ()
        self._faults.set_rows([_fault_row(fault) for fault in diagnostics])
        self._faults_card.setVisible(bool(diagnostics) and self.views.value == _IN_FORCE)

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


def _fault_row(fault: Diagnostic) -> tuple[Cell, ...]:
    tone = Tone.ERROR if fault.severity == "error" else Tone.WARN
    where = f"{fault.path}:{fault.line}:{fault.column}" if fault.line else fault.path
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

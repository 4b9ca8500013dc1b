"""One key and a value for it, put into the text at the right place."""

from __future__ import annotations

from PySide6.QtCore import Signal, SignalInstance
from PySide6.QtWidgets import QStackedWidget, QWidget

from gpupanel.policy.key import Kind, PolicyKey, Value
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.policy.validate import value_is_valid
from gpupanel.policy.wishes import as_document
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.controls import Button, Choice, NumberField
from gpupanel.ui.widgets.fields import LineField
from gpupanel.ui.widgets.policy.words import help_text, unit_of, value_text
from gpupanel.ui.widgets.text import Text

Field = Choice | NumberField | LineField


class WishForm(Card):
    """A key, a field that suits it, and a button.

    Signals:
        wished(PolicyKey, object): Somebody wants that value of that key in the text.
    """

    wished = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self._policy: EffectivePolicy | None = None
        self.key = Choice()
        for key in POLICY_KEYS:
            self.key.addItem(key.name, key.name)
        self.key.setAccessibleName(self.tr("Key"))
        self.key.currentIndexChanged.connect(self._show_key)
        self._fields = QStackedWidget()
        self._field_of = {key.name: _field(key) for key in POLICY_KEYS}
        for field in self._field_of.values():
            self._fields.addWidget(field)
            _changed(field).connect(self._judge)
        self._help = Text(tone=Tone.SECONDARY, size_px=SMALL_PX, wrap=True)
        self._in_force = Text(size_px=SMALL_PX, wrap=True)
        self.button = Button(self.tr("Put into the &text"))
        self.button.clicked.connect(self._wish)
        self._trouble = Text(tone=Tone.ERROR, size_px=SMALL_PX, wrap=True)
        self.body.setSpacing(8)
        self.body.addWidget(Text(self.tr("Set one key"), size_px=14, bold=True))
        parts: tuple[QWidget, ...] = (
            self.key, self._help, self._fields, self._in_force, self.button, self._trouble,
        )  # fmt: skip
        for part in parts:
            self.body.addWidget(part)
        self.body.addStretch(1)
        self._trouble.hide()
        self._show_key()

    @property
    def field(self) -> Field:
        """The field of the chosen key."""
        return self._field_of[self.key.currentData()]

    def show_policy(self, policy: EffectivePolicy) -> None:
        """Say beside the field what is in force; what somebody has chosen there stays."""
        is_first, self._policy = self._policy is None, policy
        if is_first:
            self._show_key()
        self._judge()

    def allow(self, is_valid: bool) -> None:
        """A key can only be put into a text that is valid."""
        self.button.setEnabled(is_valid)
        why = "" if is_valid else self.tr("First repair the text.")
        self.button.setToolTip(why)
        self.button.setAccessibleDescription(why)

    def refuse(self) -> None:
        """The value did not find its place."""
        told = self.tr(
            "This value is not allowed here, or the text says it in a way that only you can "
            "change: edit the text."
        )
        self._trouble.set_text(told)
        self._trouble.show()

    def _show_key(self) -> None:
        key = POLICY_KEY_BY_NAME[self.key.currentData()]
        self._fields.setCurrentWidget(self.field)
        self._help.set_text(help_text(key))
        self._trouble.hide()
        if self._policy is not None:
            _fill(self.field, self._policy.settings[key.name].value)
        self._judge()

    def _judge(self) -> None:
        """What is in force, and whether the chosen value would have an effect beside it."""
        if self._policy is None:
            return
        key = POLICY_KEY_BY_NAME[self.key.currentData()]
        setting = self._policy.settings[key.name]
        told, tone = self.tr("In force: {0}."), Tone.TEXT
        if setting.is_locked:
            told = self.tr("In force: {0}, locked. You can only make it tighter.")
            value = _value(key, self.field)
            if value_is_valid(key.name, as_document(value)) and key.is_looser(value, setting.value):
                told = self.tr("In force: {0}, locked. A looser value has no effect.")
                tone = Tone.WARN
        self._in_force.set_text(told.format(value_text(key.name, setting.value)))
        self._in_force.set_tone(tone)

    def _wish(self) -> None:
        self._trouble.hide()
        key = POLICY_KEY_BY_NAME[self.key.currentData()]
        self.wished.emit(key, _value(key, self.field))


def _field(key: PolicyKey) -> Field:
    """A field that can hold what the key can."""
    field: Field
    match key.kind:
        case Kind.INTEGER:
            field = NumberField()
            field.setRange(key.low, key.high)
            field.setSuffix(f"\u00a0{unit_of(key.name)}")
            assert isinstance(key.default, int)
            field.setValue(key.default)
        case Kind.BOOLEAN:
            field = Choice()
            for value in (True, False):
                field.addItem(value_text(key.name, value), value)
        case Kind.CHOICE:
            field = Choice()
            for word in key.choices:
                field.addItem(word, word)
        case Kind.CHOICES | Kind.TEXTS:
            field = LineField(key.name, 200)
            field.setPlaceholderText(", ".join(key.choices) or key.example)
            if key.kind is Kind.TEXTS:
                field.setPlaceholderText(key.example)
    field.setAccessibleName(key.name)
    return field


def _changed(field: Field) -> SignalInstance:
    if isinstance(field, NumberField):
        return field.valueChanged
    return field.textChanged if isinstance(field, LineField) else field.currentIndexChanged


def _fill(field: Field, value: Value) -> None:
    if isinstance(field, NumberField):
        assert isinstance(value, int)
        field.setValue(value)
    elif isinstance(field, LineField):
        assert isinstance(value, tuple)
        field.setText(", ".join(value))
    else:
        field.setCurrentIndex(field.findData(value))


def _value(key: PolicyKey, field: Field) -> Value:
    if isinstance(field, NumberField):
        return field.value()
    if isinstance(field, LineField):
        return tuple(word.strip() for word in field.text().split(",") if word.strip())
    value: bool | str = field.currentData()
    return value

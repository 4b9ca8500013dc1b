"""Policy values, places and levels as the window writes them."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.policy.claims import Level, Scope, Source
from gpupanel.policy.key import PolicyKey, Value
from gpupanel.policy.resolve import Setting
from gpupanel.ui import format as fmt

translate = QCoreApplication.translate

_LEVELS = {
    Level.MANDATORY: QT_TRANSLATE_NOOP("Levels", "Mandatory"),
    Level.RECOMMENDED: QT_TRANSLATE_NOOP("Levels", "Recommended"),
    Level.USER: QT_TRANSLATE_NOOP("Levels", "Yours"),
    Level.DEFAULT: QT_TRANSLATE_NOOP("Levels", "Default"),
    Level.CLOSED: QT_TRANSLATE_NOOP("Levels", "Closed"),
}
_UNITS = {"seconds": "s", "c": "°C"}


def level_text(level: Level) -> str:
    """With what force a value is said."""
    return translate("Levels", _LEVELS[level])


def label_text(key: PolicyKey) -> str:
    """What a key is called."""
    return translate("PolicyKeys", key.label)


def help_text(key: PolicyKey) -> str:
    """What a key does."""
    return translate("PolicyKeys", key.help)


def place_text(source: Source | None) -> str:
    """``file:line`` of a value; empty where there is none."""
    if source is None:
        return ""
    return f"{source.path}:{source.line}" if source.line else source.path


def unit_of(key: str) -> str:
    """The unit that the name of an integer key ends with."""
    return "%" if key.endswith("_percent") else _UNITS.get(key.rpartition("_")[2], "")


def value_text(key: str, value: Value) -> str:
    """A policy value with the unit that its key names."""
    if isinstance(value, tuple):
        return ", ".join(value) or translate("PolicyPage", "none")
    if isinstance(value, bool):
        return translate("PolicyPage", "yes") if value else translate("PolicyPage", "no")
    if isinstance(value, int):
        if key.endswith("_percent"):
            return fmt.percent(value)
        return str(fmt.Quantity(fmt.number(value, 0), unit_of(key)))
    return value


def is_in_vain(setting: Setting) -> bool:
    """Whether the user wished for something that others do not allow."""
    return setting.scope is not Scope.USER and any(
        claim.scope is Scope.USER and claim.value != setting.value for claim in setting.overridden
    )

"""Values become text here and nowhere else: units, prefixes, digits, the reader's locale.

Digits are grouped with a narrow no-break space (ISO 80000-1), so 2 520 MHz reads the same in
every language; the decimal sign is the locale's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from PySide6.QtCore import QCoreApplication, QDate, QLocale

from gpupanel.model.gpu import GpuId, GpuInfo
from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.model.workload import Family

UNKNOWN = "—"
NARROW_SPACE = "\u202f"
_SPACE = "\u00a0"

GIB = 2.0**30
_CLOSE, _NEARLY = 0.99, 0.999
"""So close to 0 or 1 a probability has a digit more, and closer yet only that is told."""

DAY_S = 86400
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_RATE_UNITS = {
    "hash": "H/s",
    "flop": "FLOP/s",
    "op": "OP/s",
    "byte": "B/s",
    "token": "tok/s",
    "frame": "fps",
    "launch": "launches/s",
}
_AMOUNT_UNITS = {
    "hash": "H",
    "flop": "FLOP",
    "op": "OP",
    "byte": "B",
    "token": "tok",
    "frame": "frames",
    "launch": "launches",
}
_FAMILIES = {
    Family.MINING: QT_TRANSLATE_NOOP("Families", "Mining"),
    Family.AI: QT_TRANSLATE_NOOP("Families", "AI"),
    Family.GAMING: QT_TRANSLATE_NOOP("Families", "Gaming"),
    Family.DIAGNOSTICS: QT_TRANSLATE_NOOP("Families", "Diagnostics"),
}
_DECIMALS = {"W": 1, "%": 0, "°C": 0, "MHz": 0}


class Quantity(NamedTuple):
    """A number and its unit as text; drawn in two sizes on a tile."""

    number: str
    unit: str

    def __str__(self) -> str:
        """Number and unit, kept on one line."""
        return f"{self.number}{_SPACE}{self.unit}" if self.unit else self.number


def number(value: float, decimals: int, locale: QLocale | None = None) -> str:
    """``value`` rounded to ``decimals`` digits, grouped by thousands."""
    locale = locale or QLocale()
    text = f"{value:,.{decimals}f}"
    whole, _, fraction = text.partition(".")
    if whole.lstrip("-0,") == "" and fraction.strip("0") == "":
        whole = whole.lstrip("-")
    whole = whole.replace(",", NARROW_SPACE)
    return f"{whole}{locale.decimalPoint()}{fraction}" if fraction else whole


def metric(value: float, unit: str, locale: QLocale | None = None) -> Quantity:
    """A reading in the unit of its row in METRICS; bytes become GiB."""
    if unit == "B":
        return memory(value, locale)
    if unit == "B/s":
        scaled, prefix = _scale(value)
        return Quantity(_significant(scaled, locale), f"{prefix}B/s")
    decimals = _DECIMALS.get(unit, 0)
    if abs(value) >= 100:
        decimals = 0
    return Quantity(number(value, decimals, locale), unit)


def memory(value_bytes: float, locale: QLocale | None = None) -> Quantity:
    """Bytes as GiB with one digit, none from 100 GiB."""
    gib = value_bytes / GIB
    return Quantity(number(gib, 0 if round(gib, 1) >= 100 else 1, locale), "GiB")


def memory_of_process(value_bytes: float, locale: QLocale | None = None) -> Quantity:
    """Bytes as MiB below 1 GiB: most programs hold less."""
    if value_bytes < GIB:
        return Quantity(number(value_bytes * 1024 / GIB, 0, locale), "MiB")
    return memory(value_bytes, locale)


def rate(per_s: float, unit: str, locale: QLocale | None = None) -> Quantity:
    """Work per second, three significant digits: ``19.9 MH/s``, ``1.23 TFLOP/s``, ``61.2 fps``."""
    if unit == "frame":
        return Quantity(_significant(per_s, locale), _RATE_UNITS[unit])
    scaled, prefix = _scale(per_s)
    return Quantity(_significant(scaled, locale), prefix + _RATE_UNITS.get(unit, f"{unit}/s"))


def amount(work: float, unit: str, locale: QLocale | None = None) -> Quantity:
    """Work done in all: ``1.19 GH``, ``4 321 frames``."""
    if unit == "frame":
        return Quantity(number(work, 0, locale), _AMOUNT_UNITS[unit])
    scaled, prefix = _scale(work)
    return Quantity(_significant(scaled, locale), prefix + _AMOUNT_UNITS.get(unit, unit))


def figure(value: float, unit: str, locale: QLocale | None = None) -> str:
    """A number of a load's own, three significant digits: ``41.9 ms``, ``0.0123``."""
    if 0 < abs(value) < 1:
        text = f"{value:.3g}".replace(".", (locale or QLocale()).decimalPoint())
    else:
        text = _significant(value, locale)
    return str(Quantity(text, unit)).strip()


def percent(value: float, locale: QLocale | None = None) -> str:
    """A share of a hundred: ``50 %``."""
    return str(Quantity(number(value, 0, locale), "%"))


def probability(value: float, locale: QLocale | None = None) -> str:
    """Of 1, as a share of a hundred that only what is certain fills: ``97 %``, ``> 99.9 %``."""
    if value in (0.0, 1.0):
        return percent(100 * value, locale)
    if value > _NEARLY:
        return f">{_SPACE}{Quantity(number(100 * _NEARLY, 1, locale), '%')}"
    if value < 1 - _NEARLY:
        return f"<{_SPACE}{Quantity(number(100 * (1 - _NEARLY), 1, locale), '%')}"
    if value >= _CLOSE:
        return str(Quantity(number(math.floor(1000 * value) / 10, 1, locale), "%"))
    if value < 1 - _CLOSE:
        return str(Quantity(number(math.ceil(1000 * value) / 10, 1, locale), "%"))
    return percent(100 * value, locale)


def duration(seconds: float) -> str:
    """A clock that counts: ``0:07``, ``12:05``, ``1:02:03``; part seconds are cut off."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_of_day(time_unix_s: float) -> str:
    """When something happened, on the reader's clock: ``14:02``."""
    return datetime.fromtimestamp(time_unix_s).strftime("%H:%M")


def clock(time_unix_s: float) -> str:
    """To the second: ``14:02:30``."""
    return datetime.fromtimestamp(time_unix_s).strftime("%H:%M:%S")


def weekday(time_unix_s: float, locale: QLocale | None = None) -> str:
    """``Tue 14``."""
    return _date(time_unix_s, "ddd d", locale)


def day(time_unix_s: float, locale: QLocale | None = None) -> str:
    """``14 Jul``."""
    return _date(time_unix_s, "d MMM", locale)


def moment(time_unix_s: float, span_s: float, locale: QLocale | None = None) -> str:
    """A time within a span, as short as is clear.

    ``14:02:30`` within hours, ``Tue 14:02:30`` within a day, else ``Tue 14 Jul 14:02``.
    """
    if span_s <= DAY_S / 2:
        return clock(time_unix_s)
    if span_s <= DAY_S:
        return f"{_date(time_unix_s, 'ddd', locale)} {clock(time_unix_s)}"
    return f"{_date(time_unix_s, 'ddd d MMM', locale)} {time_of_day(time_unix_s)}"


def span(seconds: float, locale: QLocale | None = None) -> str:
    """How long something is, in the largest unit that fits: ``42 s``, ``10 min``, ``24 h``."""
    for size_s, unit in ((DAY_S, "d"), (3600, "h"), (60, "min")):
        if seconds >= (3 * size_s if unit == "d" else size_s):
            decimals = 0 if seconds % size_s == 0 or seconds >= 10 * size_s else 1
            return str(Quantity(number(seconds / size_s, decimals, locale), unit))
    return str(Quantity(number(seconds, 0, locale), "s"))


def kilowatt_hours(kwh: float, locale: QLocale | None = None) -> Quantity:
    """Energy as on a bill: ``0.012 kWh``, ``312 kWh``."""
    decimals = 3 if kwh < 1 else 2 if kwh < 100 else 0
    return Quantity(number(kwh, decimals, locale), "kWh")


def money(value: float, currency: str, locale: QLocale | None = None) -> str:
    """With two decimals, and the currency as the user writes it."""
    return str(Quantity(number(value, 2, locale), currency))


def energy(value_j: float, locale: QLocale | None = None) -> Quantity:
    """Energy with an SI prefix: ``640 J``, ``12.5 kJ``."""
    scaled, prefix = _scale(value_j)
    return Quantity(_significant(scaled, locale), f"{prefix}J")


def pci_bus_id(address: str) -> str:
    """``00000000:01:00.0`` as people and lspci write it: ``0000:01:00.0``."""
    domain, _, rest = address.partition(":")
    return f"{domain[-4:]}:{rest}" if len(domain) == 8 and domain.startswith("0000") else address


def gpu_names(gpus: Sequence[GpuInfo]) -> dict[GpuId, str]:
    """By id; cards of one name are told apart by where they sit."""
    names = [gpu.name for gpu in gpus]
    return {
        gpu.id: f"{gpu.name} · {pci_bus_id(gpu.pci_bus_id)}"
        if names.count(gpu.name) > 1 and gpu.pci_bus_id
        else gpu.name
        for gpu in gpus
    }


def family_name(family: Family) -> str:
    """What kind of load it is, in the reader's language."""
    return QCoreApplication.translate("Families", _FAMILIES[family])


def translated(context: str, text: str) -> str:
    """A marked text in the reader's language."""
    return QCoreApplication.translate(context, text)


def sentence(text: str) -> str:
    """``text`` with a capital letter and a full stop, as it stands alone on a page."""
    if text.partition(" ")[0].isalpha():  # not a key or a path, which have their own letters
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _date(time_unix_s: float, form: str, locale: QLocale | None) -> str:
    when = datetime.fromtimestamp(time_unix_s)
    return (locale or QLocale()).toString(QDate(when.year, when.month, when.day), form)


def _scale(value: float) -> tuple[float, str]:
    """The greatest prefix that leaves a number that still shows as >= 1 after rounding."""
    if value == 0 or not math.isfinite(value):
        return value, ""
    exponent = math.floor(math.log10(abs(float(f"{value:.3g}"))) / 3)
    index = min(max(exponent, 0), len(_PREFIXES) - 1)
    return value / 1000.0**index, _PREFIXES[index]


def _significant(value: float, locale: QLocale | None) -> str:
    """Three significant digits, at least the whole part."""
    shown = abs(float(f"{value:.3g}"))
    decimals = 2 if shown < 10 else 1 if shown < 100 else 0
    return number(value, decimals, locale)

"""What a GPU took in kilowatt-hours, and what that cost at the user's own price."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout

from gpupanel.sampling.energy import Energy
from gpupanel.ui import format as fmt
from gpupanel.ui.past import Tariff
from gpupanel.ui.preferences import MOST_CURRENCY, MOST_PRICE
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.fields import DecimalField, LineField
from gpupanel.ui.widgets.text import Text

_NUMBER_PX = 22


class EnergyView(Card):
    """Energy, cost, and the two fields of the price.

    Signals:
        tariff_chosen(Tariff): The user finished entering one.
    """

    tariff_chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName(self.tr("Energy"))
        self.body.setSpacing(8)
        self.body.addWidget(Text(self.tr("Energy"), size_px=14, bold=True))
        self._number = Text(size_px=_NUMBER_PX, bold=True)
        self._cost = Text(size_px=_NUMBER_PX, bold=True)
        numbers = QHBoxLayout()
        numbers.setSpacing(20)
        numbers.addWidget(self._number)
        numbers.addWidget(self._cost)
        numbers.addStretch(1)
        self.body.addLayout(numbers)
        self._coverage = Text(tone=Tone.SECONDARY, size_px=SMALL_PX, wrap=True)
        self.body.addWidget(self._coverage)
        self.body.addStretch(1)
        self.body.addLayout(self._make_price())

    def show_energy(self, energy: Energy | None, since_s: float, span_s: float) -> None:
        """Show what was taken from the hour of ``since_s`` on; None where no power was known."""
        since = fmt.moment(since_s, span_s + fmt.DAY_S)
        if energy is None or energy.measured_s <= 0:
            self._number.set_text(fmt.UNKNOWN)
            self._cost.hide()
            self._coverage.set_text(
                self.tr("No power was measured since {0}: this device does not tell it.").format(
                    since
                )
            )
            return
        self._number.set_text(str(fmt.kilowatt_hours(energy.kwh)))
        tariff = self._entered()
        self._cost.set_text(fmt.money(energy.cost(tariff.price_per_kwh), tariff.currency))
        self._cost.setVisible(tariff.price_per_kwh > 0)
        self._coverage.set_text(
            self.tr("Since {0}; the power was known for {1}. Other times add nothing.").format(
                since, fmt.span(energy.measured_s)
            )
        )

    def show_tariff(self, tariff: Tariff) -> None:
        """Fill the fields, unless the user is in them."""
        if not (self._price.hasFocus() or self._currency.hasFocus()) and tariff != self._entered():
            self._price.blockSignals(True)
            self._price.setValue(tariff.price_per_kwh)
            self._price.blockSignals(False)
            self._currency.setText(tariff.currency)

    def _make_price(self) -> QHBoxLayout:
        self._price = DecimalField(self.tr("Price per kWh"))
        self._price.setRange(0.0, MOST_PRICE)
        self._price.setDecimals(4)
        self._price.setSpecialValueText(self.tr("none"))
        self._currency = LineField(self.tr("Currency"), 64)
        self._currency.setMaxLength(MOST_CURRENCY)
        title = Text(self.tr("&Price per kWh"), tone=Tone.SECONDARY, size_px=SMALL_PX)
        title.setBuddy(self._price)
        self._price.valueChanged.connect(self._tell)
        self._currency.editingFinished.connect(self._tell)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(title)
        row.addStretch(1)
        row.addWidget(self._price)
        row.addWidget(self._currency)
        return row

    def _entered(self) -> Tariff:
        return Tariff(self._price.value(), self._currency.text().strip())

    def _tell(self) -> None:
        self.tariff_chosen.emit(self._entered())

"""Overview: a card per GPU; where there is none, the processor's and the reason."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QStackedWidget, QVBoxLayout, QWidget

from gpupanel.model.gpu import GpuInfo, GpuKind
from gpupanel.ui import format as fmt
from gpupanel.ui.link import HISTORY_S, INTERVAL_S
from gpupanel.ui.pages.base import Page
from gpupanel.ui.store import Store
from gpupanel.ui.theme import Tone
from gpupanel.ui.widgets.banner import Banner
from gpupanel.ui.widgets.controls import ThinScrollBar
from gpupanel.ui.widgets.gpu_card import GpuCard
from gpupanel.ui.widgets.state_view import StateView


class OverviewPage(Page):
    """The first thing that a user sees."""

    def __init__(self, store: Store, title: str) -> None:
        super().__init__(store, title)
        self._shown: tuple[GpuInfo, ...] | None = None
        self._cards: list[GpuCard] = []
        self._notice = Banner(Tone.SECONDARY, icon_name="info")
        self._notice.hide()
        self._waiting = StateView(
            "search", self.tr("Looking for GPUs…"), self.tr("The agent asks each driver.")
        )
        self._column = QVBoxLayout()
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(12)
        self._column.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._waiting)
        self._stack.addWidget(self._scroll_area())
        self._said = ""
        self._notice.hide()
        self.add(self._notice)
        self.body.addWidget(self._stack, 1)

    def refresh(self) -> None:
        """Cards for the GPUs that are there, each with its latest readings."""
        gpus = self.store.gpus
        if gpus is None:
            return
        if gpus != self._shown:
            self._rebuild(gpus)
        self._show_notice(gpus)
        for card in self._cards:
            card.refresh()

    def _scroll_area(self) -> QScrollArea:
        content = QWidget()
        content.setLayout(self._column)
        area = QScrollArea()
        area.setWidget(content)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        area.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical))
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return area

    def _rebuild(self, gpus: tuple[GpuInfo, ...]) -> None:
        self._shown = gpus
        for card in self._cards:
            self._column.removeWidget(card)
            card.deleteLater()
        listed = self._listed(gpus)
        self._cards = [GpuCard(gpu, self.store, large=len(listed) == 1) for gpu in listed]
        for card in self._cards:
            self._column.addWidget(card)
        self._stack.setCurrentIndex(1 if self._cards else 0)
        if not self._cards:
            self._waiting.set_texts(self.tr("No GPU was found"), self._why_no_gpu())
        found = sum(gpu.kind is GpuKind.GPU for gpu in gpus)
        self.subtitle.set_text(self._summary(found))

    @staticmethod
    def _listed(gpus: tuple[GpuInfo, ...]) -> list[GpuInfo]:
        """The GPUs; the processor only where there is none."""
        real = [gpu for gpu in gpus if gpu.kind is GpuKind.GPU]
        return real or list(gpus)

    def _show_notice(self, gpus: tuple[GpuInfo, ...]) -> None:
        text = self._notice_text(sum(gpu.kind is GpuKind.GPU for gpu in gpus)) if gpus else ""
        if text != self._said:
            self._said = text
            self._notice.set_text(fmt.sentence(text) if text else "")
            self._notice.setVisible(bool(text))

    def _notice_text(self, found: int) -> str:
        """Why there is no GPU, or what is wrong although there is one; empty when all is well."""
        if found == 0:
            why = self._why_no_gpu() or self.tr("no driver reports one")
            return self.tr("No GPU was found: showing the processor – {0}").format(why)
        return "; ".join(
            backend.reason
            for backend in self.store.backends
            if backend.reason and backend.state != "absent"
        )

    def _why_no_gpu(self) -> str:
        """One clause per backend that has a reason."""
        return "; ".join(backend.reason for backend in self.store.backends if backend.reason)

    def _summary(self, found: int) -> str:
        kind = self.tr("{0} GPU") if found == 1 else self.tr("{0} GPUs")
        shown = kind.format(found) if found else self.tr("Processor")
        interval = fmt.Quantity(fmt.number(INTERVAL_S, 0), "s")
        minutes = fmt.Quantity(fmt.number(HISTORY_S / 60, 0), "min")
        return self.tr("{0} · every {1} · last {2}").format(shown, interval, minutes)

"""A read-only table of texts: quiet lines, copyable rows, keyboard like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from gpupanel.ui.theme import ROLES, SMALL_PX, Tone, colour, font
from gpupanel.ui.widgets.controls import ThinScrollBar

Index = QModelIndex | QPersistentModelIndex
_CELL_ROLE = Qt.ItemDataRole.UserRole
_LINE_PX = 16


@dataclass(frozen=True, slots=True)
class Cell:
    """One text in one tone.

    Attributes:
        help: The tooltip; the text itself if empty.
        is_path: Keep both ends where room is short.
    """

    text: str
    tone: Tone = Tone.TEXT
    help: str = ""
    is_path: bool = False


class CellModel(QAbstractTableModel):
    """Rows of cells below a header."""

    def __init__(self, header: Sequence[str], parent: QWidget) -> None:
        super().__init__(parent)
        self._header = tuple(header)
        self._rows: tuple[tuple[Cell, ...], ...] = ()

    def set_rows(self, rows: Sequence[tuple[Cell, ...]]) -> None:
        """Replace everything, if anything differs."""
        if tuple(rows) != self._rows:
            self.beginResetModel()
            self._rows = tuple(rows)
            self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Qt: none below a cell."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Qt: none below a cell."""
        return 0 if parent.isValid() else len(self._header)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> str | Cell | None:
        """Qt: text, help and tone of one cell."""
        cell = self._rows[index.row()][index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return cell.text
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleDescriptionRole):
            return cell.help or cell.text
        return cell if role == _CELL_ROLE else None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> str | None:
        """Qt: titles; rows have none."""
        if orientation is Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self._header[section]
        return None


class _CellDelegate(QStyledItemDelegate):
    """Text with a hair line below; the current row is raised."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        palette: QPalette = option.palette
        area: QRect = option.rect
        view = self.parent()
        assert isinstance(view, QTableView)
        if view.selectionModel().isSelected(index):
            painter.fillRect(area, colour(palette, Tone.RAISED))
        if index.row() < index.model().rowCount() - 1:
            line = QRect(area.left(), area.bottom(), area.width(), 1)
            painter.fillRect(line, colour(palette, Tone.BORDER))
        cell: Cell = index.data(_CELL_ROLE)
        painter.setPen(palette.color(ROLES[cell.tone]))
        painter.setFont(view.font())
        room = area.adjusted(12, 0, -8, 0)
        centre = Qt.AlignmentFlag.AlignVCenter
        if area.height() > 2 * _LINE_PX and not cell.is_path:
            painter.drawText(room, centre | Qt.TextFlag.TextWordWrap, cell.text)
            return
        end = Qt.TextElideMode.ElideMiddle if cell.is_path else Qt.TextElideMode.ElideRight
        painter.drawText(room, centre, view.fontMetrics().elidedText(cell.text, end, room.width()))


class _Header(QHeaderView):
    """Small secondary titles on the surface."""

    def paintSection(self, painter: QPainter, rect: QRect, logicalIndex: int) -> None:  # noqa: N803
        palette = self.palette()
        painter.fillRect(rect, colour(palette, Tone.SURFACE))
        line = QRect(rect.left(), rect.bottom(), rect.width(), 1)
        painter.fillRect(line, colour(palette, Tone.BORDER))
        painter.setPen(colour(palette, Tone.SECONDARY))
        painter.setFont(font(SMALL_PX))
        title = self.model().headerData(logicalIndex, Qt.Orientation.Horizontal)
        painter.drawText(rect.adjusted(12, 0, -4, 0), Qt.AlignmentFlag.AlignVCenter, title)


class Table(QTableView):
    """As tall as its rows, up to ``max_rows``; Ctrl+C copies the selected ones."""

    def __init__(
        self,
        name: str,
        header: Sequence[str],
        widths: Sequence[int],
        max_rows: int,
        *,
        lines: int = 1,
    ) -> None:
        """The last column takes what ``widths`` leave; a row has room for ``lines`` of text."""
        super().__init__()
        self._cells = CellModel(header, self)
        self._max_rows = max_rows
        self._row_height = _LINE_PX * (lines + 1)
        self.setModel(self._cells)
        self.setAccessibleName(name)
        self.setHorizontalHeader(_Header(Qt.Orientation.Horizontal, self))
        self.setItemDelegate(_CellDelegate(self))
        self.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QTableView.Shape.NoFrame)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self._row_height)
        head = self.horizontalHeader()
        head.setFixedHeight(28)
        head.setStretchLastSection(True)
        head.setHighlightSections(False)
        head.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for column, width in enumerate(widths):
            self.setColumnWidth(column, width)

    def set_rows(self, rows: Sequence[tuple[Cell, ...]]) -> None:
        """Show ``rows``."""
        self._cells.set_rows(rows)
        self.updateGeometry()

    def sizeHint(self) -> QSize:
        """Qt: header and rows."""
        rows = min(max(self._cells.rowCount(), 1), self._max_rows)
        return QSize(640, 28 + rows * self._row_height)

    def minimumSizeHint(self) -> QSize:
        """Qt: header and three rows."""
        rows = min(max(self._cells.rowCount(), 1), 3)
        return QSize(320, 28 + rows * self._row_height)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Qt: copy whole rows, columns parted by tabs."""
        if not event.matches(QKeySequence.StandardKey.Copy):
            super().keyPressEvent(event)
            return
        lines = [
            "\t".join(
                str(self._cells.index(row.row(), column).data())
                for column in range(self._cells.columnCount())
            )
            for row in self.selectionModel().selectedRows()
        ]
        QGuiApplication.clipboard().setText("\n".join(lines))

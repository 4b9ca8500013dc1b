"""A read-only table of texts: quiet lines, copyable rows, keyboard like any other."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import (
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPalette,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from gpupanel.ui.theme import ROLES, SMALL_PX, Tone, blend, colour, font, icon
from gpupanel.ui.widgets.controls import ThinScrollBar

Index = QModelIndex | QPersistentModelIndex
_CELL_ROLE = Qt.ItemDataRole.UserRole
_LINE_PX = 16
_LEAST_LAST_PX = 132
_ICON_PX = 14


@dataclass(frozen=True, slots=True)
class Cell:
    """One text in one tone.

    Attributes:
        help: The tooltip; the text itself if empty.
        is_path: Keep both ends where room is short.
        is_number: Aligned to the right, so that digits stand below each other.
        share: Of a whole, 0 to 1, as a bar behind the text.
        icon_name: Before the text, in its tone; what it means is in the text too.
        is_heading: Of the rows below.
    """

    text: str
    tone: Tone = Tone.TEXT
    help: str = ""
    is_path: bool = False
    is_number: bool = False
    share: float = 0.0
    icon_name: str = ""
    is_heading: bool = False


class CellModel(QAbstractTableModel):
    """Rows of cells below a header."""

    def __init__(self, header: Sequence[str], parent: QWidget) -> None:
        super().__init__(parent)
        self._header = tuple(header)
        self._rows: tuple[tuple[Cell, ...], ...] = ()
        self._keys: tuple[Hashable, ...] = ()

    def set_rows(self, rows: Sequence[tuple[Cell, ...]]) -> None:
        """Replace everything, if anything differs."""
        if tuple(rows) != self._rows:
            self.beginResetModel()
            self._rows, self._keys = tuple(rows), ()
            self.endResetModel()

    def renew(self, rows: Mapping[Hashable, tuple[Cell, ...]]) -> None:
        """Show ``rows``, each of which stays itself by its key: what was selected stays so."""
        if len(self._keys) != len(self._rows):
            self.set_rows(())
        self._remove_others(rows)
        fresh = [key for key in rows if key not in set(self._keys)]
        if fresh:
            first = len(self._keys)
            self.beginInsertRows(QModelIndex(), first, first + len(fresh) - 1)
            self._keys += tuple(fresh)
            self._rows += tuple(rows[key] for key in fresh)
            self.endInsertRows()
        self._put_in_order(tuple(rows))
        before, self._rows = self._rows, tuple(rows.values())
        for number, (old, new) in enumerate(zip(before, self._rows, strict=True)):
            if old != new:
                self.dataChanged.emit(self.index(number, 0), self.index(number, len(new) - 1))

    def _remove_others(self, rows: Mapping[Hashable, tuple[Cell, ...]]) -> None:
        for number in reversed(range(len(self._keys))):
            if self._keys[number] not in rows:
                self.beginRemoveRows(QModelIndex(), number, number)
                self._keys = self._keys[:number] + self._keys[number + 1 :]
                self._rows = self._rows[:number] + self._rows[number + 1 :]
                self.endRemoveRows()

    def _put_in_order(self, keys: tuple[Hashable, ...]) -> None:
        if keys == self._keys:
            return
        self.layoutAboutToBeChanged.emit()
        by_key = dict(zip(self._keys, self._rows, strict=True))
        place = {key: number for number, key in enumerate(keys)}
        before = self.persistentIndexList()
        moved = [self.index(place[self._keys[one.row()]], one.column()) for one in before]
        self._keys, self._rows = keys, tuple(by_key[key] for key in keys)
        self.changePersistentIndexList(before, moved)
        self.layoutChanged.emit()

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
        """Qt: one cell."""
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
        if cell.share > 0:
            bar = area.adjusted(4, 4, -4, -5)
            bar.setWidth(max(2, round(bar.width() * min(cell.share, 1.0))))
            back = colour(palette, Tone.SURFACE)
            painter.fillRect(bar, blend(colour(palette, Tone.ACCENT), back, 0.78))
        painter.setPen(palette.color(ROLES[cell.tone]))
        painter.setFont(font(SMALL_PX, bold=True) if cell.is_heading else view.font())
        room = area.adjusted(12, 0, -8, 0)
        if cell.icon_name:
            tint = palette.color(ROLES[cell.tone])
            image = icon(cell.icon_name, tint, _ICON_PX, view.devicePixelRatioF())
            painter.drawPixmap(room.left(), area.center().y() - _ICON_PX // 2, image)
            room.adjust(_ICON_PX + 6, 0, 0, 0)
        centre = Qt.AlignmentFlag.AlignVCenter
        if cell.is_number:
            centre |= Qt.AlignmentFlag.AlignRight
        if area.height() > 2 * _LINE_PX and not cell.is_path:
            painter.drawText(room, centre | Qt.TextFlag.TextWordWrap, cell.text)
            return
        end = Qt.TextElideMode.ElideMiddle if cell.is_path else Qt.TextElideMode.ElideRight
        painter.drawText(room, centre, view.fontMetrics().elidedText(cell.text, end, room.width()))


class _Header(QHeaderView):
    """Small secondary titles on the surface; those of ``numbers`` are aligned as their columns."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.numbers: frozenset[int] = frozenset()

    def paintSection(self, painter: QPainter, rect: QRect, logicalIndex: int) -> None:  # noqa: N803
        """Qt: one heading."""
        palette = self.palette()
        painter.fillRect(rect, colour(palette, Tone.SURFACE))
        line = QRect(rect.left(), rect.bottom(), rect.width(), 1)
        painter.fillRect(line, colour(palette, Tone.BORDER))
        painter.setPen(colour(palette, Tone.SECONDARY))
        painter.setFont(font(SMALL_PX))
        title = self.model().headerData(logicalIndex, Qt.Orientation.Horizontal)
        if self.isSortIndicatorShown() and self.sortIndicatorSection() == logicalIndex:
            painter.setPen(colour(palette, Tone.TEXT))
            ascending = self.sortIndicatorOrder() is Qt.SortOrder.AscendingOrder
            title = f"{title} {'▴' if ascending else '▾'}"
        flags = Qt.AlignmentFlag.AlignVCenter
        room = rect.adjusted(12, 0, -8, 0)
        if logicalIndex in self.numbers:
            flags |= Qt.AlignmentFlag.AlignRight
        painter.drawText(room, flags, title)


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
        self._scrolls_sideways = False
        self._row_height = _LINE_PX * (lines + 1)
        self.setModel(self._cells)
        self.setAccessibleName(name)
        self._header = _Header(self)
        self.setHorizontalHeader(self._header)
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

    def renew(self, rows: Mapping[Hashable, tuple[Cell, ...]]) -> None:
        """Show ``rows``; selection and scroll position stay with the keys that stay."""
        self._cells.renew(rows)
        self.updateGeometry()

    def align_right(self, columns: Iterable[int]) -> None:
        """Columns of numbers, in the header."""
        self._header.numbers = frozenset(columns)

    def let_scroll_sideways(self) -> None:
        """Where the columns do not fit, they keep their widths and scroll."""
        self.setHorizontalScrollBar(ThinScrollBar(Qt.Orientation.Horizontal))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self._scrolls_sideways = True

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Qt: the last column takes what is left, if enough is."""
        self._fit_last()
        super().resizeEvent(event)

    def show_column(self, column: int, shown: bool) -> None:
        """Whether one column is there."""
        if self.isColumnHidden(column) == shown:
            self.setColumnHidden(column, not shown)
            self._fit_last()

    def _fit_last(self) -> None:
        if self._scrolls_sideways:
            columns = range(self._cells.columnCount() - 1)
            taken = sum(self.columnWidth(column) for column in columns)
            stretches = self.viewport().width() - taken >= _LEAST_LAST_PX
            self.horizontalHeader().setStretchLastSection(stretches)
            if not stretches:
                self.setColumnWidth(columns.stop, _LEAST_LAST_PX)

    def be_sortable(self, column: int, order: Qt.SortOrder) -> QHeaderView:
        """Let a click on the header choose the order; its owner sorts and is told by the header."""
        self._header.setSectionsClickable(True)
        self._header.setSortIndicatorShown(True)
        self._header.setSortIndicator(column, order)
        return self._header

    def sizeHint(self) -> QSize:
        """Qt: header and rows."""
        rows = min(max(self._cells.rowCount(), 1), self._max_rows)
        return QSize(640, 28 + rows * self._row_height)

    def minimumSizeHint(self) -> QSize:
        """Qt: header and three rows, if there may be as many."""
        rows = min(max(self._cells.rowCount(), 1), 3, self._max_rows)
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

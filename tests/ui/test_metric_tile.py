"""A tile repaints what it says, and nothing else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gpupanel.model.gpu import Unavailable
from gpupanel.ui.widgets.metric_tile import MetricTile

if TYPE_CHECKING:
    from PySide6.QtGui import QPaintEvent
    from pytestqt.qtbot import QtBot


class WatchedTile(MetricTile):
    """Writes down the reason that was there at each paint."""

    def __init__(self) -> None:
        super().__init__("Power draw", "W", "Power of the board.", 120)
        self.painted: list[str | None] = []

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        super().paintEvent(event)
        self.painted.append(self._reason)

    def says(self, reason: str) -> bool:
        return self.painted[-1:] == [reason]


def test_a_new_reason_is_painted_at_once(qtbot: QtBot) -> None:
    tile = WatchedTile()
    qtbot.addWidget(tile)
    with qtbot.waitExposed(tile):
        tile.show()
    for reason in ("waiting for the first reading", "no sensor", "asleep"):
        tile.show_reading(Unavailable(reason), (), 100, None)
        qtbot.waitUntil(partial(tile.says, reason))


def test_the_same_reading_is_not_painted_again(qtbot: QtBot) -> None:
    tile = WatchedTile()
    qtbot.addWidget(tile)
    with qtbot.waitExposed(tile):
        tile.show()
    tile.show_reading(Unavailable("no sensor"), (), 100, None)
    qtbot.waitUntil(partial(tile.says, "no sensor"))
    painted = len(tile.painted)
    tile.show_reading(Unavailable("no sensor"), (), 100, None)
    qtbot.wait(50)
    assert len(tile.painted) == painted

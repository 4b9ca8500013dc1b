"""What the History page shows as a file, in the form of ``gpupanelctl history``.

Written by a thread of its own: a network drive may take its time, and the window does not wait.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from threading import Thread

from PySide6.QtCore import QObject, Qt, Signal

from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId
from gpupanel.sampling.export import Selection, write_csv, write_json
from gpupanel.sampling.rollup import Bin
from gpupanel.ui.past import Look


class Shown:
    """A look as the source of an export."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def bins(self, gpu_id: GpuId, metric: str, since_s: float, until_s: float) -> list[Bin]:
        """The points of the chart, oldest first."""
        assert gpu_id == self._look.question.gpu_id
        points = self._look.curves[metric].points
        first, last = (
            bisect_left(points, time_s, key=lambda point: point.time_unix_s)
            for time_s in (since_s, until_s)
        )
        return [Bin(int(time_s), 1, *values) for time_s, *values in points[first:last]]

    def events(self, since_s: float, until_s: float) -> list[EventRecord]:
        """The marks, oldest first."""
        return [one for one in self._look.events if since_s <= one.time_unix_s < until_s]


class Exporter(QObject):
    """Writes one file at a time.

    Signals:
        finished(str, str): The file, and why it could not be written; empty when it was.
    """

    finished = Signal(str, str)
    _written = Signal(str, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thread: Thread | None = None
        self._written.connect(self._end, Qt.ConnectionType.QueuedConnection)

    @property
    def is_busy(self) -> bool:
        """Whether a file is being written."""
        return self._thread is not None

    def write(self, look: Look, path: Path) -> None:
        """Begin to write ``look``: JSON where the name says so, else CSV."""
        assert not self.is_busy
        self._thread = Thread(target=self._write, args=(look, path), name="export")
        self._thread.start()

    def _write(self, look: Look, path: Path) -> None:
        try:
            write_file(look, path)
        except OSError as error:
            self._written.emit(str(path), error.strerror or str(error))
        else:
            self._written.emit(str(path), "")

    def _end(self, path: str, reason: str) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.finished.emit(path, reason)


def write_file(look: Look, path: Path) -> None:
    """Write ``look`` whole or not at all.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    # Points begin a little before the span that they are asked for.
    first_s = min(
        (curve.points[0].time_unix_s for curve in look.curves.values() if curve.points),
        default=look.since_s,
    )
    selection = Selection(
        min(first_s, look.since_s), look.until_s, (look.question.gpu_id,), look.question.metrics
    )
    write = write_json if path.suffix.lower() == ".json" else write_csv
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            write(Shown(look), selection, file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

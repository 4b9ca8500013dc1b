"""The audit log as the daemon sees it: ``record`` and go on; a thread of its own does the rest.

When the disk is full the daemon goes on. What happens is told to the mirror at once, waits in a
bounded ring for the disk, and what did not fit into the ring is counted in the chain.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from gpupanel.model.audit import AUDIT_EVENT_BY_NAME, AuditFields
from gpupanel.service.audit.chain_files import FILE_BYTES, ChainFiles
from gpupanel.service.audit.entry import Clock, Entry, cleaned, now
from gpupanel.service.audit.flood import Flood
from gpupanel.service.audit.mirror import Mirror, told_entry, told_record

MOST_WAITING = 4096
"""Records; at some 400 bytes each a megabyte and a half on the disk."""

BATCH = 256
"""Records between two waits for the disk."""

RETRY_S = 5.0
ROLLBACK_S = 1.0
"""So far back the clock may step unmentioned; time synchronization does."""

CLOSE_S = 5.0
"""So long ``close`` waits for a disk that does not answer."""


class Audit:
    """One audit log. Any thread may record; one thread of its own writes.

    Attributes:
        problem: Why something is not written down or not mirrored, for a person; empty while all
            is well.
        records_total: Written since the start.
        write_failures_total: Attempts that failed since the start.
    """

    def __init__(
        self,
        folder: Path,
        mirror: Mirror | None,
        clock: Clock = now,
        *,
        file_bytes: int = FILE_BYTES,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """Start the thread; the files are opened with the first record.

        Args:
            folder: ``paths.machine_log_dir()`` or ``paths.user_audit_dir()``.
            mirror: Of the service; a user's own agent has none.
            clock: Both clocks at this instant.
            file_bytes: Where a new file begins.
            most_waiting: Records that wait for a disk that is full.
        """
        self.records_total = self.write_failures_total = 0
        self._files = ChainFiles(folder, file_bytes)
        self._mirror = mirror
        self._clock = clock
        self._most_waiting = most_waiting
        self._turn = threading.Condition()
        self._fresh: deque[Entry] = deque()
        self._flood = Flood()
        self._lost = 0
        self._is_closed = False
        # What follows belongs to the thread.
        self._waiting: deque[Entry] = deque()
        self._gap: dict[str, Any] = {}
        self._retry_s = 0.0
        self._failure = self._excess = ""
        # A disk that hangs must not keep the daemon from ending.
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """As above."""
        mirrored = self._mirror.problem if self._mirror else ""
        return self._failure or self._excess or mirrored

    def record(self, event: str, **fields: Unpack[AuditFields]) -> None:
        """Write down one event; returns before it is on the disk.

        Args:
            event: A name of AUDIT_EVENTS.
            fields: Texts are made printable and short, numbers that are not finite unknown.

        Raises:
            ValueError: There is no such event or field: a mistake of the caller's code.
        """
        known = AUDIT_EVENT_BY_NAME.get(event)
        if known is None:
            raise ValueError(f"there is no audit event {event}")
        clean = cleaned(fields)
        with self._turn:
            entry = Entry(known, self._clock(), clean)
            if known.is_coalesced and not self._flood.admit(entry):
                return
            self._fresh.append(entry)
            if len(self._fresh) > self._most_waiting:
                self._fresh.popleft()
                self._lost += 1
            self._turn.notify()

    def close(self) -> None:
        """Write what waits, and end; returns after a few seconds also when the disk hangs."""
        with self._turn:
            self._is_closed = True
            self._turn.notify()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._take()
            if is_last or self._clock().boot_s >= self._retry_s:
                self._attempt()
        self._files.close()
        if self._mirror:
            self._mirror.close()

    def _take(self) -> bool:
        """Wait for something to do and take it; whether it is the last."""
        with self._turn:
            while not (self._fresh or self._is_closed or self._patience_s() <= 0):
                patience_s = self._patience_s()
                self._turn.wait(patience_s if patience_s < threading.TIMEOUT_MAX else None)
            moment = self._clock()
            fresh = [*self._fresh, *self._flood.due(moment, is_end=self._is_closed)]
            self._fresh.clear()
            lost, self._lost = self._lost, 0
            is_last = self._is_closed
        self._queue(fresh, lost)
        return is_last

    def _patience_s(self) -> float:
        """Until something is due that nobody reports."""
        due_s = self._flood.next_due_s
        if self._waiting or self._gap:
            due_s = min(due_s, self._retry_s)
        return due_s - self._clock().boot_s

    def _queue(self, fresh: Sequence[Entry], lost: int) -> None:
        self._waiting.extend(fresh)
        if self._failure:
            self._tell(fresh)
        while len(self._waiting) > self._most_waiting:
            self._waiting.popleft()
            lost += 1
        if lost:
            self._gap["lost"] = self._gap.get("lost", 0) + lost

    def _attempt(self) -> None:
        """Write all that waits, or say why not and try again later."""
        try:
            if (self._waiting or self._gap) and not self._files.is_open:
                self._gap |= self._files.open()
            while self._waiting or self._gap:
                self._write_batch()
        except OSError as reason:
            self.write_failures_total += 1
            self._retry_s = self._clock().boot_s + RETRY_S
            is_news = not self._failure
            self._failure = f"the audit log cannot be written: {reason}"
            if is_news:
                self._tell(self._waiting)
        else:
            self._failure = ""

    def _write_batch(self) -> None:
        taken = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
        records = self._files.append(self._with_remarks(taken))
        for _ in taken:
            self._waiting.popleft()
        self._gap = {}
        self.records_total += len(records)
        if self._mirror:
            for record in records:
                self._mirror.tell(told_record(record))
        if records[0].event == "audit.rotated":
            self._prune()

    def _with_remarks(self, taken: Sequence[Entry]) -> list[Entry]:
        """With records of what is missing before them, and of a clock that was set back."""
        entries: list[Entry] = []
        if self._gap:
            entries.append(Entry(AUDIT_EVENT_BY_NAME["audit.gap"], self._clock(), self._gap))
        latest_s = self._files.head.time_unix_s
        for entry in taken:
            back_s = latest_s - entry.moment.unix_s
            if back_s > ROLLBACK_S:
                rollback = AUDIT_EVENT_BY_NAME["clock.rollback"]
                entries.append(Entry(rollback, entry.moment, {"back_s": round(back_s, 3)}))
            latest_s = entry.moment.unix_s
            entries.append(entry)
        return entries

    def _prune(self) -> None:
        try:
            self._files.prune()
        except OSError as reason:
            self._excess = f"old files of the audit log cannot be removed: {reason}"
        else:
            self._excess = ""

    def _tell(self, entries: Sequence[Entry] | deque[Entry]) -> None:
        """The mirror learns at once of what the disk does not take."""
        if self._mirror:
            for entry in entries:
                self._mirror.tell(told_entry(entry))


if sys.platform == "win32":

    def mirror_here() -> Mirror:
        """The log of this system."""
        from gpupanel.service.audit.event_log import WindowsEventLog

        return WindowsEventLog()

else:

    def mirror_here() -> Mirror:
        """The log of this system."""
        from gpupanel.service.audit.journald import Journald

        return Journald()

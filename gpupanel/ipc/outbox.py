"""What waits to be sent to one client: replies are never lost, notifications may be."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque

from gpupanel.ipc.limits import Account

MAX_NOTIFICATION_BYTES = 1024 * 1024
"""What waits beyond this is old news: the oldest go first, the newest never does."""


class Outbox:
    """Filled by the daemon's threads, which never wait; emptied by the connection's writer."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._lines: OrderedDict[int, bytes] = OrderedDict()
        self._notifications: deque[int] = deque()
        self._notification_bytes = 0
        self._reply_bytes_sent = 0
        self._is_closed = False

    def reply(self, line: bytes) -> None:
        """Send ``line``, after all that waits."""
        with self._changed:
            if not self._is_closed:
                self._account.leave_unread(len(line))
                self._lines[next(self._numbers)] = line
                self._changed.notify()

    def notify(self, line: bytes) -> None:
        """Send ``line``, unless newer ones fill the room before its turn comes."""
        with self._changed:
            if self._is_closed:
                return
            number = next(self._numbers)
            self._lines[number] = line
            self._notifications.append(number)
            self._notification_bytes += len(line)
            while (
                self._notification_bytes > MAX_NOTIFICATION_BYTES and len(self._notifications) > 1
            ):
                oldest = self._lines.pop(self._notifications.popleft())
                self._notification_bytes -= len(oldest)
            self._changed.notify()

    def next(self) -> bytes | None:
        """The next line to send; waits for one, and is None when there will be none.

        Asking for the next one says that the last one was sent.
        """
        with self._changed:
            self._account.leave_unread(-self._reply_bytes_sent)
            self._reply_bytes_sent = 0
            while not self._lines and not self._is_closed:
                self._changed.wait()
            if not self._lines:
                return None
            number, line = self._lines.popitem(last=False)
            if self._notifications and self._notifications[0] == number:
                self._notifications.popleft()
                self._notification_bytes -= len(line)
            else:
                self._reply_bytes_sent = len(line)
            return line

    def close(self) -> None:
        """Take no more; what waits may still be sent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def discard(self) -> None:
        """Give up what waits: nobody will read it."""
        with self._changed:
            self._is_closed = True
            notifications = set(self._notifications)
            replies = [one for number, one in self._lines.items() if number not in notifications]
            unread = self._reply_bytes_sent + sum(map(len, replies))
            self._lines.clear()
            self._notifications.clear()
            self._reply_bytes_sent = 0
            self._account.leave_unread(-unread)
            self._changed.notify()

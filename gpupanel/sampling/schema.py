"""The database file of the long memory: its tables, and when it is refused or set aside.

Two resolutions, each a table of blocks of 60 bins: ten seconds for a day, a minute for 90 days.
What is younger than a block lies in ``tick`` as it came. Blocks are keyed by time first, so that
writing appends, forgetting cuts off the front, and reading one series is one step per block.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from gpupanel.model.errors import HistoryRefused

SCHEMA_VERSION = 2
APPLICATION_ID = 0x47505548
"""Tells our database from another program's: GPUH."""

FINE_S, COARSE_S = 10, 60
"""Widths of the bins of the tables ``fine`` and ``coarse``."""

FINE_KEPT_S = 25 * 3600
"""A day, and what a chart of a day reads before it."""

COARSE_KEPT_S = 90 * 86400

LEDGER = """
CREATE TABLE held (start_s INTEGER, gpu TEXT, cause TEXT, set_by TEXT, seconds REAL NOT NULL,
                   PRIMARY KEY (start_s, gpu, cause, set_by)) WITHOUT ROWID;
"""
"""The why-limited ledger of a day by minutes; an empty ``cause`` is the time that was watched."""

TABLES = f"""
CREATE TABLE series (id INTEGER PRIMARY KEY, gpu TEXT NOT NULL, metric TEXT NOT NULL,
                     UNIQUE (gpu, metric));
CREATE TABLE tick (time_ms INTEGER NOT NULL, readings BLOB NOT NULL);
CREATE TABLE fine (start_s INTEGER, series INTEGER, bins BLOB NOT NULL,
                   PRIMARY KEY (start_s, series)) WITHOUT ROWID;
CREATE TABLE coarse (start_s INTEGER, series INTEGER, bins BLOB NOT NULL,
                     PRIMARY KEY (start_s, series)) WITHOUT ROWID;
CREATE TABLE energy (start_s INTEGER, gpu TEXT, joules REAL NOT NULL, measured_s REAL NOT NULL,
                     PRIMARY KEY (start_s, gpu)) WITHOUT ROWID;
CREATE TABLE event (time_ms INTEGER NOT NULL, gpu TEXT, kind TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX event_time ON event (time_ms);
{LEDGER}
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
"""``readings`` are 32-bit floats, little endian, in the order of series ids; NaN is a gap."""

UPGRADES = {1: f"{LEDGER}PRAGMA user_version = 2;"}
"""What leads from a version to the next; ``SCHEMA_VERSION`` is the last."""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY_TIMEOUT_S = 5.0

_LOG_BYTES = 4 << 20
"""Of the write-ahead log, before it is written back; about ten minutes of eight GPUs."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, as against a full disk or a missing right."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def open_to_write(path: Path) -> sqlite3.Connection:
    """The database at ``path``, made if there is none.

    WAL with synchronous=NORMAL: a crash of this program loses no commit, one of the system the
    last ones, and neither the file.

    Raises:
        HistoryRefused: It is another program's, or of a newer version of this one.
        sqlite3.Error: It cannot be opened, or it is damaged.
    """
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        _check(connection, path)
        connection.execute("PRAGMA journal_mode = WAL").close()
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # After it was written back the file shrinks: its size then tells how full it is.
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES // 4}")
        version = _version(connection)
        if version < SCHEMA_VERSION:
            made = TABLES if not version else UPGRADES[version]
            connection.executescript(f"BEGIN IMMEDIATE;{made}COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """The database at ``path``, beside whoever writes it.

    Raises:
        HistoryRefused: There is none, or it cannot be read.
    """
    if not path.is_file():
        raise HistoryRefused(f"{path}: nothing has been remembered yet; open gpupanel for a while")
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro",
            uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False,
        )  # fmt: skip
    except sqlite3.Error as error:
        raise HistoryRefused(f"{path}: {error}") from error
    try:
        _check(connection, path)
        if not _version(connection):
            raise HistoryRefused(f"{path}: nothing has been remembered yet")
    except sqlite3.Error as error:
        connection.close()
        raise HistoryRefused(f"{path}: {error}") from error
    except HistoryRefused:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is done meanwhile is written, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Checkpoint:
    """Writes a long log back into the database, on a thread and a connection of its own.

    SQLite would do it within the commit that made the log too long, and have it wait for the disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._thread: threading.Thread | None = None

    def consider(self) -> None:
        """Begin if the log is long; to be called after a commit."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._log.stat().st_size >= _LOG_BYTES:
            self._thread = threading.Thread(target=self._run, name="history log", daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait until it is done, if it goes on."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        # What is wrong with the disk, the next commit says.
        with suppress(sqlite3.Error), closing(sqlite3.connect(self._path, timeout=0)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def lock(path: Path) -> sqlite3.Connection:
    """The right to write ``path``, for one process at a time, until it closes this or dies.

    A database of its own, since SQLite knows how to lock on every system and file system.

    Raises:
        HistoryRefused: Another gpupanel has it.
        sqlite3.Error: The lock file cannot be made.
    """
    connection = sqlite3.connect(
        path.with_name(f"{path.name}.lock"),
        timeout=0, isolation_level=None, check_same_thread=False,
    )  # fmt: skip
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise HistoryRefused(f"{path}: another gpupanel writes the history") from error
        raise
    return connection


def set_aside(path: Path) -> Path:
    """Rename a damaged database, with what belongs to it; returns where it is now.

    Raises:
        OSError: It could not be renamed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}-{time.time_ns() % 1_000_000:06}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _check(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection)
    if version > SCHEMA_VERSION:
        raise HistoryRefused(
            f"{path}: written by a newer gpupanel (schema {version}, this one knows "
            f"{SCHEMA_VERSION}): install the newer one, or move the file away"
        )
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and owner != APPLICATION_ID:
        raise HistoryRefused(f"{path}: the database of another program; move it away")

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.audit import AUDIT_EVENTS, Severity
from gpupanel.service.audit import event_log, journald
from gpupanel.service.audit.mirror import told_record
from tests.service.audit_chain import chain

if sys.platform == "win32":
    pytest.skip("the journal is of Linux", allow_module_level=True)

(RECORD,) = chain(1)


def entry_read(datagram: bytes) -> dict[str, str]:
    """A reader of the native protocol, written from its description."""
    entry = {}
    while datagram:
        line, rest = datagram.split(b"\n", 1)
        name, is_text, value = line.partition(b"=")
        if not is_text:
            (length,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest.startswith(b"\n")
            rest = rest[1:]
        entry[name.decode()] = value.decode()
        datagram = rest
    return entry


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(30)
        yield listening


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z_]{0,9}", fullmatch=True), st.text()))
def test_any_text_survives_the_protocol(entry: dict[str, str]) -> None:
    texts = {name: value.encode(errors="replace").decode() for name, value in entry.items()}
    assert entry_read(journald.datagram(texts)) == texts


def test_what_the_journal_is_told(tmp_path: Path, journal: socket.socket) -> None:
    mirror = journald.Journald(tmp_path / "socket")
    mirror.tell(told_record(RECORD))
    mirror.close()
    assert mirror.problem == ""
    assert entry_read(journal.recv(65536)) == {
        "MESSAGE": "Processes that mine are capped. cap_percent=50, gpus=GPU-1, name=program 0",
        "PRIORITY": "5",
        "SYSLOG_IDENTIFIER": "gpupaneld",
        "MESSAGE_ID": "2b80bb6869cd56a38104021af8f3ee2f",
        "GPUPANEL_EVENT": "hold.applied",
        "GPUPANEL_SEQ": "1",
        "GPUPANEL_HASH": RECORD.hash,
        "GPUPANEL_RECORD": RECORD.line,
    }


def test_message_ids_differ() -> None:
    ids = {journald.message_id(event) for event in AUDIT_EVENTS}
    assert len(ids) == len(AUDIT_EVENTS)
    assert all(UUID(one).hex == one for one in ids)


def test_a_journal_that_is_absent_or_deaf_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journald, "WAIT_S", 0.01)
    path = tmp_path / "socket"
    mirror = journald.Journald(path)
    absent = f"there is no journal at {path}: audit records have no mirror"
    assert mirror.problem == absent
    mirror.tell(told_record(RECORD))
    assert mirror.problem == absent
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        mirror.tell(told_record(RECORD))
        assert mirror.problem == ""
        while not mirror.problem:
            mirror.tell(told_record(RECORD))
        assert mirror.problem.startswith("the journal was not told of an audit record: ")
        listening.recv(65536)
        mirror.tell(told_record(RECORD))
        assert mirror.problem == ""
    mirror.close()


def test_the_event_log_of_windows() -> None:
    told = told_record(RECORD)
    assert event_log.texts(told) == [told.message, "1", RECORD.hash, RECORD.line]
    assert set(event_log.EVENT_TYPES) == set(Severity)
    # EventCreate.exe has messages for these numbers alone.
    assert all(1 <= event.number <= 1000 for event in AUDIT_EVENTS)


CGROUPS = next(
    (one for one in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"))
     if (one / "cgroup.procs").exists() and (one / "cgroup.controllers").exists()), None,
)  # fmt: skip


@pytest.fixture
def own_group() -> Iterator[Path]:
    """A control group for this test, so that nothing of it can meet the machine's."""
    assert CGROUPS is not None
    group = CGROUPS / f"gpupanel-test-journal-{os.getpid()}"
    group.mkdir()
    yield group
    for directory, _, _ in os.walk(group, topdown=False):
        os.rmdir(directory)


_NAMESPACES = "--mount --cgroup --pid --mount-proc --fork --kill-child"
"""With one of processes, all of them end with the first, whatever goes wrong."""


@pytest.mark.skipif(
    os.geteuid() != 0 or CGROUPS is None or not os.access(CGROUPS, os.W_OK)
    or not Path("/lib/systemd/systemd-journald").exists() or not shutil.which("unshare"),
    reason="needs root, a writable cgroup v2 and systemd-journald",
)  # fmt: skip
def test_a_real_journal_and_forgeries(tmp_path: Path, own_group: Path) -> None:
    script = Path(__file__).parent / "audit_own_journal.py"
    enter = f'echo $$ > "{own_group}/cgroup.procs"; exec unshare {_NAMESPACES} "$@"'
    answer = subprocess.run(
        ["sh", "-c", enter, "sh", sys.executable, str(script), str(tmp_path / "log")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    seen = json.loads(answer.stdout)
    assert seen["mirrored"] == list(range(1, 21))
    assert seen["hashes_agree"]
    assert seen["lines_agree"]
    assert seen["first"]["PRIORITY"] == "5"
    assert seen["first"]["MESSAGE"].endswith("name=xm??rig, pid=0, reason=über = | \\")
    # A held process lies below the service's unit, and the journal says so; root's own does not.
    assert seen["forged"] == [["65534", "gpupaneld.service"], ["0", None]]
    assert seen["whole"] == [0, []]
    code, (finding,) = seen["cut"]
    assert (code, finding["kind"]) == (1, "truncated")
    assert finding["text"] == "the journal knows the records up to 20, the files end at 15"

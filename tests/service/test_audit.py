from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gpupanel.model.chain import Moment, Record, file_name, unseal
from gpupanel.model.gpu import Unavailable
from gpupanel.service.audit import chain_files
from gpupanel.service.audit.chain_files import ChainFiles
from gpupanel.service.audit.entry import MOST_CHARACTERS, MOST_TEXTS, now
from gpupanel.service.audit.flood import MOST_KEYS, WINDOW_S
from gpupanel.service.audit.log import RETRY_S, Audit
from tests.service.audit_chain import (
    START_UNIX_S,
    Clock,
    Mirror,
    broken,
    chain,
    checked,
    content,
    lay_down,
)

HERE = Path(__file__).parent


def records_in(folder: Path) -> list[Record]:
    lines = [
        line for path in sorted(folder.glob("audit-*")) for line in path.read_bytes().splitlines()
    ]
    return [unseal(line) for line in lines]


def events_in(folder: Path) -> list[str]:
    return [record.event for record in records_in(folder)]


def test_what_is_recorded_can_be_read_again(tmp_path: Path) -> None:
    clock, mirror = Clock(), Mirror()
    audit = Audit(tmp_path / "log", mirror, clock)
    audit.record("service.started", scope="system", version="1.2")
    audit.record("hold.applied", pid=4242, name="xmrig", cap_percent=50, gpus=("GPU-1", "GPU-2"))
    audit.close()
    assert audit.problem == ""
    assert audit.records_total == 2
    first, second = records_in(tmp_path / "log")
    assert (first.seq, first.event, first.severity) == (1, "service.started", "notice")
    assert first.time == "2027-01-15T08:00:00.000000Z"
    assert first.boot_s == 100.0
    assert second.fields == {
        "pid": 4242, "name": "xmrig", "cap_percent": 50, "gpus": ["GPU-1", "GPU-2"]
    }  # fmt: skip
    assert second.prev == first.hash
    assert [told.record for told in mirror.told] == [first, second]
    assert mirror.told[1].message.startswith(
        "Processes that mine are capped. cap_percent=50, gpus="
    )
    assert mirror.is_closed


def test_a_hash_is_what_sha256sum_says(tmp_path: Path) -> None:
    audit = Audit(tmp_path, None)
    audit.record("policy.removed", reason='a "quote", a \\ and an é')
    audit.close()
    path = tmp_path / file_name(1)
    command = r"""sed -E 's/,"hash":"[0-9a-f]{64}"}$/}/' "$1" | tr -d '\n' | sha256sum"""
    answer = subprocess.run(
        ["sh", "-c", command, "sh", str(path)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split()[0] == json.loads(path.read_text())["hash"]


def test_texts_are_short_and_printable_and_numbers_finite(tmp_path: Path) -> None:
    audit = Audit(tmp_path, None)
    audit.record(
        "hold.applied",
        name="a\x1b[31mb\nc\u202ed\ud800e\x7f",
        reason="x" * 1000,
        gpus=tuple("g" for _ in range(1000)),
        window_s=math.inf,
        posterior=math.nan,
        efficiency_percent=Unavailable("not measured"),
        user=None,
        is_best_effort=True,
    )
    audit.close()
    (record,) = records_in(tmp_path)
    assert record.fields["name"] == "a?[31mb?c?d?e?"
    assert record.fields["reason"] == "x" * (MOST_CHARACTERS - 1) + "…"
    assert record.fields["gpus"] == ["g"] * MOST_TEXTS + [f"and {1000 - MOST_TEXTS} more"]
    unknown = ("window_s", "posterior", "efficiency_percent", "user")
    assert [record.fields[name] for name in unknown] == [None] * 4
    assert record.fields["is_best_effort"] is True


@pytest.mark.parametrize(
    ("event", "fields", "told"),
    [
        ("hold.aplied", {}, "there is no audit event hold.aplied"),
        ("hold.applied", {"command_line": "xmrig -u wallet"}, "has no field command_line"),
        ("hold.applied", {"pid": object()}, "holds no object"),
    ],
)
def test_a_mistake_in_the_code_is_told_to_it(
    tmp_path: Path, event: str, fields: dict[str, Any], told: str
) -> None:
    audit = Audit(tmp_path, None)
    with pytest.raises(ValueError, match=re.escape(told)):
        audit.record(event, **fields)
    audit.close()
    assert list(tmp_path.iterdir()) == []


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(3):
        audit = Audit(tmp_path, None)
        audit.record("service.started")
        audit.record("service.stopped")
        audit.close()
    assert [record.seq for record in records_in(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert checked(tmp_path).findings == ()
    assert (tmp_path / file_name(1)).stat().st_mode & 0o777 == 0o640


def test_files_rotate_and_the_oldest_go(tmp_path: Path) -> None:
    audit = Audit(tmp_path, None, Clock(), file_bytes=1)
    mirror_of_count = chain_files.FILES + 3
    for number in range(mirror_of_count):
        audit.record("policy.loaded", generation=number)
        _written(audit, 2 * number + 1)
    audit.close()
    names = sorted(path.name for path in tmp_path.glob("audit-*"))
    assert names == [file_name(number) for number in range(4, 4 + chain_files.FILES)]
    first = records_in(tmp_path)[0]
    assert first.event == "audit.rotated"
    assert first.fields["previous_file"] == file_name(3)
    outcome = checked(tmp_path)
    assert outcome.findings == ()
    (tmp_path / names[0]).unlink()
    assert broken(checked(tmp_path)) == ["deleted"]


def test_rotation_does_not_hide_what_somebody_else_removed(tmp_path: Path) -> None:
    audit = Audit(tmp_path, None, Clock(), file_bytes=1)
    for number in range(chain_files.FILES + 1):
        if number == chain_files.FILES:
            (tmp_path / file_name(1)).unlink()
        audit.record("policy.loaded", generation=number)
        _written(audit, 2 * number + 1)
    audit.close()
    assert len(list(tmp_path.glob("audit-*"))) == chain_files.FILES
    assert broken(checked(tmp_path)) == ["deleted"]


def _written(audit: Audit, count: int) -> None:
    """Wait until so many records are on the disk; the thread reports to nobody."""
    done = threading.Event()
    while audit.records_total < count:
        assert audit.problem == ""
        done.wait(0.001)


def test_an_old_file_that_cannot_be_removed_is_told_and_nothing_is_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: object) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    audit = Audit(tmp_path, None, Clock(), file_bytes=1)
    for number in range(chain_files.FILES):
        audit.record("policy.loaded", generation=number)
        _written(audit, 2 * number + 1)
    monkeypatch.setattr(os, "unlink", refused)
    audit.record("policy.removed")
    audit.close()
    assert "cannot be removed" in audit.problem
    assert len(list(tmp_path.glob("audit-*"))) == chain_files.FILES + 1
    assert events_in(tmp_path).count("policy.removed") == 1
    assert checked(tmp_path).findings == ()


def test_two_processes_cannot_write_one_chain(tmp_path: Path) -> None:
    first = Audit(tmp_path, None)
    first.record("service.started")
    _written(first, 1)
    second = Audit(tmp_path, None)
    second.record("service.started")
    second.close()
    assert second.problem == (
        f"the audit log cannot be written: another gpupanel writes the audit log in {tmp_path}"
    )
    first.record("service.stopped")
    first.close()
    assert events_in(tmp_path) == ["service.started", "service.stopped"]


LAST_BYTES = len(content(chain(3))) - len(content(chain(2)))


def test_a_crash_at_any_byte_of_a_record_is_told_as_torn(tmp_path: Path) -> None:
    whole = content(chain(3))
    for cut in range(1, LAST_BYTES):
        lay_down(tmp_path, [whole[:-cut]])
        assert [finding.kind.value for finding in checked(tmp_path).findings] == ["torn"]
        files = ChainFiles(tmp_path)
        assert files.open() == {"torn_bytes": LAST_BYTES - cut}
        files.close()
        assert (tmp_path / file_name(1)).read_bytes() == content(chain(2))


@pytest.mark.parametrize("cut", [1, LAST_BYTES // 2, LAST_BYTES - 1])
def test_the_chain_goes_on_behind_a_torn_record(tmp_path: Path, cut: int) -> None:
    lay_down(tmp_path, [content(chain(3))[:-cut]])
    audit = Audit(tmp_path, None, Clock())
    audit.record("service.started")
    audit.close()
    gap = records_in(tmp_path)[2]
    assert (gap.event, gap.fields) == ("audit.gap", {"torn_bytes": LAST_BYTES - cut})
    outcome = checked(tmp_path)
    assert [finding.kind.value for finding in outcome.findings] == ["gap"]
    assert outcome.records == 4


def test_a_whole_record_is_not_torn(tmp_path: Path) -> None:
    lay_down(tmp_path, [content(chain(3))])
    audit = Audit(tmp_path, None, Clock())
    audit.record("service.started")
    audit.close()
    assert checked(tmp_path).findings == ()
    # The clock of the test is behind the chain's.
    assert events_in(tmp_path)[3:] == ["clock.rollback", "service.started"]


@pytest.mark.parametrize("garbage", [b"garbage\n", b"\n", b"\0" * 100 + b"\n", b'{"seq":3}\n'])
def test_a_damaged_end_is_kept_as_evidence(tmp_path: Path, garbage: bytes) -> None:
    lay_down(tmp_path, [content(chain(2)) + garbage])
    audit = Audit(tmp_path, None, Clock())
    audit.record("service.started")
    audit.close()
    assert (tmp_path / file_name(1)).read_bytes().endswith(garbage)
    second = [unseal(line) for line in (tmp_path / file_name(2)).read_bytes().splitlines()]
    assert [record.event for record in second][:2] == ["audit.rotated", "audit.gap"]
    assert second[1].fields == {"damaged_file": file_name(1)}
    assert broken(checked(tmp_path)) == ["edited"]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_is_taken_away_meanwhile_is_missed(tmp_path: Path, is_replaced: bool) -> None:
    clock, mirror = Clock(), Mirror()
    audit = Audit(tmp_path, mirror, clock)
    for _ in range(5):
        audit.record("policy.loaded")
    _written(audit, 5)
    path = tmp_path / file_name(1)
    (kept, _) = path.read_bytes().split(b"\n", 1)
    path.unlink()
    if is_replaced:
        path.write_bytes(kept + b"\n")
    audit.record("policy.removed")
    mirror.wait_for(lambda told: told[-1].record is None)
    assert "audit log cannot be written" in audit.problem
    clock.go_on(RETRY_S)
    audit.record("service.stopped")
    audit.close()
    assert audit.problem == ""
    newest = records_in(tmp_path)[-3:]
    assert [record.event for record in newest] == ["audit.gap", "policy.removed", "service.stopped"]
    assert newest[-1].seq == 5 + 1 + 3
    assert broken(checked(tmp_path)) == ["deleted"]


def test_a_folder_that_cannot_be_made_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    clock, mirror = Clock(), Mirror()
    audit = Audit(tmp_path / "file" / "log", mirror, clock, most_waiting=10)
    for number in range(25):
        audit.record("policy.loaded", generation=number)
    mirror.wait_for(lambda told: len(told) >= 10)
    assert "Not a directory" in audit.problem
    assert audit.write_failures_total == 1
    assert all(told.record is None for told in mirror.told)
    before = len(mirror.told)
    audit.record("policy.stale")
    mirror.wait_for(lambda told: told[-1].event.name == "policy.stale")
    assert len(mirror.told) >= before + 1
    (tmp_path / "file").unlink()
    clock.go_on(RETRY_S)
    audit.record("service.stopped")
    audit.close()
    assert audit.problem == ""
    gap, *kept = records_in(tmp_path / "file" / "log")
    assert gap.event == "audit.gap"
    assert gap.fields["lost"] + len(kept) == 27
    assert [one.fields.get("generation") for one in kept] == [*range(17, 25), None, None]


def test_what_did_not_reach_the_disk_is_in_no_mirror_and_comes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(fd: int) -> None:
        raise OSError(5, "Input/output error")

    clock, mirror = Clock(), Mirror()
    audit = Audit(tmp_path, mirror, clock)
    audit.record("service.started")
    _written(audit, 1)
    monkeypatch.setattr(os, "fsync", fails)
    audit.record("policy.loaded")
    mirror.wait_for(lambda told: len(told) == 2)
    assert mirror.told[1].record is None
    assert "Input/output error" in audit.problem
    assert events_in(tmp_path) == ["service.started"]
    monkeypatch.undo()
    clock.go_on(RETRY_S)
    audit.record("service.stopped")
    audit.close()
    assert audit.problem == ""
    assert events_in(tmp_path) == ["service.started", "policy.loaded", "service.stopped"]
    assert [told.record for told in mirror.told if told.record] == records_in(tmp_path)


def test_denials_of_one_user_are_counted(tmp_path: Path) -> None:
    clock = Clock()
    audit = Audit(tmp_path, None, clock)
    for _ in range(1000):
        audit.record("auth.denied", uid=1000, method="controls.set")
    audit.record("auth.denied", uid=1001, method="controls.set")
    audit.record("ipc.limit_hit", uid=1000, limit="requests per second")
    clock.go_on(WINDOW_S)
    audit.record("hold.failed", pid=1)
    _written(audit, 5)
    audit.record("auth.denied", uid=1000, method="controls.set")
    audit.close()
    told = [
        (one.event, one.fields.get("uid"), one.fields.get("count")) for one in records_in(tmp_path)
    ]
    assert told[:3] == [
        ("auth.denied", 1000, None), ("auth.denied", 1001, None), ("ipc.limit_hit", 1000, None),
    ]  # fmt: skip
    assert sorted(told[3:5]) == [("auth.denied", 1000, 999), ("hold.failed", None, None)]
    assert told[5:] == [("auth.denied", 1000, 1)]


def test_a_crowd_of_users_is_counted_together(tmp_path: Path) -> None:
    audit = Audit(tmp_path, None, Clock())
    for uid in range(MOST_KEYS + 100):
        audit.record("auth.denied", uid=uid, user=f"user{uid}", method="controls.set")
    audit.close()
    records = records_in(tmp_path)
    assert len(records) == MOST_KEYS + 2
    assert (records[-1].fields["uid"], records[-1].fields["count"]) == (None, 99)


def test_a_clock_that_is_set_back_is_recorded_once(tmp_path: Path) -> None:
    clock = Clock()
    audit = Audit(tmp_path, None, clock)
    audit.record("service.started")
    clock.unix_s -= 0.5
    audit.record("policy.loaded")
    clock.unix_s -= 3600
    audit.record("policy.loaded")
    audit.record("service.stopped")
    audit.close()
    clock.unix_s -= 60
    again = Audit(tmp_path, None, clock)
    again.record("service.started")
    again.close()
    back = [one.fields["back_s"] for one in records_in(tmp_path) if one.event == "clock.rollback"]
    assert back == [3600.0, 60.0]
    assert events_in(tmp_path)[2] == "clock.rollback"


def test_eight_threads_at_once(tmp_path: Path) -> None:
    audit = Audit(tmp_path, None, file_bytes=100_000)

    def work(uid: int) -> None:
        for count in range(250):
            audit.record("verdict.changed", uid=uid, count=count)

    threads = [threading.Thread(target=work, args=(uid,)) for uid in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    audit.close()
    assert checked(tmp_path).findings == ()
    records = [one.fields for one in records_in(tmp_path) if one.event == "verdict.changed"]
    for uid in range(8):
        assert [one["count"] for one in records if one["uid"] == uid] == list(range(250))


def test_this_moment_is_on_both_clocks() -> None:
    first, second = now(), now()
    assert isinstance(first, Moment)
    assert first.unix_s > START_UNIX_S / 2
    assert 0 < first.boot_s <= second.boot_s


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of Unix")
def test_25_kills_lose_nothing_that_the_mirror_knows(tmp_path: Path) -> None:
    script = HERE / "audit_killed.py"
    answer = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "log"), "25"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    mirrored = {int(seq): own for seq, own in map(str.split, answer.stdout.splitlines())}
    outcome = checked(tmp_path / "log")
    assert broken(outcome) == []
    assert outcome.first is not None
    kept = {seq: own for seq, own in mirrored.items() if seq >= outcome.first.seq}
    assert len(kept) > 100
    assert kept.items() <= outcome.by_seq.items()


@pytest.mark.skipif(sys.platform == "win32", reason="tmpfs is of Linux")
def test_a_full_disk_stops_nobody_and_is_told_later() -> None:
    as_root = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-rm"]
    answer = subprocess.run(
        [*as_root, sys.executable, str(HERE / "audit_full_disk.py")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "unshare:" in answer.stderr:
        pytest.skip(f"no mount of our own here: {answer.stderr.strip()}")
    assert answer.returncode == 0, answer.stderr
    seen = json.loads(answer.stdout)
    assert "No space left" in seen["problem_full"]
    assert seen["unnumbered"] > 0
    assert seen["problem_after"] == ""
    assert seen["broken"] == []
    assert seen["gap"]["lost"] > 0
    assert seen["kept"] + seen["gap"]["lost"] == seen["recorded"]
    assert seen["is_consecutive"]

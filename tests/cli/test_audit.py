from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel import paths
from gpupanel.cli.audit import folder, journal
from gpupanel.cli.audit.check import MOST_FINDINGS, Outcome, check
from gpupanel.cli.audit.journal import Mirrored, compared
from gpupanel.cli.main import main
from gpupanel.model.chain import GENESIS, Head, Moment, Record, file_name, file_number, seal, unseal
from tests.service.audit_chain import broken, chain, checked, content, lay_down, three_files

Out = pytest.CaptureFixture[str]

FILES = three_files(6)
CONTENTS = [content(records) for records in FILES]
LINES = [line for each in CONTENTS for line in each.splitlines(keepends=True)]
RECORDS = [record for records in FILES for record in records]
ALL = range(len(LINES))


def outcome_of(lines: Sequence[bytes]) -> Outcome:
    """Of lines that all stand in one file."""
    text = b"".join(lines)
    *ended, rest = text.split(b"\n")
    path = Path(file_name(1))
    found = [folder.Line(path, at, line, False) for at, line in enumerate(ended, start=1)]
    if rest:
        found.append(folder.Line(path, len(found) + 1, rest, True))
    return check(found)


def kinds(lines: Sequence[bytes]) -> set[str]:
    return set(broken(outcome_of(lines)))


def test_a_chain_that_nobody_touched_is_whole() -> None:
    outcome = outcome_of(LINES)
    assert outcome.findings == ()
    assert (outcome.first, outcome.last) == (RECORDS[0], RECORDS[-1])
    assert outcome.by_seq == {record.seq: record.hash for record in RECORDS}


@given(at=st.sampled_from(ALL), place=st.integers(0), byte=st.integers(0, 255))
def test_any_edit_is_found(at: int, place: int, byte: int) -> None:
    line = bytearray(LINES[at])
    # Without the last line's end: to take that away is to cut the end off.
    place %= len(line) - (at == ALL[-1])
    line[place] = byte if byte != line[place] else byte ^ 1
    assert kinds([*LINES[:at], bytes(line), *LINES[at + 1 :]]) >= {"edited"}


@given(at=st.sampled_from(ALL), place=st.integers(0), more=st.binary(min_size=1, max_size=9))
def test_any_bytes_more_are_found(at: int, place: int, more: bytes) -> None:
    line = LINES[at]
    place %= len(line)
    changed = line[:place] + more + line[place:]
    assert kinds([*LINES[:at], changed, *LINES[at + 1 :]]) >= {"edited"}


@given(at=st.sampled_from(ALL[:-1]), place=st.integers(0), count=st.integers(1, 2000))
def test_any_bytes_less_are_found(at: int, place: int, count: int) -> None:
    text, line = b"".join(LINES), b"".join(LINES[:at])
    start = len(line) + place % len(LINES[at])
    stop = min(start + count, len(b"".join(LINES[:-1])))
    assert kinds([text[:start], text[stop:]])


@given(first=st.sampled_from(ALL[:-1]), count=st.integers(1, 17))
def test_any_deletion_is_found(first: int, count: int) -> None:
    left = [*LINES[:first], *LINES[min(first + count, len(LINES) - 1) :]]
    assert kinds(left) == {"deleted"}


@given(order=st.permutations(ALL[:9]).filter(lambda order: order != list(ALL[:9])))
def test_any_order_but_the_one_is_found(order: list[int]) -> None:
    found = kinds([*(LINES[at] for at in order), *LINES[9:]])
    assert found <= {"reordered", "edited"}
    assert found


@given(one=st.sampled_from(ALL), other=st.sampled_from(ALL))
def test_two_that_changed_places_are_found(one: int, other: int) -> None:
    lines = list(LINES)
    lines[one], lines[other] = lines[other], lines[one]
    assert bool(kinds(lines)) == (one != other)


@given(copied=st.sampled_from(ALL), at=st.sampled_from(ALL))
def test_a_record_that_stands_there_twice_is_found(copied: int, at: int) -> None:
    assert "inserted" in kinds([*LINES[:at], LINES[copied], *LINES[at:]])


@given(at=st.sampled_from(ALL), text=st.binary(max_size=200))
def test_a_foreign_line_is_found(at: int, text: bytes) -> None:
    assert "edited" in kinds([*LINES[:at], text + b"\n", *LINES[at:]])


@given(at=st.sampled_from(ALL[:-1]), seq=st.integers(1, 10**40), follows=st.booleans())
def test_a_forged_record_that_agrees_with_itself_is_found(at: int, seq: int, follows: bool) -> None:
    before = RECORDS[at].hash if follows else GENESIS
    moment = Moment(RECORDS[at].time_unix_s, 1.0)
    forged = seal(Head(seq - 1, before), moment, "hold.released", "notice", {})
    assert kinds([*LINES[: at + 1], f"{forged.line}\n".encode(), *LINES[at + 1 :]])


@given(at=st.sampled_from(ALL[:-1]))
def test_a_record_that_was_sealed_anew_is_found_by_the_next(at: int) -> None:
    lines = [*LINES[:at], f"{resealed(at)[0].line}\n".encode(), *LINES[at + 1 :]]
    assert kinds(lines) == {"edited"}


def resealed(at: int) -> list[Record]:
    """The rest of the chain from one record on, which says something else."""
    head = RECORDS[at - 1].head if at else Head()
    records: list[Record] = []
    for record in RECORDS[at:]:
        fields = {**record.fields, **({} if records else {"name": "another"})}
        moment = Moment(record.time_unix_s, record.boot_s)
        records.append(seal(head, moment, record.event, record.severity, fields))
        head = records[-1].head
    return records


MIRRORED = [Mirrored(record.seq, record.hash) for record in RECORDS]


@given(kept=st.integers(0, len(LINES) - 1), torn=st.integers(0))
def test_an_end_that_was_cut_off_is_found_by_the_mirror_alone(kept: int, torn: int) -> None:
    rest = LINES[kept][: torn % len(LINES[kept])]
    outcome = outcome_of([*LINES[:kept], rest])
    assert broken(outcome) == []
    (finding,) = compared(outcome, MIRRORED, Path(file_name(3)))
    assert (finding.kind.value, finding.seq) == ("truncated", len(LINES))


@given(at=st.sampled_from(ALL))
def test_a_chain_that_was_written_anew_is_found_by_the_mirror_alone(at: int) -> None:
    outcome = outcome_of([*LINES[:at], *(f"{one.line}\n".encode() for one in resealed(at))])
    assert broken(outcome) == []
    findings = compared(outcome, MIRRORED, Path(file_name(3)))
    assert [finding.seq for finding in findings] == list(range(at + 1, len(LINES) + 1))


@given(first=st.integers(0, len(LINES) - 1), last=st.integers(0, len(LINES) - 1))
def test_a_mirror_that_knows_only_some_contradicts_nobody(first: int, last: int) -> None:
    known = MIRRORED[first : last + 1] or MIRRORED
    assert compared(outcome_of(LINES), known, Path(file_name(3))) == []


@given(st.binary(max_size=300))
def test_no_line_is_too_strange_to_be_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"is not a record|was changed"):
        unseal(line)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' + b"[" * 100_000 + b"}",
        b'{"seq":' + b"9" * 5000 + b"}",
        b'{"seq":1}',
        b'{"seq":true,"time":"2027-01-15T08:00:00Z","boot_s":1,"event":"a","severity":"b","prev":""}',
        b'{"seq":1,"time":"0001-01-01","boot_s":1,"event":"a","severity":"b","prev":""}',
        b'{"seq":1,"time":1,"boot_s":1,"event":"a","severity":"b","prev":""}',
        b'{"seq":1,"time":"2027-01-15T08:00:00Z","boot_s":1,"event":2,"severity":"b","prev":""}',
        b'{"seq":0,"time":"2027-01-15T08:00:00Z","boot_s":1,"event":"a","severity":"b","prev":""}',
    ],
)
def test_a_right_hash_makes_no_record(body: bytes) -> None:
    import hashlib

    own = hashlib.sha256(body).hexdigest().encode()
    with pytest.raises(ValueError, match="is not a record"):
        unseal(body[:-1] + b',"hash":"' + own + b'"}')


@given(st.integers(1, 10**9))
def test_names_of_files_are_numbers(number: int) -> None:
    assert file_number(file_name(number)) == number


@pytest.mark.parametrize(
    "name",
    ["audit-1.jsonl", "audit-0000001.jsonl", "audit-000001.jsonl.gz", "lock", "audit-.jsonl"],
)
def test_other_files_in_the_folder_are_left_alone(name: str) -> None:
    assert file_number(name) is None


@pytest.mark.parametrize(
    ("gone", "told"), [({1}, ["deleted"]), ({2}, ["deleted"]), ({1, 2}, ["deleted"]), ({3}, [])]
)
def test_files_that_are_missing(tmp_path: Path, gone: set[int], told: list[str]) -> None:
    lay_down(tmp_path, CONTENTS)
    for number in gone:
        (tmp_path / file_name(number)).unlink()
    assert broken(checked(tmp_path)) == told


def test_files_that_changed_places(tmp_path: Path) -> None:
    lay_down(tmp_path, [CONTENTS[1], CONTENTS[0], CONTENTS[2]])
    assert set(broken(checked(tmp_path))) == {"reordered"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return lay_down(tmp_path, CONTENTS)


def verified(log: Path, capsys: Out, *more: str) -> tuple[int, str]:
    code = main(["audit", "verify", "--folder", str(log), *more])
    return code, capsys.readouterr().out


def test_verify_says_ok(log: Path, capsys: Out) -> None:
    code, out = verified(log, capsys)
    assert code == 0
    assert out == (
        "ok: 18 records in 3 files, 1 of 2027-01-15T08:00:00.000000Z to 18 of "
        f"2027-01-15T08:00:17.000000Z; the newest is {RECORDS[-1].hash}\n"
    )


def test_verify_tells_file_line_and_record(log: Path, capsys: Out) -> None:
    path = log / file_name(2)
    path.write_bytes(path.read_bytes().replace(b'"cap_percent":50', b'"cap_percent":99', 1))
    code, out = verified(log, capsys)
    assert code == 1
    assert out.splitlines()[0] == (f"{path}:2: edited: the line was changed after it was written")
    assert out.splitlines()[1].startswith("broken: 17 records in 3 files")


def test_verify_tells_a_deletion_where_it_shows(log: Path, capsys: Out) -> None:
    path = log / file_name(3)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[3:]))
    code, out = verified(log, capsys)
    assert code == 1
    assert out.splitlines()[0] == (
        f"{path}:1: record 16: deleted: 3 of records 13 to 15 should stand before it"
    )


def test_verify_as_json(log: Path, capsys: Out) -> None:
    path = log / file_name(3)
    path.write_bytes(path.read_bytes()[:-1])
    code, out = verified(log, capsys, "--json")
    document = json.loads(out)
    assert code == 0
    assert document == {
        "ok": True, "folder": str(log), "files": 3, "records": 17, "first_seq": 1, "last_seq": 17,
        "since": RECORDS[0].time, "until": RECORDS[16].time, "hash": RECORDS[16].hash,
        "journal": None, "left_off": 0, "findings": document["findings"],
    }  # fmt: skip
    assert document["findings"] == [
        {
            "kind": "torn", "file": str(path), "line": 6, "seq": None, "is_broken": False,
            "text": "the line has no end: it is being written, or a crash cut it off",
        }
    ]  # fmt: skip


def test_a_chain_that_is_broken_everywhere_is_told_briefly(tmp_path: Path, capsys: Out) -> None:
    lay_down(tmp_path, [b"nothing\n" * 500])
    code, out = verified(tmp_path, capsys)
    assert code == 1
    assert len(out.splitlines()) == MOST_FINDINGS + 2
    assert out.splitlines()[-2:] == ["and 400 more", "broken: no records"]


@pytest.mark.skipif(os.name != "posix", reason="modes are of Unix")
@pytest.mark.parametrize(
    ("name", "mode", "told"),
    [
        ("", 0o777, "can be written by group or others (mode 0777)"),
        (file_name(2), 0o660, "can be written by group or others (mode 0660)"),
    ],
)
def test_verify_tells_who_else_could_have_written(
    log: Path, capsys: Out, name: str, mode: int, told: str
) -> None:
    (log / name).chmod(mode)
    code, out = verified(log, capsys)
    assert code == 4
    assert f"{log / name}: insecure: {told}" in out
    assert "whole, but not secure: 18 records" in out


@pytest.mark.skipif(os.name != "posix", reason="links are of Unix")
def test_a_link_is_not_trusted(log: Path, capsys: Out) -> None:
    (log / file_name(2)).rename(log / "elsewhere")
    (log / file_name(2)).symlink_to(log / "elsewhere")
    code, out = verified(log, capsys)
    assert code == 4
    assert "is a link" in out


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give away")
def test_a_file_of_somebody_else_is_not_trusted(log: Path, capsys: Out) -> None:
    os.chown(log / file_name(1), 65534, 65534)
    code, out = verified(log, capsys)
    assert code == 4
    assert "belongs to uid 65534: chown it" in out


def test_a_broken_chain_outweighs_a_loose_mode(log: Path, capsys: Out) -> None:
    (log / file_name(1)).chmod(0o666)
    (log / file_name(2)).unlink()
    code, out = verified(log, capsys)
    assert code == 1
    assert "insecure" in out


def test_there_is_no_log(tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "machine_log_dir", lambda: tmp_path / "none")
    monkeypatch.setattr(paths, "user_state_dir", lambda: tmp_path)
    (tmp_path / "audit").mkdir()
    for where, words in (("none", ()), ("audit", ("--user",))):
        for verb in ("verify", "show", "export"):
            assert main(["audit", verb, *words]) == 6
            err = capsys.readouterr().err
            assert err.startswith(f"gpupanelctl: {tmp_path / where}: there is no audit log; --user")


def test_the_machines_folder_is_a_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME", "GPUPANEL_LOG_DIR"):
        monkeypatch.setenv(name, "/tmp/evil")
    assert paths.machine_log_dir() == Path("/var/log/gpupanel")


def test_show_tells_the_newest(log: Path, capsys: Out) -> None:
    assert main(["audit", "show", "--folder", str(log), "--last", "2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["SEQ", "TIME", "SEVERITY", "EVENT", "FIELDS"]
    assert [row[0] for row in rows[1:]] == ["17", "18"]
    assert rows[2][3] == "hold.applied"


def test_show_only_some_events(log: Path, capsys: Out) -> None:
    arguments = ["audit", "show", "--folder", str(log), "--event", "audit.rotated", "--json"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [FILES[1][0].line, FILES[2][0].line]
    assert main([*arguments[:-1], "--since", "2028-01-01"]) == 0
    assert capsys.readouterr().out == "no such records\n"


def test_show_moves_no_cursor(tmp_path: Path, capsys: Out) -> None:
    evil = seal(Head(), Moment(1.8e9, 1.0), "\x1b[2J", "\x1b[A", {"\x1b]0;x\x07": "\x9b1A"})
    lay_down(tmp_path, [content([evil])])
    assert main(["audit", "show", "--folder", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "?[2J" in out
    assert all(letter.isprintable() for letter in out.replace("\n", ""))


@pytest.mark.parametrize("verb", ["show", "export"])
def test_a_line_that_is_no_record_is_told_and_left_out(log: Path, capsys: Out, verb: str) -> None:
    path = log / file_name(1)
    path.write_bytes(path.read_bytes() + b"nothing\n")
    assert main(["audit", verb, "--folder", str(log)]) == 1
    assert f"{path}:7: no record, left out" in capsys.readouterr().err


def test_export_since(log: Path, capsys: Out) -> None:
    arguments = ["audit", "export", "--folder", str(log), "--since", "2027-01-15T08:00:15+00:00"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [record.line for record in RECORDS if record.time_unix_s >= 1_800_000_015]


def entry(seq: object = "7", uid: str = "0", unit: str = journal.UNIT) -> dict[str, object]:
    return {"GPUPANEL_SEQ": seq, "GPUPANEL_HASH": "a" * 64, "_UID": uid, "_SYSTEMD_UNIT": unit}


def test_only_the_services_own_entries_count() -> None:
    forged = [
        entry(uid="1000"),
        entry(unit="session-1.scope"),
        entry(seq=None),
        entry(seq=["7", "8"]),
        {name: value for name, value in entry().items() if name != "_UID"},
        {name: value for name, value in entry().items() if name != "_SYSTEMD_UNIT"},
        {**entry(uid="1000"), "UID": "0", "SYSLOG_IDENTIFIER": "gpupaneld"},
        {**entry(), "_UID": ["0", "1000"]},
    ]
    lines = [json.dumps(one).encode() for one in (*forged, entry())]
    assert list(journal.trusted([*lines, b"not json", b"[]", b"1"])) == [Mirrored(7, "a" * 64)]


def test_the_journal_says_that_the_end_was_cut_off(
    log: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpupanel.cli.audit.verify.mirrored", lambda since: MIRRORED)
    code, out = verified(log, capsys, "--against-journal")
    assert code == 0
    assert out.splitlines()[-1] == (
        f"the journal knows 18 of them, up to record 18 {RECORDS[-1].hash}"
    )
    (log / file_name(3)).unlink()
    code, out = verified(log, capsys, "--against-journal", "--json")
    document = json.loads(out)
    assert code == 1
    assert document["journal"] == {"records": 18, "newest_seq": 18}
    assert [one["kind"] for one in document["findings"]] == ["truncated"]
    assert document["findings"][0]["text"] == (
        "the journal knows the records up to 18, the files end at 12"
    )


def test_the_journal_knows_nothing_of_a_users_own_log(capsys: Out) -> None:
    assert main(["audit", "verify", "--user", "--against-journal"]) == 2
    assert "the journal is told of the service's log only" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="a script stands in for journalctl")
@pytest.mark.parametrize(
    ("script", "told"),
    [
        (None, "this system keeps no journal"),
        ("exit 3", "failed with status 3"),
        ("echo '{}'", "the journal knows no audit record of gpupaneld.service"),
    ],
)
def test_a_journal_that_does_not_answer_is_no_proof(
    log: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch, script: str | None, told: str
) -> None:
    program = log / "journalctl"
    if script:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setattr(journal, "JOURNALCTL", str(program))
    assert main(["audit", "verify", "--folder", str(log), "--against-journal"]) == 6
    assert told in capsys.readouterr().err


def test_journalctl_is_asked_by_fields_that_it_trusts(
    log: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = log / "journalctl"
    answer = json.dumps(entry(seq="18") | {"GPUPANEL_HASH": RECORDS[-1].hash})
    program.write_text(f"#!/bin/sh\necho \"$@\" > '{log}/asked'\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(journal, "JOURNALCTL", str(program))
    code, _ = verified(log, capsys, "--against-journal", "--since", "2027-01-15T08:00:00+00:00")
    assert code == 0
    asked = (log / "asked").read_text().split()
    assert {"--system", "_SYSTEMD_UNIT=gpupaneld.service", "_UID=0", "--since=@1800000000"} <= set(
        asked
    )


def test_every_prefix_of_a_rotated_chain_is_whole() -> None:
    for count in itertools.accumulate(len(records) for records in FILES):
        assert outcome_of(LINES[:count]).findings == ()
    assert outcome_of(LINES[6:]).findings != ()
    assert outcome_of([f"{one.line}\n".encode() for one in chain(3)]).findings == ()

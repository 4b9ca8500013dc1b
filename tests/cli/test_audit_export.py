from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpupanel.cli.audit.cef import cef, key_of
from gpupanel.cli.audit.ecs import PLACES, ecs
from gpupanel.cli.audit.table import FIELDS, FORMULA, Table
from gpupanel.model.audit import AUDIT_EVENT_BY_NAME, AuditFields
from gpupanel.model.chain import Head, Moment, Record, seal, unseal

SPECIAL = st.sampled_from(
    ["=1+1", "@x", "-2", "+3", "\t", "'", "a|b", "\\", "a=b", "x\r\ny", '"', ","]
)
TEXTS = st.one_of(st.text(), SPECIAL, st.lists(SPECIAL).map("".join))


def record(event: str = "hold.applied", **fields: Any) -> Record:
    severity = AUDIT_EVENT_BY_NAME[event].severity.word
    return seal(Head(6, "a" * 64), Moment(1_800_000_000.25, 12.5), event, severity, fields)


def cef_read(line: str) -> tuple[list[str], dict[str, str]]:
    """A reader of the format, written from its description: seven bars, then key=value."""
    parts = re.findall(r"((?:[^|\\]|\\.)*)\|", line, re.DOTALL)[:7]
    extension = line[sum(len(part) + 1 for part in parts) :]
    header = [re.sub(r"\\(.)", r"\1", part) for part in parts]
    keys = list(re.finditer(r"(?:^| )([A-Za-z0-9]+)=", extension))
    ends = [key.start() for key in keys[1:]] + [len(extension)]
    values = {key[1]: extension[key.end() : end] for key, end in zip(keys, ends, strict=True)}
    unescape = {"n": "\n", "r": "\r"}
    return header, {
        key: re.sub(r"\\(.)", lambda found: unescape.get(found[1], found[1]), value)
        for key, value in values.items()
    }


@given(text=TEXTS, key=st.sampled_from(["name", "reason", "hold", "user"]))
def test_any_text_survives_ecs(text: str, key: str) -> None:
    document: Any = json.loads(json.dumps(ecs(record(**{key: text}), "host")))
    for step in PLACES.get(key, f"labels.{key}").split("."):
        document = document[step]
    assert document == text


@given(text=TEXTS, key=st.sampled_from(["name", "reason", "hold", "user"]))
def test_any_text_survives_cef(text: str, key: str) -> None:
    line = cef(record(pid=4242, **{key: text}), "host")
    assert "\n" not in line
    assert "\r" not in line
    header, extension = cef_read(line)
    assert header[0] == "CEF:0"
    assert extension[key_of(key)] == text
    assert extension["spid"] == "4242"


@given(text=TEXTS, key=st.sampled_from(["name", "reason", "hold", "user"]))
@example(text="\r", key="name")
def test_any_text_survives_csv_and_none_is_a_formula(text: str, key: str) -> None:
    out = io.StringIO(newline="")
    Table(out).write(record(**{key: text}))
    heading, row = csv.reader(io.StringIO(out.getvalue(), newline=""))
    cell = dict(zip(heading, row, strict=True))[key]
    assert not cell.startswith(FORMULA[:-1])
    assert cell.removeprefix("'") == text


@given(fields=st.dictionaries(st.sampled_from(sorted(AuditFields.__annotations__)), TEXTS))
def test_any_fields_survive_the_file_itself(fields: dict[str, str]) -> None:
    sealed = record(**fields)
    assert "\n" not in sealed.line
    assert unseal(sealed.line.encode()) == sealed
    assert sealed.fields == fields


def test_ecs_has_each_field_in_its_place() -> None:
    one = record(
        "auth.denied", uid=1000, user="ada", pid=7, generation=3, is_best_effort=True,
        gpus=["a", "b"], count=5, reason=None, boot_id="b", version="1.2", sha256="0" * 64,
    )  # fmt: skip
    assert ecs(one, "desk") == {
        "@timestamp": "2027-01-15T08:00:00.250000Z",
        "ecs": {"version": "8.11.0"},
        "message": "A request was refused: its user may not ask for it.",
        "log": {"level": "warning"},
        "event": {
            "kind": "alert", "action": "auth.denied", "sequence": 7, "hash": one.hash,
            "dataset": "gpupanel.audit", "module": "gpupanel", "provider": "gpupaneld",
            "category": ["api"], "type": ["denied"], "outcome": "failure",
        },
        "service": {"name": "gpupaneld", "type": "gpupanel", "version": "1.2"},
        "host": {"name": "desk", "boot": {"id": "b"}},
        "user": {"id": "1000", "name": "ada"},
        "process": {"pid": 7, "hash": {"sha256": "0" * 64}},
        "rule": {"version": "3"},
        "labels": {"is_best_effort": "true", "gpus": ["a", "b"], "count": "5"},
    }  # fmt: skip


def test_cef_of_one_record() -> None:
    one = record("policy.loosened", keys=["mining.action", "a=b"], cap_percent=50, uid=None)
    header, extension = cef_read(cef(one, None))
    assert header[1:3] == ["gpupanel", "gpupaneld"]
    assert header[4:] == [
        "policy.loosened", "The policy bounds something less than the one before did", "6"
    ]  # fmt: skip
    assert extension == {
        "rt": "1800000000250", "externalId": "7", "gpupanelHash": one.hash, "outcome": "success",
        "gpupanelKeys": "mining.action a=b", "gpupanelCapPercent": "50",
    }  # fmt: skip


@pytest.mark.parametrize("evil", ["a|b", "a\\|b", "a\nb"])
def test_an_event_of_a_newer_version_cannot_break_the_header(evil: str) -> None:
    sealed = seal(Head(), Moment(1.8e9, 1.0), evil, "grave", {"later": 1})
    header, extension = cef_read(cef(sealed, None))
    assert header[4:] == [evil.replace("\n", " "), evil.replace("\n", " "), "0"]
    assert extension["gpupanelLater"] == "1"
    document = ecs(sealed, None)
    assert "category" not in document["event"]
    assert document["labels"] == {"later": "1"}


def test_csv_keeps_what_a_newer_version_wrote() -> None:
    out = io.StringIO(newline="")
    Table(out).write(record(later=[1, "=2"], pid=-5, gpus=["=a", "b"]))
    heading, row = csv.reader(io.StringIO(out.getvalue(), newline=""))
    cells = dict(zip(heading, row, strict=True))
    assert tuple(heading) == FIELDS
    assert json.loads(cells["other"]) == {"later": [1, "=2"]}
    assert (cells["pid"], cells["gpus"], cells["seq"]) == ("-5", "'=a b", "7")

from __future__ import annotations

import math
import re
import tomllib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Claim, Level, Scope, Source
from gpupanel.policy.faults import Fault
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.parse import MAX_FILE_BYTES, parse, parse_machine
from gpupanel.policy.validate import MAX_DIAGNOSTICS, value_is_valid
from tests.policy.hostile import HOSTILE

GOOD = b"""# change 4711
schema = 1
name = "corp-workstations"
serial = 42
[mandatory.mining]
max_efficiency_percent = 50
[recommended]
mining.enforcement = "audit"
stress = { allowed_loads = ["gaming", "ai"], max_run_seconds = 600 }
"""


def faults(raw: bytes | str) -> list[tuple[int, int, str]]:
    raw = raw.encode() if isinstance(raw, str) else raw
    with pytest.raises(PolicyInvalid) as refused:
        parse(raw, "p.toml", Scope.MACHINE)
    assert all(one.path == "p.toml" for one in refused.value.diagnostics)
    assert all(str(one).isprintable() for one in refused.value.diagnostics)
    return [(one.line, one.column, one.code) for one in refused.value.diagnostics]


def text_of(raw: str) -> str:
    with pytest.raises(PolicyInvalid) as refused:
        parse(raw.encode(), "p.toml", Scope.MACHINE)
    return str(refused.value)


def test_a_good_file_becomes_claims_with_places() -> None:
    machine, recommended = Scope.MACHINE, Level.RECOMMENDED
    assert parse(GOOD, "p", machine) == (
        Claim("mining.enforcement", "audit", recommended, machine, Source("p", 8, 22)),
        Claim("stress.allowed_loads", ("ai", "gaming"), recommended, machine, Source("p", 9, 28)),
        Claim("stress.max_run_seconds", 600, recommended, machine, Source("p", 9, 64)),
        Claim("mining.max_efficiency_percent", 50, Level.MANDATORY, machine, Source("p", 6, 26)),
    )


def test_the_user_s_claims_are_wishes_at_both_levels() -> None:
    claims = parse(GOOD, "p", Scope.USER)
    assert {claim.level for claim in claims} == {Level.USER}
    assert {claim.scope for claim in claims} == {Scope.USER}


def test_windows_newlines_and_byte_order_mark_change_nothing() -> None:
    windows = b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n")
    assert parse(windows, "p", Scope.MACHINE) == parse(GOOD, "p", Scope.MACHINE)


def test_all_faults_of_a_file_in_one_pass_in_its_order() -> None:
    raw = """name = 1.5
serial = true
[mandatory.minning]
x = nan
[mandatory.mining]
  max_efficiency_percent = 150
max_eficiency_percent = 1979-05-27
enforcement = "enforced"
[recommended.stress]
allowed_loads = ["gaming", "gaming"]
max_run_seconds = 1e3
[recommended.mining]
max_efficiency_percent = 0
enforcement = true
[mining]
[[mandatory.stress]]
"""
    assert faults(raw) == [
        (1, 1, "GP010"), (1, 8, "GP013"), (2, 10, "GP013"), (3, 12, "GP011"), (6, 28, "GP012"),
        (7, 1, "GP011"), (8, 15, "GP014"), (10, 28, "GP015"), (11, 19, "GP013"),
        (13, 26, "GP012"), (14, 15, "GP013"), (15, 2, "GP011"), (16, 13, "GP013"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("schema = 1\n[mandatory.mining]\nmax_efficency_percent = 5", '"max_efficiency_percent"'),
        ("schema = 1\n[mandatory.mining]\nenforcement = 'audits'", 'did you mean "audit"'),
        ("schema = 1\n[mining]\nenforcement = 'audit'", "did you mean mandatory.mining"),
        ("schema = 1\nmax_run_seconds = 5", "did you mean mandatory.stress.max_run_seconds"),
        ("schema = 1\n[mandatory.mining]\nmax_efficiency_percent = 150", "150 > maximum 100"),
        ("schema = 1\n[mandatory.mining]\nmax_efficiency_percent = true", "an integer was expect"),
        ("schema = 2", "this version reads schema = 1"),
        ("schema = 1\nzzz = 1", "known here: schema, name, serial"),
    ],
)
def test_messages_tell_what_to_write(raw: str, words: str) -> None:
    assert words in text_of(raw)


@pytest.mark.parametrize(
    ("raw", "first"),
    [
        (b"", (1, 1, Fault.SCHEMA)),
        (b"schema = true", (1, 10, Fault.SCHEMA)),
        (b"schema = 1.0", (1, 10, Fault.SCHEMA)),
        (b"x" * (MAX_FILE_BYTES + 1), (0, 0, Fault.TOO_LARGE)),
        (b"\xff\xfe" + "schema = 1".encode("utf-16-le"), (1, 1, Fault.ENCODING)),
        (b"\xfe\xff" + "schema = 1".encode("utf-16-be"), (1, 1, Fault.ENCODING)),
        ("schema = 1".encode("utf-16-le"), (1, 1, Fault.ENCODING)),
        ("schema = 1\n# ä".encode() + b"\xff", (2, 4, Fault.ENCODING)),
        (b"\xef\xbb\xbf\xef\xbb\xbfschema = 1", (1, 1, Fault.SYNTAX)),
        (b"schema = 1\nschema = 1", (2, 1, Fault.DUPLICATE)),
        (b"schema = 1\n[a]\nb = 1\n[a.b]\n", (4, 5, Fault.SYNTAX)),
        (b"schema = 1 name = 'x'", (1, 12, Fault.SYNTAX)),
        (b"schema = 1\nname = 'x", (2, 8, Fault.SYNTAX)),
        (b'schema = 1\nname = """x', (2, 8, Fault.SYNTAX)),
        (b'schema = 1\n"\\q" = 1', (2, 4, Fault.SYNTAX)),
        (b"schema = 1\n\x1b[31m = 1", (2, 1, Fault.SYNTAX)),
        (b"a." * 20_000 + b"a = 1", (1, 1, Fault.TOO_DEEP)),
        (b"a = " + b"[" * 60_000, (1, 13, Fault.TOO_DEEP)),
        (b"a = " + b"{a=" * 20_000, (1, 29, Fault.TOO_DEEP)),
        (b"schema = " + b"9" * 60_000, (1, 10, Fault.TOO_LONG)),
        (b"schema = 0x" + b"f" * 60_000, (1, 10, Fault.TOO_LONG)),
        (b"schema = 0x" + b"f" * 60, (1, 10, Fault.SCHEMA)),
        (b"a = [" + b"1," * 30_000 + b"]", (1, 2004, Fault.TOO_MANY_KEYS)),
        (b"".join(b"a%d = 1\n" % n for n in range(6000)), (1001, 1, Fault.TOO_MANY_KEYS)),
        (b"a = 1\n" * 10_000, (2, 1, Fault.DUPLICATE)),
        (b"[a]\n" * 16_000, (2, 2, Fault.DUPLICATE)),
        (b'a = """' + b"\\" * 60_000, (1, 5, Fault.SYNTAX)),
        (b"'" * MAX_FILE_BYTES, (1, 3, Fault.SYNTAX)),
        (b"schema = 1\nname = '" + b"x" * 60_000 + b"'", (2, 8, Fault.TOO_LONG)),
        (b"x" * 60_000 + b" = 1\nschema = 1", (1, 1, Fault.UNKNOWN_KEY)),
        (b'schema = 1\n"\\u001b[31m" = 1', (2, 1, Fault.UNKNOWN_KEY)),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)
def test_hostile_files_are_refused_with_a_place(raw: bytes, first: tuple[int, int, Fault]) -> None:
    line, column, fault = first
    assert faults(raw)[0] == (line, column, fault.value)


def test_tomllib_sees_only_what_was_found_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def noted(text: str) -> dict[str, Any]:
        seen.append(text)
        return {"schema": 1}

    monkeypatch.setattr("gpupanel.policy.parse.tomllib.loads", noted)
    # And what the scanner does not understand is refused even where tomllib has no objection.
    assert faults("schema = 1\n = name\n" + "a." * 1000) == [(2, 2, "GP001")]
    assert seen == ["schema = 1\n = name"]


def test_many_faults_are_counted_and_not_listed() -> None:
    raw = "schema = 1\n" + "".join(f"k{n} = 1\n" for n in range(500))
    assert len(faults(raw)) == MAX_DIAGNOSTICS + 1
    assert "480 more faults follow" in text_of(raw)


BOUNDS = {
    "mining.max_efficiency_percent": (1, 100),
    "mining.grace_seconds": (0, 3600),
    "stress.max_run_seconds": (1, 7200),
    "stress.temperature_stop_c": (50, 105),
    "controls.power_limit_max_percent": (10, 200),
    "controls.power_limit_min_percent": (0, 100),
    "controls.fan_min_percent": (0, 100),
}
WORDS = {
    "mining.enforcement": {"off", "audit", "enforce"},
    "mining.action": {"observe", "notify", "throttle", "suspend", "terminate"},
}
GPU = r"(GPU-[0-9a-f-]+|[0-9a-f]+(:[0-9a-f]{2}){2}\.[0-7]|cpu)"
LISTS = {
    "stress.allowed_loads": r"mining|ai|gaming|diagnostics",
    "mining.allowed_executables": r"sha256:[0-9a-f]{64}|/.{1,250}|[A-Z]:\\.{1,250}",
    "mining.gpu_roles": GPU + "=(mining|general|ai|gaming)",
    "detection.miner_executables": r"[^/\\]{1,64}",
    "detection.pool_hosts": r"[a-z0-9.-]{3,253}",
}


def is_right(name: str, value: Any) -> bool:
    """What the reference table of the keys says, written down a second time."""
    if name in BOUNDS:
        low, high = BOUNDS[name]
        return type(value) is int and low <= value <= high
    if name in WORDS:
        return type(value) is str and value in WORDS[name]
    if name in LISTS:
        words = value if type(value) is list else [None]
        matching = all(re.fullmatch(LISTS[name], str(word)) for word in words)
        return None not in words and matching and len(set(words)) == len(words)
    return type(value) is bool


VALUES = st.one_of(
    st.integers(-2, 8000),
    st.booleans(),
    st.floats(),
    st.sampled_from(["off", "audit", "enforce", "OFF", "", "mining", "terminate"]),
    st.lists(st.sampled_from(["mining", "ai", "gaming", "games", ""]), max_size=4),
    st.lists(
        st.sampled_from(
            [
                "sha256:" + "0" * 64,
                "sha256:0",
                "/usr/bin/x",
                "cpu=mining",
                "cpu=x",
                "0000:01:00.0=gaming",
                "pool.example.org",
                "a/b",
                "POOL",
            ]
        ),
        max_size=3,
    ),
    st.just({}),
)


def toml(value: object) -> str:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


@given(st.sampled_from([key.name for key in POLICY_KEYS]), VALUES)
@example("mining.max_efficiency_percent", math.nan)
@example("mining.max_efficiency_percent", 2**63)
@example("stress.allowed_loads", [])
def test_exactly_the_right_values_pass(name: str, value: Any) -> None:
    raw = f"schema = 1\nmandatory.{name} = {toml(value)}"
    assert repr(tomllib.loads(raw)["mandatory"]) == repr(
        {name.split(".")[0]: {name.split(".")[1]: value}}
    )
    if is_right(name, value):
        [claim] = parse(raw.encode(), "p", Scope.MACHINE)
        assert claim.key == name
        assert claim.value == POLICY_KEY_BY_NAME[name].normal(value)
    else:
        [(line, column, code)] = faults(raw)[:1]
        assert line == 2
        assert column >= raw.split("\n")[1].index("=") + 3
        assert code in {"GP012", "GP013", "GP014", "GP015"}
    assert value_is_valid(name, value) == is_right(name, value)


def test_values_of_unknown_keys_are_not_valid() -> None:
    assert not value_is_valid("mining.nothing", 1)
    assert not value_is_valid("schema", 1)


def assert_parsed_or_refused(raw: bytes) -> None:
    """Refused with what tomllib says is no TOML, or lacks its schema, and with nothing else."""
    try:
        document = tomllib.loads(raw.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        document = {}
    if document == {"schema": 1} and document["schema"] is not True:
        assert parse(raw, "p", Scope.MACHINE) == ()
    else:
        assert faults(raw)


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
def test_no_bytes_at_all_do_anything_but_parse_or_be_refused(raw: bytes) -> None:
    assert_parsed_or_refused(raw)


@given(st.lists(st.sampled_from([*"[]{}=.\"'\\#,\n a1", "schema = 1", '"""', "'''"])))
def test_no_mix_of_toml_marks_does_anything_but_parse_or_be_refused(marks: list[str]) -> None:
    assert_parsed_or_refused("".join(marks).encode())


@pytest.mark.parametrize(("raw", "code"), HOSTILE.values(), ids=HOSTILE.keys())
def test_the_hostile_corpus_is_refused_in_words(raw: bytes, code: str) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        parse_machine(raw, "p.toml")
    first = refused.value.diagnostics[0]
    assert first.code == code
    assert re.fullmatch(r"[^\n\x1b]{10,200}", first.text)

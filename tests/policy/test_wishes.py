"""The user's own file as a text: keys are set in it without touching the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Scope
from gpupanel.policy.key import PolicyKey, Value
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.parse import parse
from gpupanel.policy.wishes import SCHEMA, WishFile, with_wish
from tests.policy.test_resolve import values_of

CAP = POLICY_KEY_BY_NAME["mining.max_efficiency_percent"]
ROLES = POLICY_KEY_BY_NAME["mining.gpu_roles"]

STARTS = (
    "",
    SCHEMA,
    "# mine\nschema = 1",
    "schema = 1\n[mandatory.mining] # why\nmax_efficiency_percent = 80 # because\n",
    "schema = 1\n[mandatory.mining]",
    "schema = 1\n[mandatory]\nmining.action = 'suspend'  # dotted\n\n[recommended.ui]\n# a tray\n",
    "schema = 1\n[recommended.mining]\nmax_efficiency_percent = 70\n"
    "[mandatory.mining]\nmax_efficiency_percent = 90\n",
    'schema = 1\n[mandatory.detection]\npool_hosts = [\n  "a.example", # one\n  "b.example",\n]\n',
    'schema = 1\n[mandatory.detection]\nminer_executables = ["a]#", "b\\"]"] # [kept]\n',
)


def claimed(text: str) -> dict[str, Value]:
    return {one.key: one.value for one in parse(text.encode(), "", Scope.USER)}


@st.composite
def wishes(draw: st.DrawFn) -> list[tuple[PolicyKey, Value]]:
    keys = draw(st.lists(st.sampled_from(POLICY_KEYS), min_size=1, max_size=5))
    return [(key, draw(values_of(key))) for key in keys]


# TOML takes no DEL as it is.
@example("", [(POLICY_KEY_BY_NAME["detection.miner_executables"], ("\x7f", 'a"b'))])
@settings(max_examples=60)
@given(st.sampled_from(STARTS), wishes())
def test_a_wish_is_in_the_text_and_all_else_stays(
    start: str, wished: list[tuple[PolicyKey, Value]]
) -> None:
    text, expected = start, claimed(start or SCHEMA)
    for key, value in wished:
        changed = with_wish(text, key, value)
        assert changed is not None
        expected[key.name] = key.normal(value)
        assert claimed(changed) == expected
        text = changed


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("", "schema = 1\n\n[mandatory.mining]\nmax_efficiency_percent = 50\n"),
        (STARTS[3], STARTS[3].replace("80", "50")),
        (STARTS[4], STARTS[4] + "\nmax_efficiency_percent = 50\n"),
        (STARTS[5], STARTS[5].replace("[mandatory]\n",
            "[mandatory]\nmining.max_efficiency_percent = 50\n")),
        # Of two places the later table counts, and that one is changed.
        (STARTS[6], STARTS[6].replace("90", "50")),
    ],
)  # fmt: skip
def test_the_line_stands_where_a_person_would_write_it(start: str, expected: str) -> None:
    assert with_wish(start, CAP, 50) == expected


def test_a_bracket_in_a_text_ends_no_list() -> None:
    head = STARTS[-1].partition('["a')[0]
    changed = with_wish(STARTS[-1], POLICY_KEY_BY_NAME["detection.miner_executables"], ("x",))
    assert changed == f'{head}["x"] # [kept]\n'


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        (SCHEMA, CAP, 0),
        (SCHEMA, CAP, 101),
        (SCHEMA, ROLES, ("here=nothing",)),
        ("schema = 1\nmandatory = { mining = { action = 'suspend' } }\n", CAP, 50),
    ],
)
def test_what_has_no_place_is_refused_and_not_guessed(
    text: str, key: PolicyKey, value: Value
) -> None:
    assert with_wish(text, key, value) is None


def test_faults_have_their_place_and_the_nearest_key(tmp_path: Path) -> None:
    file = WishFile(tmp_path / "policy.toml")
    (fault,) = file.faults("schema = 1\n[mandatory.mining]\n  max_eficiency_percent = 5\n")
    assert (fault.line, fault.column) == (3, 3)
    assert 'did you mean "max_efficiency_percent"' in fault.text
    assert file.faults(SCHEMA) == ()


def test_a_text_is_read_as_it_was_saved(tmp_path: Path) -> None:
    file = WishFile(tmp_path / "new" / "policy.toml")
    assert file.read() is None
    text = "# größer\nschema = 1\n"
    file.save(text)
    assert file.read() == text
    assert [path.name for path in file.path.parent.iterdir()] == ["policy.toml"]
    file.path.write_bytes(b"\xef\xbb\xbfschema = 1\r\n# x\r\n")
    assert file.read() == "schema = 1\n# x\n"


def test_an_invalid_text_is_never_written(tmp_path: Path) -> None:
    file = WishFile(tmp_path / "policy.toml")
    file.save(SCHEMA)
    with pytest.raises(PolicyInvalid):
        file.save("schema = 2\n")
    assert file.read() == SCHEMA


@pytest.mark.parametrize(("raw", "code"), [(b"\xff", "GP002"), (b"#" * 65537, "GP003")])
def test_what_is_no_policy_text_is_not_edited(tmp_path: Path, raw: bytes, code: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(raw)
    with pytest.raises(PolicyInvalid) as refused:
        WishFile(path).read()
    assert [one.code for one in refused.value.diagnostics] == [code]


if sys.platform != "win32":

    def test_a_link_stays_a_link(tmp_path: Path) -> None:
        (tmp_path / "dotfiles").mkdir()
        target, link = tmp_path / "dotfiles" / "policy.toml", tmp_path / "policy.toml"
        link.symlink_to(target)
        WishFile(link).save(SCHEMA)
        assert link.is_symlink()
        assert target.read_text() == SCHEMA

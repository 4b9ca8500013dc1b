from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.policy.faults import Fault
from gpupanel.policy.positions import MAX_PLACES, KeyPath, Place, scan

NAMES = st.text(st.sampled_from("abAB09_-.=#[]{}\"'\\ ,äλ\t"), max_size=4)
GAPS = st.sampled_from(["", " ", "\t "])


class Writer:
    """Writes random TOML; every scalar holds a number of its own, so that it can be told apart."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.count = 0
        self.literals: dict[KeyPath, str] = {}

    def key(self, name: str) -> str:
        forms = [json.dumps(name, ensure_ascii=self.draw(st.booleans()))]
        if re.fullmatch(r"[A-Za-z0-9_-]+", name):
            forms.append(name)
        if "'" not in name:
            forms.append(f"'{name}'")
        return self.draw(st.sampled_from(forms)) + self.draw(GAPS)

    def names(self, most: int) -> list[str]:
        return self.draw(st.lists(NAMES, max_size=most, unique=True))

    def scalar(self, path: KeyPath) -> str:
        self.count += 1
        n = self.count
        forms = [
            str(n), f"-{n}", f"0x{n:x}", f"{n}.5", f"{n}e1", f'"{n} \\" # ]"', f"'{n} = }}'",
            f'"""\n{n}" ""\\""" x"""', f"'''{n}''\n[no]\n'''''", f"1979-05-27 07:32:00.{n:06d}",
            f'"{n} \\u00e4 \\\\"', f'"""{n}"""""',
        ]  # fmt: skip
        self.literals[path] = literal = self.draw(st.sampled_from(forms))
        return literal

    def value(self, path: KeyPath, depth: int) -> str:
        kind = self.draw(st.sampled_from(["scalar", "scalar", "array", "inline"]))
        if kind == "scalar" or depth == 0:
            return self.scalar(path)
        gap = self.draw(GAPS)
        if kind == "inline":
            pairs = [self.pair(path, name, depth - 1) for name in self.names(2)]
            return "{" + gap + f",{gap}".join(pairs) + "}"
        gap = self.draw(st.sampled_from(["", " ", "\n", " # ] not here\n "]))
        count = self.draw(st.integers(0, 3))
        entries = [self.value((*path, index), depth - 1) + gap for index in range(count)]
        wants_comma = self.draw(st.booleans())
        comma = "," if entries and wants_comma else ""
        return "[" + gap + f",{gap}".join(entries) + comma + gap + "]"

    def pair(self, path: KeyPath, name: str, depth: int) -> str:
        parts = (name, *self.names(1))
        key = f".{self.draw(GAPS)}".join(self.key(part) for part in parts)
        return f"{key}={self.draw(GAPS)}{self.value((*path, *parts), depth)}"

    def lines(self, path: KeyPath) -> Iterator[str]:
        for name in self.names(3):
            yield self.pair(path, name, depth=2) + self.draw(st.sampled_from(["", " # k = 1"]))
            yield self.draw(st.sampled_from(["", "# [comment]", " "]))

    def document(self) -> str:
        lines = list(self.lines(()))
        for name in self.names(3):
            top = f"table {name}"
            for index in range(self.draw(st.integers(0, 2))):
                lines.append(f"[[{self.key(top)}]]")
                lines += self.lines((top, index))
                lines.append(f"[ {self.key(top)}.{self.key('sub table')}]  # [x]")
                lines += self.lines((top, index, "sub table"))
            lines.append(f"[{self.key('plain ' + name)}.{self.key('deep')}]")
            lines += self.lines(("plain " + name, "deep"))
        return "\n".join(lines)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[KeyPath, str]]:
    writer = Writer(draw)
    return writer.document(), writer.literals


def walk(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    entries: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    for name, entry in entries:
        yield (*path, name), entry
        yield from walk(entry, (*path, name))


def key_at(text: str, offset: int) -> str:
    """The key that stands at ``offset``, as tomllib reads it."""
    token = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""").match(text, offset)
    assert token, text[offset : offset + 20]
    return next(iter(tomllib.loads(f"{token.group()} = 0")))


@given(documents())
def test_every_place_holds_its_key_and_its_value(document: tuple[str, dict[KeyPath, str]]) -> None:
    text, literals = document
    parsed = tomllib.loads(text)
    positions = scan(text)
    assert positions.unsafe == ()
    assert positions.end == len(text)
    paths = dict(walk(parsed))
    assert positions.keys.keys() == paths.keys()
    for path in paths:
        if isinstance(path[-1], str):
            assert key_at(text, positions.keys[path]) == path[-1]
    for path, literal in literals.items():
        assert text.startswith(literal, positions.values[path]), path
        if isinstance(path[-1], str):
            between = text[positions.keys[path] : positions.values[path]]
            assert tomllib.loads(between + "0") == {path[-1]: 0}


@given(documents(), st.integers(0), st.text(max_size=3))
def test_a_text_with_a_scar_ends_the_scan_and_does_not_raise(
    document: tuple[str, dict[KeyPath, str]], at: int, scar: str
) -> None:
    at %= len(document[0]) + 1
    text = document[0][:at] + scar + document[0][at + len(scar) :]
    positions = scan(text)
    assert 0 <= positions.end <= len(text)
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert positions.unsafe == ()
    assert positions.keys.keys() == dict(walk(parsed)).keys()


def test_places_count_from_one_in_characters() -> None:
    positions = scan("# ä\n[a]\n  ä = 0\n".replace("ä =", '"ä" ='))
    assert positions.place(positions.keys["a", "ä"]) == Place(3, 3)
    assert positions.place(positions.values["a", "ä"]) == Place(3, 9)
    assert positions.place(0) == Place(1, 1)


@pytest.mark.parametrize(
    ("text", "fault", "line", "column"),
    [
        ("x = 1\n" + "a." * 8 + "a = 1", Fault.TOO_DEEP, 2, 1),
        ("[" + "a." * 8 + "a]", Fault.TOO_DEEP, 1, 2),
        ("a = " + "[" * 9 + "]" * 9, Fault.TOO_DEEP, 1, 13),
        ("a = " + "{a=" * 9, Fault.TOO_DEEP, 1, 29),
        ("a = " + "9" * 65, Fault.TOO_LONG, 1, 5),
        ("a = 1\nb = 2\n\n a = 3", Fault.DUPLICATE, 4, 2),
        ("[a]\n[b]\n[a]", Fault.DUPLICATE, 3, 2),
        ("a.b = 1\na = 2", Fault.DUPLICATE, 2, 1),
        ("a = {b = 1, b = 2}", Fault.DUPLICATE, 1, 13),
        ("a = [\n" + "1,\n" * MAX_PLACES + "]", Fault.TOO_MANY_KEYS, MAX_PLACES + 1, 1),
    ],
)
def test_unsafe_texts(text: str, fault: Fault, line: int, column: int) -> None:
    positions = scan(text)
    assert [one.fault for one in positions.unsafe] == [fault]
    assert positions.place(positions.unsafe[0].offset) == Place(line, column)


def test_the_limits_themselves_are_allowed() -> None:
    text = "a." * 7 + "a = 1\nb = " + "[" * 8 + "]" * 8 + "\nc = " + "9" * 64
    assert scan(text).unsafe == ()
    assert scan(text).end == len(text)
    assert tomllib.loads(text)["c"] == int("9" * 64)

"""Where each key of a TOML text stands, and whether the text is safe to hand to a parser.

``tomllib`` tells no positions of what it parsed, and takes seconds for texts made to hurt it.
This scanner reads the same grammar once, in linear time and bounded depth, and only notes
offsets; ``tomllib`` stays the judge of what is TOML and of what the values are.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from gpupanel.policy.faults import Fault, quoted

KeyPath = tuple[str | int, ...]
"""Names of tables and keys; numbers are entries of arrays, from 0."""

MAX_DEPTH = 8
"""Most parts of a dotted key, and most levels of brackets."""

MAX_PLACES = 1000
"""Most keys, tables and array entries of one text."""

MAX_SCALAR_CHARACTERS = 64
"""Longest number; the longest date and the longest 64-bit integer have less."""

MAX_UNSAFE = 20
"""Enough to see what is wrong with a text."""

_SPACE = re.compile(r"[ \t]*+")
_BLANK = re.compile(r"(?:[ \t\n]++|#[^\n]*+)*+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]++")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?!"")(?:[^"\\\n]|\\[^\n])*+"'
    r"|'(?!'')[^'\n]*+'",
    re.DOTALL,
)
_QUOTED_KEY = re.compile(r'"(?:[^"\\\n]|\\[^\n])*+"' r"|'[^'\n]*+'")
_SCALAR = re.compile(r"[^,\]}#\n]++")


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a text; line and column from 1, in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Unsafe:
    """Something in a text that must not reach a parser, or that it would report less clearly."""

    fault: Fault
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Positions:
    """What one scan found.

    Attributes:
        keys: Offset of each key, table name or array entry.
        values: Offset of each value; of its name for a table.
        unsafe: In the order of the text; not empty means that no parser should see the text.
        end: Offset up to which the text was understood; its length when all was.
    """

    text: str
    keys: Mapping[KeyPath, int]
    values: Mapping[KeyPath, int]
    unsafe: tuple[Unsafe, ...]
    end: int
    line_starts: tuple[int, ...]

    def place(self, offset: int) -> Place:
        """Line and column of an offset."""
        line = bisect_right(self.line_starts, offset)
        return Place(line, offset - self.line_starts[line - 1] + 1)


def scan(text: str) -> Positions:
    """Walk through ``text`` once; newlines are line feeds. Never raises."""
    scanner = _Scanner(text)
    with suppress(_Stopped):
        scanner.document()
    line_starts = (0, *(found.end() for found in re.finditer("\n", text)))
    unsafe = tuple(scanner.unsafe)
    return Positions(text, scanner.keys, scanner.values, unsafe, scanner.at, line_starts)


class _Stopped(Exception):
    """The scanner does not go further; its offset tells where."""


class _Scanner:
    """A cursor on the text; each method reads one construct or stops."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.keys: dict[KeyPath, int] = {}
        self.values: dict[KeyPath, int] = {}
        self.unsafe: list[Unsafe] = []
        self._headers: set[KeyPath] = set()
        self._newest: dict[KeyPath, int] = {}

    def document(self) -> None:
        """Headers and pairs, each followed by the end of its line."""
        table: KeyPath = ()
        self._take(_BLANK)
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._pair(table, depth=1)
            self._end_of_line()
            self._take(_BLANK)

    def _header(self) -> KeyPath:
        """``[table]`` or ``[[array of tables]]``; the path that following keys belong to."""
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        path: KeyPath = ()
        offset = self.at
        for name, offset in self._dotted_key():
            path = (*self._newest_entry(path), name)
            self._note(path, offset, offset)
        self._expect("]]" if is_array else "]")
        if is_array:
            self._newest[path] = self._newest.get(path, -1) + 1
            path = self._newest_entry(path)
            self._note(path, offset, offset)
        else:
            if path in self._headers:
                self._refuse_second(path, offset)
            self._headers.add(path)
        return path

    def _newest_entry(self, path: KeyPath) -> KeyPath:
        """The name of an array of tables stands for its newest entry."""
        return (*path, self._newest[path]) if path in self._newest else path

    def _pair(self, table: KeyPath, depth: int) -> None:
        """``dotted.key = value``."""
        parts = self._dotted_key()
        self._expect("=")
        self._take(_SPACE)
        path = table
        for name, offset in parts[:-1]:
            path = (*path, name)
            self._note(path, offset, self.at)
        name, offset = parts[-1]
        path = (*path, name)
        if path in self.keys:
            self._refuse_second(path, offset)
        self._note(path, offset, self.at)
        self._value(path, depth)

    def _dotted_key(self) -> list[tuple[str, int]]:
        """The parts of a key with their offsets; at least one."""
        start = self.at
        parts: list[tuple[str, int]] = []
        while True:
            self._take(_SPACE)
            offset = self.at
            parts.append((self._key_part(), offset))
            self._take(_SPACE)
            if not self._skip("."):
                break
        if len(parts) > MAX_DEPTH:
            text = f"the key has {len(parts)} dotted parts, more than {MAX_DEPTH}: shorten it"
            self._refuse(Fault.TOO_DEEP, start, text)
            raise _Stopped
        return parts

    def _key_part(self) -> str:
        """One bare or quoted name."""
        bare = self._take(_BARE_KEY)
        if bare:
            return bare
        token = self._take(_QUOTED_KEY)
        if not token:
            raise _Stopped
        try:
            return str(tomllib.loads(f"key = {token}")["key"])
        except tomllib.TOMLDecodeError:
            raise _Stopped from None

    def _value(self, path: KeyPath, depth: int) -> None:
        """A text, an array, an inline table, or anything that ends at a delimiter."""
        start = self.at
        opening = self.text[start : start + 1]
        if opening in {"[", "{"}:
            if depth > MAX_DEPTH:
                text = f"brackets nest deeper than {MAX_DEPTH} levels: a policy needs two"
                self._refuse(Fault.TOO_DEEP, start, text)
                raise _Stopped
            self.at += 1
            self._entries(path, depth + 1, in_array=opening == "[")
        elif opening in {'"', "'"}:
            if not self._take(_STRING):
                raise _Stopped
        else:
            self._scalar(start)

    def _entries(self, path: KeyPath, depth: int, in_array: bool) -> None:
        """What stands between brackets or braces, and the closing one."""
        closing = "]" if in_array else "}"
        index = 0
        self._take(_BLANK)
        while not self._skip(closing):
            if in_array:
                self._note((*path, index), self.at, self.at)
                self._value((*path, index), depth)
            else:
                self._pair(path, depth)
            self._take(_BLANK)
            if not self._skip(","):
                self._expect(closing)
                return
            self._take(_BLANK)
            index += 1

    def _scalar(self, start: int) -> None:
        """A number, a boolean or a date; what exactly is for ``tomllib`` to say."""
        token = self._take(_SCALAR).rstrip(" \t")
        if not token:
            raise _Stopped
        if len(token) > MAX_SCALAR_CHARACTERS:
            text = f"a value of {len(token)} characters; numbers here have a few digits"
            self._refuse(Fault.TOO_LONG, start, text)

    def _end_of_line(self) -> None:
        self._take(_SPACE)
        if self.at < len(self.text) and self.text[self.at] not in "\n#":
            raise _Stopped

    def _note(self, path: KeyPath, key: int, value: int) -> None:
        """Remember where a path stands first."""
        if len(self.keys) >= MAX_PLACES:
            text = f"more than {MAX_PLACES} keys and entries: a policy has a few"
            self._refuse(Fault.TOO_MANY_KEYS, key, text)
            raise _Stopped
        self.keys.setdefault(path, key)
        self.values.setdefault(path, value)

    def _refuse_second(self, path: KeyPath, offset: int) -> None:
        first = self.text.count("\n", 0, self.keys[path]) + 1
        text = f"{quoted(str(path[-1]))} stands in line {first} already: remove one of them"
        self._refuse(Fault.DUPLICATE, offset, text)

    def _refuse(self, fault: Fault, offset: int, text: str) -> None:
        self.unsafe.append(Unsafe(fault, offset, text))
        if len(self.unsafe) >= MAX_UNSAFE:
            raise _Stopped

    def _take(self, pattern: re.Pattern[str]) -> str:
        """What ``pattern`` matches here, or an empty text."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found.group()

    def _skip(self, token: str) -> bool:
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def _expect(self, token: str) -> None:
        if not self._skip(token):
            raise _Stopped

"""What a command line says: options with their values, and the hosts that are named in it.

No miner's own parser is copied: an option is a word that begins with a dash, and the words up to
the next one are its values. That is right for all of them, and for others good enough.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

_MOST_TEXT = 65_536
_MOST_NAME = 260
_PORTS = 65_536
_USUAL_PORTS = {"ws": 80, "wss": 443}
"""Where none is written; what begins with http is a page then."""


_HOST = r"(?P<host>\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?)"
_USER = r"(?:(?P<user>[^\s/@\"']{0,200})@)?"
_URL = re.compile(
    rf"(?<![A-Za-z0-9+])(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{{1,20}})://{_USER}{_HOST}(?::(?P<port>[0-9]{{1,5}}))?"
)
_HOST_AND_PORT = re.compile(rf"{_USER}{_HOST}:(?P<port>[0-9]{{1,5}})")
_SETTING = re.compile(
    r"[\"']([^\"'\n]{3,300})[\"']|=[ \t]*([^\s;#]{3,300})|^[ \t]*POOL:[ \t]*(\S{3,300})",
    re.MULTILINE,
)
_NAMED_HOST = re.compile(rf"{_HOST}(?<=[A-Za-z0-9\]])")
_OF_A_HOST = ("host", "hostname", "server", "url", "address", "pool")
_HOST_THEN_PORT = re.compile(
    rf"(?:host|server|address)[\"']?[ \t]*[=:][ \t]*[\"']?{_HOST}[\"']?,?\s{{1,8}}[\"']?port"
    r"[\"']?[ \t]*[=:][ \t]*[\"']?(?P<port>[0-9]{1,5})",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host that something is told to connect to.

    Attributes:
        scheme: Folded; empty where none was written.
        port: 0 where none was written.
        user: What stands before the host; empty where nothing does.
    """

    scheme: str
    host: str
    port: int
    user: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """An option and one of its values; without a flag for words before the first option."""

    flag: str
    value: str


def options(arguments: Sequence[str]) -> tuple[Option, ...]:
    """Each option with each of its values, and once with an empty one if it has none."""
    found: list[Option] = []
    flag, has_value = "", True
    for word in arguments[1:]:
        if not _is_flag(word):
            found.append(Option(flag, word))
            has_value = True
            continue
        if not has_value:
            found.append(Option(flag, ""))
        flag, separator, value = word.partition("=")
        has_value = bool(separator)
        if separator:
            found.append(Option(flag, value))
    if not has_value:
        found.append(Option(flag, ""))
    return tuple(found)


def values_of(found: Sequence[Option], flags: Collection[str]) -> tuple[str, ...]:
    """What was given to any of ``flags``."""
    return tuple(option.value for option in found if option.flag in flags and option.value)


def endpoints(words: Sequence[str]) -> tuple[Endpoint, ...]:
    """Every host in ``words``: in URLs, and as a word of the form HOST:PORT."""
    found: dict[Endpoint, None] = {}
    for word in words:
        for endpoint in _in_word(word[:_MOST_TEXT]):
            found.setdefault(endpoint)
    return tuple(found)


def endpoints_in_text(text: str) -> tuple[Endpoint, ...]:
    """Every host in a configuration file: in URLs, and in its values of the form HOST:PORT."""
    text = text[:_MOST_TEXT]
    words = (next(filter(None, groups), "") for groups in _SETTING.findall(text))
    urls = (_endpoint(match) for match in _URL.finditer(text))
    pairs = (_endpoint(match) for match in _HOST_THEN_PORT.finditer(text))
    return tuple(dict.fromkeys([*urls, *pairs, *endpoints(list(words))]))


def hosts_beside_ports(found: Sequence[Option]) -> Iterator[Endpoint]:
    """Hosts that have their port in another option: ``--server HOST --port N``.

    Of several ports the one whose option begins as the host's does, else all.
    """
    ports = {
        one.flag.removesuffix("port"): int(one.value)
        for one in found
        if one.flag.endswith("port") and one.value.isascii() and one.value.isdigit()
    }
    if not ports:
        return
    for one in found:
        ending = next((word for word in _OF_A_HOST if one.flag.endswith(word)), "")
        match = _NAMED_HOST.fullmatch(one.value[:_MOST_NAME]) if ending else None
        if match is None or "." not in one.value:
            continue
        own = ports.get(one.flag.removesuffix(ending))
        for port in ports.values() if own is None else (own,):
            host = match["host"].strip("[]").casefold()
            yield Endpoint("", host, port if port < _PORTS else 0)


def _is_flag(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not word[1].isdigit()


def _in_word(word: str) -> Iterator[Endpoint]:
    urls = [_endpoint(match) for match in _URL.finditer(word)]
    yield from urls
    if not urls and (match := _HOST_AND_PORT.match(_without_index(word))):
        yield _endpoint(match)


def _without_index(word: str) -> str:
    """Rigel numbers its pools: ``[1]HOST:PORT``."""
    return re.sub(r"^\[[0-9]\]", "", word)


def _endpoint(match: re.Match[str]) -> Endpoint:
    parts = match.groupdict()
    port = int(parts["port"] or 0)
    host = parts["host"].strip("[]").casefold()
    port = port or _USUAL_PORTS.get((parts.get("scheme") or "").casefold(), 0)
    scheme, user = (parts.get("scheme") or "").casefold(), parts.get("user") or ""
    return Endpoint(scheme, host, port if port < _PORTS else 0, user)

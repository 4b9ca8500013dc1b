"""A registry for tests: one that ``reg export`` wrote down, read back as ``RegistryKey``."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import environ
from pathlib import Path

from gpupanel.policy.key import Kind, PolicyKey
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.registry import MACHINE_PATH, SUBKEY, RegistryKey, RegistryType

RECORDING = Path(__file__).parents[1] / "recordings" / "registry" / "every-key.reg"

Values = dict[str, tuple[int, object]]


@dataclass
class Key:
    """A key in memory."""

    path: str
    content: Values = field(default_factory=dict)
    below: dict[str, Key] = field(default_factory=dict)

    def values(self) -> Iterator[tuple[str, int, object]]:
        for name, (kind, content) in self.content.items():
            yield name, kind, content

    def subkeys(self) -> Iterator[tuple[str, RegistryKey]]:
        yield from self.below.items()


def tree(**groups: Values) -> Key:
    """What stands below our key, group by group."""
    below = {name: Key(rf"{MACHINE_PATH}\{name}", values) for name, values in groups.items()}
    return Key(MACHINE_PATH, {}, below)


def read_export(raw: bytes) -> Key:
    """A .reg file of version 5, as ``reg export`` and regedit write it."""
    text = raw.decode("utf-16").replace("\r\n", "\n").replace("\\\n  ", "")
    root = Key(MACHINE_PATH)
    for block in re.split(r"\n(?=\[)", text)[1:]:
        header, *lines = block.strip().split("\n")
        name = header.strip("[]").removeprefix(rf"HKEY_LOCAL_MACHINE\{SUBKEY}").strip("\\")
        key = root.below.setdefault(name, Key(rf"{MACHINE_PATH}\{name}")) if name else root
        for line in lines:
            found = re.fullmatch(r'"((?:[^"\\]|\\.)*)"=(.*)', line)
            assert found, line
            key.content[unescaped(found[1])] = content(found[2])
    return root


def content(text: str) -> tuple[int, object]:
    if text.startswith("dword:"):
        return RegistryType.DWORD, int(text.removeprefix("dword:"), 16)
    if text.startswith('"'):
        return RegistryType.SZ, unescaped(text[1:-1])
    kind, _, octets = text.removeprefix("hex(").partition("):")
    raw = bytes(int(octet, 16) for octet in octets.split(",") if octet.strip())
    if int(kind, 16) == RegistryType.MULTI_SZ:
        return RegistryType.MULTI_SZ, [one for one in raw.decode("utf-16-le").split("\0") if one]
    return int(kind, 16), raw


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def written(key: PolicyKey) -> tuple[str, str, object]:
    """The tightest value of a key: type and text for ``reg add``, and what it means."""
    match key.kind:
        case Kind.BOOLEAN:
            return "REG_DWORD", str(int(not key.default)), not key.default
        case Kind.INTEGER:
            return "REG_DWORD", str(key.high), key.high
        case Kind.CHOICE:
            return "REG_SZ", key.choices[-1], key.choices[-1]
        case Kind.CHOICES:
            return "REG_MULTI_SZ", r"\0".join(key.choices[1:]), key.choices[1:]
        case Kind.TEXTS:
            return "REG_MULTI_SZ", key.example, (key.example,)


def export_of_wine(prefix: Path) -> bytes:
    """Every key written by ``reg add`` into a new registry of Wine's, and exported."""
    env = environ | {
        "WINEPREFIX": str(prefix),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
    }

    def wine(*command: str) -> None:
        subprocess.run(
            ["wine", *command], env=env, cwd=prefix.parent, check=True, timeout=240,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    try:
        wine("wineboot", "-i")
        for key in POLICY_KEYS:
            kind, text, _ = written(key)
            wine(
                "reg",
                "add",
                rf"{MACHINE_PATH}\{key.group}",
                "/v",
                key.field,
                "/t",
                kind,
                "/d",
                text,
                "/f",
            )
        wine("reg", "export", MACHINE_PATH, "every-key.reg", "/y")
    finally:
        subprocess.run(["wineserver", "-k"], env=env, check=False)
    return (prefix.parent / "every-key.reg").read_bytes()


def has_wine() -> bool:
    return shutil.which("wine") is not None

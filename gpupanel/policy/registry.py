r"""What Group Policy writes, from registry values to claims. Pure.

Below ``Software\Policies\gpupanel`` each group of keys is a subkey and each key a value: REG_DWORD
for integers, and for yes and no as 1 and 0; REG_SZ for one word; REG_MULTI_SZ for lists. A value
that is absent is not configured. Anything else refuses the whole, as in a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from typing import Protocol

from gpupanel.model.decision import Diagnostic
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Claim, Level, Scope, Source
from gpupanel.policy.faults import Fault, error, quoted
from gpupanel.policy.key import Kind, PolicyKey
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.positions import scan
from gpupanel.policy.validate import faults_in

SUBKEY = r"Software\Policies\gpupanel"
MACHINE_PATH = rf"HKLM\{SUBKEY}"

MAX_VALUES = 256
"""Most values below one group; it has a few."""


class RegistryType(IntEnum):
    """The types of values that policy uses, by the numbers of Windows."""

    SZ = 1
    DWORD = 4
    MULTI_SZ = 7


class RegistryKey(Protocol):
    """One key, as far as it is needed here."""

    @property
    def path(self) -> str:
        r"""``HKLM\...``, for messages."""

    def values(self) -> Iterator[tuple[str, int, object]]:
        """Name, type and content of each value."""

    def subkeys(self) -> Iterator[tuple[str, RegistryKey]]:
        """Name and key of each."""


TYPES: Mapping[Kind, RegistryType] = {
    Kind.BOOLEAN: RegistryType.DWORD,
    Kind.INTEGER: RegistryType.DWORD,
    Kind.CHOICE: RegistryType.SZ,
    Kind.CHOICES: RegistryType.MULTI_SZ,
    Kind.TEXTS: RegistryType.MULTI_SZ,
}
"""The type in which each kind of key is written."""

_NO_POSITIONS = scan("")


def parse_registry(root: RegistryKey, scope: Scope) -> tuple[Claim, ...]:
    r"""What stands below ``root``, in the order of POLICY_KEYS.

    Args:
        root: The key ``Software\Policies\gpupanel`` of a hive.
        scope: REGISTRY for the machine's hive, MEMBER for a user's.

    Raises:
        PolicyInvalid: Something there is no policy; carries every fault.
    """
    faults = [
        _unknown(f"{root.path}\\{name}", name, _GROUPS)
        # The value without a name is there, and empty, on every key.
        for name, _, _ in root.values()
        if name
    ]
    claims: dict[str, Claim] = {}
    for name, group in root.subkeys():
        # Windows does not tell upper and lower case apart.
        if name.lower() not in _GROUPS:
            faults.append(_unknown(group.path, name, _GROUPS))
            continue
        for claim in _group(name.lower(), group, scope, faults):
            claims[claim.key] = claim
    if faults:
        raise PolicyInvalid(faults)
    return tuple(claims[key.name] for key in POLICY_KEYS if key.name in claims)


_GROUPS = tuple(dict.fromkeys(key.group for key in POLICY_KEYS))


def _group(group: str, key: RegistryKey, scope: Scope, faults: list[Diagnostic]) -> Iterator[Claim]:
    """The claims of one subkey; what is wrong goes to ``faults``."""
    fields = [row.field for row in POLICY_KEYS if row.group == group]
    faults += [_unknown(below.path, name, ()) for name, below in key.subkeys()]
    for number, (name, kind, content) in enumerate(key.values()):
        path = f"{key.path}\\{name}"
        if number >= MAX_VALUES:
            text = f"more than {MAX_VALUES} values: a policy has a few"
            faults.append(error(Fault.TOO_MANY_KEYS, key.path, text))
            return
        row = POLICY_KEY_BY_NAME.get(f"{group}.{name.lower()}")
        if row is None:
            faults += [_unknown(path, name, fields)] if name else []
            continue
        value, wrong = _value(row, kind, content, path)
        faults += wrong
        if not wrong:
            source = Source(path)
            yield Claim(row.name, row.normal(value), Level.MANDATORY, scope, source)


def _value(
    row: PolicyKey, kind: int, content: object, path: str
) -> tuple[bool | int | str | list[str], Sequence[Diagnostic]]:
    """The value as a file would give it, or what is wrong with it."""
    expected = TYPES[row.kind]
    value = _told(row, content) if kind == expected else None
    if value is None:
        needed = f"REG_{expected.name}{' 0 or 1' if row.kind is Kind.BOOLEAN else ''}"
        text = f"{row.name}: the value is {_type_name(kind)}: {needed} was expected"
        return 0, [error(Fault.WRONG_TYPE, path, text)]
    document = {"schema": 1, Level.MANDATORY.value: {row.group: {row.field: value}}}
    faults = faults_in(document, _NO_POSITIONS, path)
    return value, [replace(fault, line=0, column=0) for fault in faults]


def _told(row: PolicyKey, content: object) -> bool | int | str | list[str] | None:
    """The content in the form of a file's; None if it is of none."""
    if row.kind is Kind.BOOLEAN:
        return content == 1 if isinstance(content, int) and content in {0, 1} else None
    if isinstance(content, int | str):
        return content
    return [str(word) for word in content] if isinstance(content, list) else None


def _type_name(kind: int) -> str:
    known = {one.value: f"REG_{one.name}" for one in RegistryType}
    return known.get(kind, f"of type {kind}")


def _unknown(path: str, name: str, known: Sequence[str]) -> Diagnostic:
    close = difflib.get_close_matches(name.lower()[:80], known, n=1)
    hint = f": did you mean {quoted(close[0])}?" if close else ": remove it"
    return error(Fault.UNKNOWN_KEY, path, f"{quoted(name)} does not exist{hint}")

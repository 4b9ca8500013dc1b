"""The reference of the policy keys, as Markdown for the help of the application."""

from __future__ import annotations

from collections.abc import Iterator

from gpupanel.policy.export.admx import policy_name
from gpupanel.policy.faults import FAULTS
from gpupanel.policy.key import TIGHTER_TEXTS, Kind, PolicyKey, Value, value_text
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.registry import MACHINE_PATH, TYPES

INTRODUCTION = """# Policy reference

Made from the table of policy keys by `packaging/generate.py`; do not edit.

A machine policy is one or more TOML files, `/etc/gpupanel/policy.d/*.toml` on Linux and
`%ProgramData%\\gpupanel\\policy.d\\*.toml` on Windows; there, Group Policy counts beside them. A
file begins with `schema = 1`. What stands below `[mandatory]` binds everybody: a user can only
tighten it. What stands below `[recommended]` holds until a user says otherwise.

```toml
schema = 1
final = ["mining.*"]                # later files can only tighten these

[mandatory.mining]
max_efficiency_percent = 50

[[scope]]                           # for some users, on top of what holds for all
groups = ["students"]
[scope.mandatory.mining]
max_efficiency_percent = 10
```

Files apply in the order of their names, and a later file replaces what an earlier one says, but
for what is `final`. A scope can only tighten. Check a file with
`gpupanelctl policy validate FILE`, see what it would change with
`gpupanelctl policy diff now FILE`, and ask why a value holds with
`gpupanelctl policy explain KEY`.
"""


def reference() -> str:
    """One section for each key, and the codes of faults."""
    lines = [INTRODUCTION]
    for row in POLICY_KEYS:
        lines += _section(row)
    lines += ["## Codes of faults", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {fault.value} | {meaning} |" for fault, meaning in FAULTS.items()]
    return "\n".join(lines) + "\n"


def _section(row: PolicyKey) -> Iterator[str]:
    yield f"## {row.name}"
    yield ""
    yield f"{row.label}. {row.help}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, text in _facts(row):
        yield f"| {name} | {text} |"
    yield ""
    yield "```toml"
    yield f"[mandatory.{row.group}]"
    yield f"{row.field} = {_toml(_example(row))}"
    yield "```"
    yield ""


def _facts(row: PolicyKey) -> Iterator[tuple[str, str]]:
    match row.kind:
        case Kind.BOOLEAN:
            yield "Values", "`true` or `false`"
        case Kind.INTEGER:
            yield "Values", f"{row.low} to {row.high}"
        case Kind.CHOICE:
            yield "Values", ", ".join(f"`{word}`" for word in row.choices) + ", loosest first"
        case Kind.CHOICES:
            yield "Values", "a list of " + ", ".join(f"`{word}`" for word in row.choices)
        case Kind.TEXTS:
            yield "Values", f"a list of texts such as `{row.example}`"
    yield "Tighter is", TIGHTER_TEXTS[row.tighten]
    yield "Default", f"`{value_text(row.default)}`"
    yield "When policy is broken and was never good", f"`{value_text(row.closed)}`"
    if row.switch:
        yield "Turned on by", f"`{row.switch}`, which is mandated with it"
    yield (
        "Registry",
        f"`{MACHINE_PATH}\\{row.group}`, value `{row.field}`, REG_{TYPES[row.kind].name}",
    )
    yield "Group policy", f"`{policy_name(row)}`"
    yield "Since", row.since


def _example(row: PolicyKey) -> Value:
    return (row.example,) if row.kind is Kind.TEXTS else row.closed


def _toml(value: Value) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{word}"' for word in value) + "]"
    return f'"{value}"' if isinstance(value, str) else value_text(value)

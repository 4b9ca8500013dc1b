"""What a policy document may hold: models generated from POLICY_KEYS, and their errors told.

Pydantic is imported at first use: the window shows a policy that somebody else has read, and
must not pay for it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from gpupanel.model.decision import Diagnostic
from gpupanel.policy.claims import Level
from gpupanel.policy.faults import Fault, error, quoted
from gpupanel.policy.key import Kind, PolicyKey
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS
from gpupanel.policy.positions import KeyPath, Place, Positions

if TYPE_CHECKING:
    from pydantic import BaseModel, ConfigDict, ValidationError

TABLES = (Level.RECOMMENDED, Level.MANDATORY)
"""The tables of a file; where both say something in a user's file, the later one here counts."""

MAX_TEXTS = 256
"""Most entries of a list whose words no table knows."""

MAX_DIAGNOSTICS = 20
"""Most faults reported of one file; the rest is counted."""

MACHINE_TABLES = ("final", "scope")
"""What only an administrator can say: what later files cannot loosen, and what holds for some."""

MAX_SCOPES = 64
"""Most [[scope]] tables of one file."""

MAX_NAME_CHARACTERS = 256

_TOP = ("schema", "name", "serial", *MACHINE_TABLES, "mandatory", "recommended")
_SCOPE_TOP = ("users", "groups", "mandatory")


def faults_in(document: Mapping[str, Any], positions: Positions, path: str) -> list[Diagnostic]:
    """Every way in which a parsed file differs from the models, in the order of the file."""
    from pydantic import ValidationError

    try:
        _model().model_validate(document)
    except ValidationError as reason:
        broken = sorted(_broken(reason), key=lambda one: _offset(one, positions))
    else:
        return []
    faults = [
        _told(one, document, positions.place(_offset(one, positions)), path)
        for one in broken[:MAX_DIAGNOSTICS]
    ]
    if len(broken) > MAX_DIAGNOSTICS:
        last = faults[-1]
        text = f"{len(broken) - MAX_DIAGNOSTICS} more faults follow"
        faults.append(error(Fault(last.code), path, text, last.line, last.column))
    return faults


def value_is_valid(key: str, value: object) -> bool:
    """Whether ``value``, as JSON or TOML gives it, may be the value of ``key``."""
    from pydantic import ValidationError

    if key not in POLICY_KEY_BY_NAME:
        return False
    row = POLICY_KEY_BY_NAME[key]
    document = {"schema": 1, Level.MANDATORY.value: {row.group: {row.field: value}}}
    try:
        _model().model_validate(document)
    except ValidationError:
        return False
    return True


def model_schema() -> dict[str, Any]:
    """The models as JSON Schema, as far as pydantic knows them; a new document each time."""
    return _model().model_json_schema()


@cache
def _model() -> type[BaseModel]:
    """The whole file; built once."""
    from pydantic import ConfigDict, Field, create_model

    strict = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
    groups: dict[str, dict[str, Any]] = {}
    for row in POLICY_KEYS:
        groups.setdefault(row.group, {})[row.field] = (_value_type(row), None)
    tables: dict[str, Any] = {
        group: (create_model(group, __config__=strict, **fields), None)
        for group, fields in groups.items()
    }
    level = create_model("level", __config__=strict, **tables)
    fields: dict[str, Any] = {
        "schema_": (int, Field(alias="schema", ge=1, le=1)),
        "name": (str, Field(default="", max_length=80)),
        "serial": (int, Field(default=0, ge=0, le=2**63 - 1)),
        "final": (_words(_refuse_no_pattern, max_length=2 * len(POLICY_KEYS)), []),
        "scope": (_scopes(level, strict), []),
        **{one.value: (level, None) for one in TABLES},
    }
    model: type[BaseModel] = create_model("PolicyFile", __config__=strict, **fields)
    return model


def _scopes(level: type[BaseModel], strict: ConfigDict) -> object:
    """The type of the ``[[scope]]`` tables: who is meant, and what holds for them."""
    from pydantic import AfterValidator, Field, create_model

    # Any, as mypy has no words for a type that is made at run time.
    tables: Any = list
    names = _words(_refuse_no_name, max_length=MAX_TEXTS)
    fields: dict[str, Any] = {
        "users": (names, []),
        "groups": (names, []),
        "mandatory": (level, None),
    }
    scope = create_model("scope", __config__=strict, **fields)
    return Annotated[
        tables[Annotated[scope, AfterValidator(_refuse_nobody)]], Field(max_length=MAX_SCOPES)
    ]


def _words(refuse: Callable[[str], str], max_length: int) -> object:
    """The type of a list of texts, each of which ``refuse`` has looked at, none of them twice."""
    from pydantic import AfterValidator, Field

    words: Any = list
    matching = Annotated[str, AfterValidator(refuse)]
    return Annotated[
        words[matching], Field(max_length=max_length), AfterValidator(_refuse_repeated)
    ]


def _value_type(row: PolicyKey) -> object:
    """The type of one key, with its bounds."""
    from pydantic import AfterValidator, Field

    # Any, as mypy has no words for a type that is made at run time.
    literal: Any = Literal
    words: Any = list
    match row.kind:
        case Kind.BOOLEAN:
            return bool
        case Kind.INTEGER:
            return Annotated[int, Field(ge=row.low, le=row.high)]
        case Kind.CHOICE:
            return literal[row.choices]
        case Kind.CHOICES:
            return Annotated[words[literal[row.choices]], AfterValidator(_refuse_repeated)]
        case Kind.TEXTS:
            return _words(partial(_refuse_unlike, row), max_length=MAX_TEXTS)


def _refuse_no_pattern(text: str) -> str:
    from pydantic_core import PydanticCustomError

    if text not in final_patterns():
        raise PydanticCustomError("no_pattern", "names no key")
    return text


def _refuse_no_name(text: str) -> str:
    from pydantic_core import PydanticCustomError

    if not 0 < len(text) <= MAX_NAME_CHARACTERS or not text.isprintable():
        raise PydanticCustomError("unlike", "{example}", {"example": "alice"})
    return text


def _refuse_nobody(scope: Any) -> Any:  # noqa: ANN401 - a model that is made at run time
    from pydantic_core import PydanticCustomError

    if not scope.users and not scope.groups:
        raise PydanticCustomError("nobody", "names nobody")
    return scope


@cache
def final_patterns() -> tuple[str, ...]:
    """Everything that ``final`` may name: each group, and each key."""
    groups = dict.fromkeys(f"{row.group}.*" for row in POLICY_KEYS)
    return (*groups, *(row.name for row in POLICY_KEYS))


def _refuse_unlike(row: PolicyKey, text: str) -> str:
    from pydantic_core import PydanticCustomError

    if not row.matches(text):
        raise PydanticCustomError("unlike", "{example}", {"example": row.example})
    return text


def _refuse_repeated(words: list[str]) -> list[str]:
    from pydantic_core import PydanticCustomError

    for index, word in enumerate(words):
        if word in words[:index]:
            raise PydanticCustomError("repeated", "{index}", {"index": index})
    return words


class _Broken(NamedTuple):
    """One error of pydantic's with what is needed to tell it."""

    path: KeyPath
    kind: str
    context: Mapping[str, Any]


def _broken(reason: ValidationError) -> list[_Broken]:
    found = []
    for one in reason.errors(include_url=False, include_input=False):
        context = one.get("ctx", {})
        path = (*one["loc"], context["index"]) if one["type"] == "repeated" else one["loc"]
        found.append(_Broken(path, one["type"], context))
    return found


def _offset(broken: _Broken, positions: Positions) -> int:
    """Of the key if it should not be there, else of its value; 0 for what is missing."""
    offsets = positions.keys if broken.kind == "extra_forbidden" else positions.values
    return offsets.get(broken.path, 0)


def _told(broken: _Broken, document: Mapping[str, Any], place: Place, path: str) -> Diagnostic:
    """The diagnostic for one error."""
    if broken.kind == "missing":
        text = 'the file does not say which form it has: begin it with "schema = 1"'
        return error(Fault.SCHEMA, path, text, place.line, place.column)
    if broken.kind == "extra_forbidden":
        return error(Fault.UNKNOWN_KEY, path, _unknown(broken.path), place.line, place.column)
    value = _value_at(document, broken.path)
    fault, what = _wrong_value(broken, value)
    if broken.path == ("schema",):
        fault, what = Fault.SCHEMA, f"{_shown(value)} is not known: this version reads schema = 1"
    text = f"{_dotted(broken.path)}: {what}"
    return error(fault, path, text, place.line, place.column)


def _wrong_value(broken: _Broken, value: object) -> tuple[Fault, str]:
    context = broken.context
    match broken.kind:
        case "greater_than_equal":
            return Fault.OUT_OF_RANGE, f"{_shown(value)} < minimum {context['ge']}"
        case "less_than_equal":
            return Fault.OUT_OF_RANGE, f"{_shown(value)} > maximum {context['le']}"
        case "string_too_long" | "too_long":
            unit = "characters" if broken.kind == "string_too_long" else "entries"
            return Fault.TOO_LONG, f"more than {context['max_length']} {unit}"
        case "unlike" | "repeated" | "literal_error" | "no_pattern" if isinstance(value, str):
            return _wrong_word(broken, value)
        case "nobody":
            return Fault.NOBODY, "the scope is for nobody: name users or groups"
    kind = _TYPE_NAMES.get(type(value), "a date or time")
    needed = _NEEDED.get(broken.kind, "another value")
    return Fault.WRONG_TYPE, f"{_shown(value)} is {kind}: {needed} was expected"


def _wrong_word(broken: _Broken, word: str) -> tuple[Fault, str]:
    context = broken.context
    if broken.kind == "repeated":
        return Fault.REPEATED, f"{_shown(word)} stands twice: remove one"
    if broken.kind == "no_pattern":
        hint = _nearest(word, final_patterns())
        return Fault.UNKNOWN_KEY, f"{_shown(word)} names no key and no group{hint}"
    if broken.kind == "unlike":
        like = f"something like {quoted(context['example'])} was expected"
        return Fault.UNKNOWN_CHOICE, f"{_shown(word)}: {like}"
    hint = _nearest(word, re.findall(r"'([^']*)'", context["expected"]))
    return Fault.UNKNOWN_CHOICE, f"{quoted(word)} is not {context['expected']}{hint}"


_NEEDED: Mapping[str, str] = {
    "bool_type": "true or false",
    "int_type": "an integer",
    "string_type": "a text in quotes",
    "literal_error": "a text in quotes",
    "list_type": "a list in brackets",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def _value_at(document: Mapping[str, Any], path: KeyPath) -> object:
    value: Any = document
    for part in path:
        value = value[part]
    found: object = value
    return found


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(
        part if isinstance(part, str) and re.fullmatch(r"[\w-]{1,40}", part) else _shown(part)
        for part in path
    )


def _shown(value: object) -> str:
    """A value as a message quotes it: short, whatever a file holds."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, int | float):
        return str(value)
    return quoted(value) if isinstance(value, str) else "this"


_TYPE_NAMES: Mapping[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a float, which no policy has",
    str: "a text",
    list: "a list",
    dict: "a table",
}


def _unknown(path: KeyPath) -> str:
    """That a key does not exist, with the nearest that does."""
    siblings = _names_below(path[:-1])
    name = str(path[-1])
    hint = _nearest(name, siblings) or _nearest_elsewhere(name)
    return f"{_dotted(path)} does not exist{hint or '; known here: ' + ', '.join(siblings)}"


def _names_below(table: KeyPath) -> list[str]:
    match table:
        case ():
            return list(_TOP)
        case ("scope", int()):
            return list(_SCOPE_TOP)
        case ("scope", int(), *below):
            return _names_below(tuple(below))
        case (_,):
            return list(dict.fromkeys(row.group for row in POLICY_KEYS))
        case (_, group, *_):
            return [row.field for row in POLICY_KEYS if row.group == group]
    return []


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name[:80], known, n=1)
    return f": did you mean {quoted(close[0])}?" if close else ""


def _nearest_elsewhere(name: str) -> str:
    """For a name that exists in another table."""
    names = {row.field: f"mandatory.{row.name}" for row in POLICY_KEYS}
    names |= {row.group: f"mandatory.{row.group}" for row in POLICY_KEYS}
    names |= {row.name: f"mandatory.{row.name}" for row in POLICY_KEYS}
    close = difflib.get_close_matches(name[:80], list(names), n=1)
    return f": did you mean {names[close[0]]}?" if close else ""

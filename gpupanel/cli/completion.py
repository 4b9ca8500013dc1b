"""Shell completion of gpupanelctl, made from its own parsers by packaging/generate.py."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gpupanel.cli.main import NOUNS
from gpupanel.policy.keys import POLICY_KEYS


@dataclass(frozen=True, slots=True)
class _Call:
    """A noun, or a noun and a verb, and what may follow it.

    Attributes:
        words: Verbs, options, and what an argument may be.
        values: What may follow an option; nothing listed means a file.
    """

    words: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]


ARGUMENTS: Mapping[str, tuple[str, ...]] = {"key": tuple(key.name for key in POLICY_KEYS)}
"""What an argument may be, where its parser does not know."""


def bash() -> str:
    """A completion file for bash; zsh reads it after ``bashcompinit``."""
    lines = [
        "# Completion of gpupanelctl for bash, and for zsh after bashcompinit.",
        "# Made by packaging/generate.py; do not edit.",
        "_gpupanelctl() {",
        "    local words= call=${COMP_WORDS[1]} at=1",
        "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}",
        "    COMPREPLY=()",
        '    case "$call ${COMP_WORDS[2]}" in',
        *(f'    "{name}") call="{name}" at=2 ;;' for name in _calls() if " " in name),
        "    esac",
        f"    if ((COMP_CWORD <= 1)); then words={_quoted(NOUNS)}",
        "    else",
        "        if ((COMP_CWORD == at)); then call=${call%% *}; fi",
        '        case "$call $before" in',
        *(
            f'        "{name} {option}") words={_quoted(values)} ;;'
            for name, call in _calls().items()
            for option, values in call.values.items()
        ),
        "        *)",
        '            case "$call" in',
        *(
            f'            "{name}") words={_quoted(call.words)} ;;'
            for name, call in _calls().items()
        ),
        "            esac ;;",
        "        esac",
        "    fi",
        '    while read -r; do COMPREPLY+=("$REPLY"); done < <(compgen -W "$words" -- "$current")',
        "}",
        "complete -o default -F _gpupanelctl gpupanelctl",
        "",
    ]
    return "\n".join(lines)


def _quoted(words: Mapping[str, object] | tuple[str, ...]) -> str:
    return f'"{" ".join(words)}"'


def _calls() -> dict[str, _Call]:
    """Everything that can be called, by the words of the call."""
    calls = {}
    for noun in NOUNS:
        parser = argparse.ArgumentParser()
        importlib.import_module(f"gpupanel.cli.{noun}").add_arguments(parser)
        for words, below in _parsers(noun, parser):
            calls[words] = _call(below)
    return calls


def _parsers(
    words: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield words, parser
    for verb, below in _verbs(parser).items():
        yield f"{words} {verb}", below


def _verbs(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


def _call(parser: argparse.ArgumentParser) -> _Call:
    words: list[str] = list(_verbs(parser))
    values: dict[str, tuple[str, ...]] = {}
    for action in parser._actions:
        words += action.option_strings
        known = tuple(str(one) for one in action.choices or ARGUMENTS.get(action.dest, ()))
        if action.nargs == 0 or isinstance(action, argparse._SubParsersAction):
            continue
        if not action.option_strings:
            words += known
        for option in action.option_strings:
            values[option] = known
    return _Call(tuple(words), values)

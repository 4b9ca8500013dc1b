r"""Administrative templates for Group Policy and Intune: one ADMX, and an ADML for each language.

They write below ``Software\Policies\gpupanel``, where ``policy/registry.py`` reads; Intune takes
no template that writes below Microsoft's own keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from gpupanel.policy.key import Kind, PolicyKey
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.registry import SUBKEY
from gpupanel.policy.validate import MAX_TEXTS

XMLNS = "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions"
_VERSIONS = 'revision="1.0" schemaVersion="1.0"'
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'
MAX_TEXT_CHARACTERS = 300
"""More than the longest text that any pattern of POLICY_KEYS takes."""


@dataclass(frozen=True, slots=True)
class Texts:
    """One language.

    Attributes:
        product: ``name``, ``description``, ``supported`` with ``{since}``, ``values`` for a list.
        groups: Group of keys to its title.
        words: Each choice of a ranked key to what a menu calls it.
        labels: Key to its label.
        helps: Key to its explanation.
    """

    product: Mapping[str, str]
    groups: Mapping[str, str]
    words: Mapping[str, str]
    labels: Mapping[str, str]
    helps: Mapping[str, str]


def policy_name(row: PolicyKey) -> str:
    """Of a key: ``mining_max_efficiency_percent``."""
    return row.name.replace(".", "_")


def admx() -> str:
    """The template; its texts are references into the ADML."""
    versions = dict.fromkeys(row.since for row in POLICY_KEYS)
    groups = dict.fromkeys(row.group for row in POLICY_KEYS)
    return HEAD + "\n".join(
        [
            f'<policyDefinitions {_VERSIONS} xmlns="{XMLNS}">',
            "  <policyNamespaces>",
            '    <target prefix="gpupanel" namespace="Gpupanel.Policies" />',
            "  </policyNamespaces>",
            '  <resources minRequiredRevision="1.0" />',
            "  <supportedOn>",
            "    <definitions>",
            *(
                f'      <definition name="{_since(one)}" displayName="$(string.{_since(one)})" />'
                for one in versions
            ),
            "    </definitions>",
            "  </supportedOn>",
            "  <categories>",
            '    <category name="gpupanel" displayName="$(string.gpupanel)" />',
            *(line for group in groups for line in _category(group)),
            "  </categories>",
            "  <policies>",
            *(line for row in POLICY_KEYS for line in _policy(row)),
            "  </policies>",
            "</policyDefinitions>",
            "",
        ]
    )


def adml(texts: Texts) -> str:
    """The texts of one language, and how the dialogue of each policy looks."""
    return HEAD + "\n".join(
        [
            f'<policyDefinitionResources {_VERSIONS} xmlns="{XMLNS}">',
            f"  <displayName>{escape(texts.product['name'])}</displayName>",
            f"  <description>{escape(texts.product['description'])}</description>",
            "  <resources>",
            "    <stringTable>",
            *(
                f'      <string id="{name}">{escape(text, quote=False)}</string>'
                for name, text in _strings(texts)
            ),
            "    </stringTable>",
            "    <presentationTable>",
            *(line for row in POLICY_KEYS for line in _presentation(row, texts)),
            "    </presentationTable>",
            "  </resources>",
            "</policyDefinitionResources>",
            "",
        ]
    )


def _since(version: str) -> str:
    return f"SINCE_{version.replace('.', '_')}"


def _category(group: str) -> Iterator[str]:
    yield f'    <category name="gpupanel_{group}" displayName="$(string.gpupanel_{group})">'
    yield '      <parentCategory ref="gpupanel" />'
    yield "    </category>"


def _policy(row: PolicyKey) -> Iterator[str]:
    name = policy_name(row)
    shown = "" if row.kind is Kind.BOOLEAN else f' presentation="$(presentation.{name})"'
    value = f' valueName="{row.field}"' if row.kind is Kind.BOOLEAN else ""
    yield (
        f'    <policy name="{name}" class="Machine" displayName="$(string.{name})" '
        f'explainText="$(string.{name}_help)"{shown} key="{SUBKEY}\\{row.group}"{value}>'
    )
    yield f'      <parentCategory ref="gpupanel_{row.group}" />'
    yield f'      <supportedOn ref="{_since(row.since)}" />'
    if row.kind is Kind.BOOLEAN:
        yield '      <enabledValue><decimal value="1" /></enabledValue>'
        yield '      <disabledValue><decimal value="0" /></disabledValue>'
    else:
        yield "      <elements>"
        yield from _element(row)
        yield "      </elements>"
    yield "    </policy>"


def _element(row: PolicyKey) -> Iterator[str]:
    """What is asked for when the policy is enabled."""
    name = policy_name(row)
    head = f'id="{name}" valueName="{row.field}" required="true"'
    match row.kind:
        case Kind.INTEGER:
            yield f'        <decimal {head} minValue="{row.low}" maxValue="{row.high}" />'
        case Kind.CHOICE:
            yield f"        <enum {head}>"
            for word in row.choices:
                yield f'          <item displayName="$(string.{name}_{word})">'
                yield f"            <value><string>{word}</string></value>"
                yield "          </item>"
            yield "        </enum>"
        case _:
            # An empty list says something: nothing is allowed.
            head = head.replace(' required="true"', "")
            limits = f'maxLength="{MAX_TEXT_CHARACTERS}" maxStrings="{MAX_TEXTS}"'
            yield f"        <multiText {head} {limits} />"


def _strings(texts: Texts) -> Iterator[tuple[str, str]]:
    yield "gpupanel", texts.product["name"]
    for version in dict.fromkeys(row.since for row in POLICY_KEYS):
        yield _since(version), texts.product["supported"].format(since=version)
    for group in dict.fromkeys(row.group for row in POLICY_KEYS):
        yield f"gpupanel_{group}", texts.groups[group]
    for row in POLICY_KEYS:
        name = policy_name(row)
        yield name, texts.labels[row.name]
        yield f"{name}_help", f"{texts.helps[row.name]}\n\n{_values(row, texts)}"
        if row.kind is Kind.CHOICE:
            for word in row.choices:
                yield f"{name}_{word}", texts.words[word]


def _values(row: PolicyKey, texts: Texts) -> str:
    """What may be entered."""
    match row.kind:
        case Kind.BOOLEAN:
            return texts.product["boolean"]
        case Kind.INTEGER:
            return texts.product["integer"].format(low=row.low, high=row.high)
        case Kind.CHOICE:
            return texts.product["choice"].format(words=", ".join(row.choices))
        case Kind.CHOICES:
            return texts.product["choices"].format(words=", ".join(row.choices))
        case Kind.TEXTS:
            return texts.product["texts"].format(example=row.example)


def _presentation(row: PolicyKey, texts: Texts) -> Iterator[str]:
    name = policy_name(row)
    label = escape(texts.labels[row.name], quote=False)
    match row.kind:
        case Kind.BOOLEAN:
            return
        case Kind.INTEGER:
            box = f'<decimalTextBox refId="{name}" defaultValue="{row.default}">{label}'
            box += "</decimalTextBox>"
        case Kind.CHOICE:
            item = row.choices.index(str(row.default))
            box = f'<dropdownList refId="{name}" noSort="true" defaultItem="{item}">{label}'
            box += "</dropdownList>"
        case _:
            box = f'<multiTextBox refId="{name}">{label}</multiTextBox>'
    yield f'      <presentation id="{name}">'
    yield f"        {box}"
    yield "      </presentation>"

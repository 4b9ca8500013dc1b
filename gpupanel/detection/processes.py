"""Evidence from the program and its command line.

Everything here is chosen by whoever starts the process, so a name alone is worth little: it takes
the grammar of a miner's options, and what the file itself holds, to be worth more.
"""

from __future__ import annotations

from collections.abc import Iterator

from gpupanel.detection.grammar import Spoken
from gpupanel.detection.reading.facts import ProcessFacts
from gpupanel.detection.signatures import Signatures, bare_name
from gpupanel.model.verdict import Evidence, EvidenceFamily, EvidenceSource

_ENOUGH_MARKERS = 2


def evidence(facts: ProcessFacts, said: Spoken, known: Signatures) -> Iterator[Evidence]:
    """Name, content, and the options of the process and of its relatives."""
    yield from _names(facts, known)
    yield from _markers(facts, known)
    flags = {option.flag for option in said.options}
    unique = {flag for flag in flags if flag in known.unique_options or _is_telling(flag, known)}
    if unique:
        weight = known.weights["unique_option"] + (known.weights["weak_option"] * (len(unique) > 1))
        yield _line("options", weight, f"only miners know its option {_listed(unique)}")
    if said.is_of_a_miner:
        text = "its options are a pool and an account to pay, as a miner's are"
        yield _line("grammar", known.weights["grammar"], text)
    if said.algorithm:
        text = f"an option names the algorithm or coin {said.algorithm}"
        yield _line("algorithm", known.weights[said.algorithm_kind], text)
    if said.has_wallet:
        yield _line("wallet", known.weights["wallet"], "an option holds a wallet's address")
    weak = flags & known.weak_options | {flag for flag in said.pool_flags if "pool" in flag}
    if weak:
        text = f"miners use its option {_listed(weak)} too"
        yield _line("weak option", known.weights["weak_option"], text)
    if said.has_idle_password:
        text = "its password is x, as one tells pools that ask for none"
        yield _line("password", known.weights["weak_option"], text)


def _is_telling(flag: str, known: Signatures) -> bool:
    return any(part in flag for part in known.telling)


def _names(facts: ProcessFacts, known: Signatures) -> Iterator[Evidence]:
    called = facts.arguments[0] if facts.arguments else ""
    script = facts.script.path if facts.script else ""
    names = dict.fromkeys(map(bare_name, (facts.program.name, facts.name, called, script)))
    for name in names:
        if name in known.added_executables:
            text = f"it is called {name}, which the administrator named a miner"
            yield _line("name", known.weights["named_like_a_miner"], text)
            return
        if name in known.miner_names:
            text = f"it is called {name}, as {known.miner_names[name]} is"
            yield _line("name", known.weights["named_like_a_miner"], text)
            return
    common = [name for name in names if name in known.common_names]
    if common:
        text = f"it is called {common[0]}, as a miner is and other programs too"
        yield _line("name", known.weights["named_by_a_common_word"], text)


def _markers(facts: ProcessFacts, known: Signatures) -> Iterator[Evidence]:
    markers = (facts.script or facts.program).markers
    if not markers:
        return
    weight = known.weights["marker_in_executable"]
    if len(markers) >= _ENOUGH_MARKERS:
        weight += known.weights["more_markers"]
    shown = ", ".join(f'"{marker}"' for marker in markers[:3])
    yield Evidence(
        EvidenceFamily.PROCESS, "content", weight, f"its file holds words of the protocol of "
        f"mining pools: {shown}", EvidenceSource.EXECUTABLE,
    )  # fmt: skip


def _listed(flags: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(flags)[:3])


def _line(kind: str, weight: float, text: str) -> Evidence:
    return Evidence(EvidenceFamily.PROCESS, kind, weight, text, EvidenceSource.ARGUMENTS)

"""Evidence from the program and its command line.

Everything here is chosen by whoever starts the process, so a name alone is worth little: it takes
the grammar of a miner's options, and what the file itself holds, to be worth more.
"""

from __future__ import annotations

from collections.abc import Iterator

from gpupanel.detection.arguments import Option, endpoints, options, values_of
from gpupanel.detection.reading.facts import ProcessFacts
from gpupanel.detection.signatures import Miner, Signatures, bare_name
from gpupanel.model.verdict import Evidence, EvidenceFamily, EvidenceSource

_ENOUGH_MARKERS = 2


def evidence(facts: ProcessFacts, known: Signatures) -> Iterator[Evidence]:
    """Name, content, and the options of the process and of what launched it."""
    yield from _names(facts, known)
    yield from _markers(facts, known)
    found = all_options(facts)
    flags = {option.flag for option in found}
    unique = flags & known.unique_options
    if unique:
        weight = known.weights["unique_option"] + (known.weights["weak_option"] * (len(unique) > 1))
        yield _line("options", weight, f"only miners know its option {_listed(unique)}")
    miner = fitting_miner(found, known)
    if miner is not None:
        text = f"its options are a pool, an account and an algorithm, in the words of {miner.name}"
        yield _line("grammar", known.weights["grammar"], text)
    algorithm = named_algorithm(found, known)
    if algorithm:
        text = f"an option names the algorithm or coin {algorithm}"
        yield _line("algorithm", known.weights["algorithm"], text)
    if has_wallet([option.value for option in found], known):
        yield _line("wallet", known.weights["wallet"], "an option holds a wallet's address")
    if flags & known.weak_options:
        text = f"miners use its option {_listed(flags & known.weak_options)} too"
        yield _line("weak option", known.weights["weak_option"], text)


def all_options(facts: ProcessFacts) -> tuple[Option, ...]:
    """Of the process and of what launched it."""
    lines = (facts.arguments, *(launcher.arguments for launcher in facts.launchers))
    return tuple(option for line in lines for option in options(line))


def fitting_miner(found: tuple[Option, ...], known: Signatures) -> Miner | None:
    """A miner whose options these are: a pool and an account, with an algorithm or a wallet."""
    return next((miner for miner in known.miners if _fits(found, miner, known)), None)


def named_algorithm(found: tuple[Option, ...], known: Signatures) -> str:
    """The first algorithm or coin that an option asks for; empty for none."""
    for value in values_of(found, known.algorithm_options):
        for word in value.casefold().replace("+", ",").split(","):
            if word in known.algorithms:
                return word
    return ""


def has_wallet(words: list[str], known: Signatures) -> bool:
    """Whether a word is an address, alone or before its worker, or stands in a URL."""
    parts = (part for word in words for part in (word, word.rpartition("://")[2]))
    return any(known.wallet.match(part) for part in parts)


def _fits(found: tuple[Option, ...], miner: Miner, known: Signatures) -> bool:
    pools = values_of(found, miner.pool)
    # Some let the account stand in the pool's URL.
    users = (*values_of(found, miner.user), *(pool for pool in pools if "@" in pool))
    if not miner.pool or not endpoints(pools):
        return False
    if not miner.user:  # ethminer and its descendants: the account stands in the pool's URL
        return has_wallet(list(pools), known)
    asks = any(word.casefold() in known.algorithms for word in values_of(found, miner.algorithm))
    return bool(users) and (asks or has_wallet(list(users), known))


def _names(facts: ProcessFacts, known: Signatures) -> Iterator[Evidence]:
    called = facts.arguments[0] if facts.arguments else ""
    script = facts.script.path if facts.script else ""
    names = dict.fromkeys(map(bare_name, (facts.program.name, facts.name, called, script)))
    for name in names:
        if name in known.added_executables:
            text = f"it is called {name}, which the administrator named a miner"
            yield _line("name", known.weights["named_like_a_miner"], text)
            return
        for miner in known.miners:
            if name in miner.executables:
                text = f"it is called {name}, as {miner.name} is"
                yield _line("name", known.weights["named_like_a_miner"], text)
                return
    common = [name for name in names if any(name in miner.common_words for miner in known.miners)]
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

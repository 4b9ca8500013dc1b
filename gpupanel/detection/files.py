"""Evidence from the files that a process has open or was told to read, and from its own ports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gpupanel.detection.arguments import endpoints_in_text
from gpupanel.detection.grammar import is_known_pool
from gpupanel.detection.reading.facts import Config, ProcessFacts
from gpupanel.detection.signatures import Miner, Signatures
from gpupanel.model.verdict import Evidence, EvidenceFamily, EvidenceSource

_ENOUGH_KEYS = 3
_DISTINCT = 8

_KEY = re.compile(r"""^[ \t{,]*["']?([A-Za-z][\w./-]{1,40})["']?[ \t]*[:=]""", re.MULTILINE)
_INLINE_KEY = re.compile(r"""["']([A-Za-z][\w./-]{1,40})["'][ \t]*:""")
_VALUE = re.compile(r"""[:=,\[][ \t]*["']?([^\s"',;\]]{2,120})""")
_ALGORITHM = re.compile(
    r"""(?:algo|algorithm|coin)[0-9]?["']?[ \t]*[:=][ \t]*["']?([\w/+.-]{2,40})""", re.IGNORECASE
)
_SECTION = re.compile(r"^\[(\w{3,40})\]", re.MULTILINE)


def evidence(facts: ProcessFacts, known: Signatures) -> Iterator[Evidence]:
    """Configurations of miners, their tables, and the port that they answer on."""
    yield from _configs(facts.configs, known)
    tables = [path for path in facts.open_files if _is_table(path, known)]
    if tables:
        name = tables[0].rpartition("/")[2]
        text = f"it has {name} open, a table of a mining algorithm"
        yield _line("table", known.weights["table_file"], text, EvidenceSource.FILES)
    answering = [
        (port, miner)
        for port in facts.listening_ports
        for miner in known.miners
        if port in miner.api_ports
    ]
    if answering:
        port, miner = answering[0]
        text = f"it answers on port {port}, as {miner.name} does"
        yield _line("port", known.weights["api_port"], text, EvidenceSource.SOCKETS)


def _configs(configs: Sequence[Config], known: Signatures) -> Iterator[Evidence]:
    for config in configs:
        keys = frozenset(_KEY.findall(config.text)) | frozenset(_INLINE_KEY.findall(config.text))
        miner = _writer(keys, known)
        if miner is not None:
            text = f"its {config.name} is a configuration of {miner.name}"
            yield _line("config", known.weights["config_keys"], text)
        if config.name in known.config_names:
            text = f"only miners read a file called {config.name}"
            yield _line("config name", known.weights["config_name"], text)
        values = _VALUE.findall(config.text)
        asked = [*_ALGORITHM.findall(config.text), *_SECTION.findall(config.text)]
        # Short names of coins are words of others too, where no key says what they are.
        asked += [value for value in values if len(value) >= _DISTINCT]
        algorithms = [word for word in asked if word.casefold() in known.algorithms]
        if algorithms:
            text = f"its {config.name} asks for the algorithm or coin {algorithms[0].casefold()}"
            kind = known.algorithm_kind(algorithms[0].casefold())
            yield _line("algorithm", known.weights[kind], text)
        has_wallet = any(known.wallet.match(value) for value in values)
        if has_wallet:
            text = f"its {config.name} holds a wallet's address"
            yield _line("wallet", known.weights["wallet"], text)
        pools = (one for one in endpoints_in_text(config.text) if one.port)
        if (algorithms or has_wallet) and any(is_known_pool(one, known) for one in pools):
            text = f"its {config.name} holds a pool and what to work on for it"
            yield _line("grammar", known.weights["config_grammar"], text)


def _writer(keys: frozenset[str], known: Signatures) -> Miner | None:
    fitting = (miner for miner in known.miners if len(keys & miner.config_keys) >= _ENOUGH_KEYS)
    return next(fitting, None)


def _is_table(path: str, known: Signatures) -> bool:
    name = path.removesuffix(" (deleted)").rpartition("/")[2].casefold()
    is_named = any(name.startswith(table.casefold()) for table in known.table_names)
    return is_named or name.endswith(known.table_suffixes)


def _line(
    kind: str, weight: float, text: str, source: EvidenceSource = EvidenceSource.CONFIG
) -> Evidence:
    return Evidence(EvidenceFamily.FILES, kind, weight, text, source)

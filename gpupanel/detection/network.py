"""Evidence from the hosts that a process names and from the connections that it holds.

The kernel's tables tell of a connection's other end and of nothing that goes over it. No name is
looked up and nothing is sniffed: that would tell the pool's operator, and miss TLS anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from statistics import fmean

from gpupanel.detection.arguments import Endpoint, endpoints, endpoints_in_text, values_of
from gpupanel.detection.processes import all_options, has_wallet, named_algorithm
from gpupanel.detection.reading.facts import Connection, ProcessFacts, Use
from gpupanel.detection.signatures import Signatures
from gpupanel.model.verdict import Evidence, EvidenceFamily, EvidenceSource

_WEB = frozenset({"http", "https"})
_LASTING_S = 60.0
_MOST_OF_A_MINER = 4
_SATURATED_PERCENT = 90.0
_WINDOW_S = 60.0


def evidence(facts: ProcessFacts, uses: Sequence[Use], known: Signatures) -> Iterator[Evidence]:
    """Pools that are named, and connections as a miner holds them."""
    named = _named(facts)
    for source, found in named.items():
        yield from _schemes(found, source, known)
        yield from _hosts(found, source, known)
    yield from _methods(facts, known)
    yield from _connections(facts, uses, named, known)


def _named(facts: ProcessFacts) -> dict[EvidenceSource, tuple[Endpoint, ...]]:
    lines = (facts.arguments[1:], *(launcher.arguments for launcher in facts.launchers))
    words = [word.partition("=")[2] if word.startswith("-") else word for w in lines for word in w]
    configs = [endpoint for one in facts.configs for endpoint in endpoints_in_text(one.text)]
    return {
        EvidenceSource.ARGUMENTS: endpoints(words),
        EvidenceSource.CONFIG: tuple(configs),
    }


def _schemes(
    found: Sequence[Endpoint], source: EvidenceSource, known: Signatures
) -> Iterator[Evidence]:
    schemes = {endpoint.scheme for endpoint in found}
    strong, weak = schemes & known.strong_schemes, schemes & known.weak_schemes
    if strong:
        text = f"a URL begins with {min(strong)}, which is the protocol of mining pools"
        yield _line("scheme", known.weights["scheme"], text, source)
    elif weak:
        text = f"a URL begins with {min(weak)}, as those of miners without a pool do"
        yield _line("scheme", known.weights["weak_scheme"], text, source)


def _hosts(
    found: Sequence[Endpoint], source: EvidenceSource, known: Signatures
) -> Iterator[Evidence]:
    kinds = {endpoint: kind for endpoint in found if (kind := known.host_kind(endpoint.host))}
    if kinds:
        # A web page of a pool is not the pool.
        weights = {
            endpoint: known.weights["doubtful_host" if _is_page(endpoint) else kind]
            for endpoint, kind in kinds.items()
        }
        best = max(weights, key=lambda endpoint: weights[endpoint])
        yield _line("pool", weights[best], f"the host {best.host} is a mining pool's", source)
    labelled = [one.host for one in found if one.port and known.has_pool_label(one.host)]
    if labelled:
        text = f"the name {labelled[0]} is like that of a pool"
        yield _line("label", known.weights["host_label"], text, source)


def _methods(facts: ProcessFacts, known: Signatures) -> Iterator[Evidence]:
    texts = {
        EvidenceSource.ARGUMENTS: " ".join(facts.arguments[1:]),
        EvidenceSource.CONFIG: "\n".join(config.text for config in facts.configs),
    }
    for source, text in texts.items():
        said = [method for method in known.methods if method in text]
        if said:
            line = f"it is told to say {said[0]}, a word of the protocol of mining pools"
            yield _line("method", known.weights["method"], line, source)


def _connections(
    facts: ProcessFacts,
    uses: Sequence[Use],
    named: dict[EvidenceSource, tuple[Endpoint, ...]],
    known: Signatures,
) -> Iterator[Evidence]:
    for kind, pools in (
        ("connected_to_known_pool", _known_pools(named, known)),
        ("connected_to_named_pool", _given_pools(facts, known)),
    ):
        ports = [
            connection.port
            for connection in facts.connections
            if any(_leads_to(connection, pool) for pool in pools)
        ]
        if ports:
            text = f"it is connected to port {ports[0]}, which it was given as a pool's"
            yield _socket("named pool", known.weights[kind], text)
            break
    away = [one for one in facts.connections if not one.is_local]
    hosts = [one.host for one in away if one.host in known.pools]
    if hosts:
        text = f"it is connected to {hosts[0]}, which the administrator named a pool"
        yield _socket("pool address", known.weights["pool_host"], text)
    ports = [one.port for one in away if one.port in known.pool_ports]
    if ports:
        text = f"it is connected to port {ports[0]}, which pools use"
        yield _socket("pool port", known.weights["pool_port"], text)
    if _is_lasting(away, uses):
        text = "it holds a connection for minutes while the GPU is saturated"
        yield _socket("lasting connection", known.weights["lasting_connection"], text)


def _known_pools(
    named: dict[EvidenceSource, tuple[Endpoint, ...]], known: Signatures
) -> list[Endpoint]:
    """What was named and is a pool by its scheme or host."""
    return [
        one
        for found in named.values()
        for one in found
        if one.port and (one.scheme in known.strong_schemes or known.host_kind(one.host))
    ]


def _given_pools(facts: ProcessFacts, known: Signatures) -> list[Endpoint]:
    """What was given as a miner's option for a pool, beside an algorithm or a wallet."""
    found = all_options(facts)
    if not (named_algorithm(found, known) or has_wallet([one.value for one in found], known)):
        return []
    return [one for one in endpoints(values_of(found, known.pool_options)) if one.port]


def _leads_to(connection: Connection, pool: Endpoint) -> bool:
    """By port, and by address where the pool was named by one."""
    if connection.port != pool.port:
        return False
    try:
        return ip_address(pool.host) == ip_address(connection.host)
    except ValueError:
        return connection.is_local == (pool.host == "localhost")


def _is_page(endpoint: Endpoint) -> bool:
    return endpoint.scheme in _WEB and not endpoint.port


def _is_lasting(away: Sequence[Connection], uses: Sequence[Use]) -> bool:
    if not uses or not 0 < len(away) <= _MOST_OF_A_MINER:
        return False
    since_s = uses[-1].time_s - _WINDOW_S
    busy = [use.utilization_percent for use in uses if use.time_s >= since_s]
    known = [percent for percent in busy if percent is not None]
    is_saturated = bool(known) and fmean(known) >= _SATURATED_PERCENT
    return is_saturated and max(one.age_s for one in away) >= _LASTING_S


def _socket(kind: str, weight: float, text: str) -> Evidence:
    return _line(kind, weight, text, EvidenceSource.SOCKETS)


def _line(kind: str, weight: float, text: str, source: EvidenceSource) -> Evidence:
    return Evidence(EvidenceFamily.NETWORK, kind, weight, text, source)

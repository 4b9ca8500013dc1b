"""Evidence from the hosts that a process names and from the connections that it holds.

The kernel's tables tell of a connection's other end and of nothing that goes over it. No name is
looked up and nothing is sniffed: that would tell the pool's operator, and miss TLS anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from statistics import fmean

from gpupanel.detection.arguments import Endpoint, endpoints_in_text
from gpupanel.detection.grammar import Spoken, is_known_pool, is_page
from gpupanel.detection.reading.facts import Connection, ProcessFacts, Use
from gpupanel.detection.signatures import Signatures
from gpupanel.model.verdict import Evidence, EvidenceFamily, EvidenceSource

_LASTING_S = 60.0
_MOST_OF_A_MINER = 4
_SATURATED_PERCENT = 90.0
_WINDOW_S = 60.0
_OF_A_MINER_BYTES_PER_S = (20.0, 400.0)
"""Jobs and shares are some hundred bytes each, a few times a minute."""

_PRIVATE = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
                     "100.64.0.0/10", "fc00::/7", "fe80::/10"))
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pools:
    """Where a process was told to connect to.

    Attributes:
        known: By scheme or name.
        given: To an option that means a pool, beside an algorithm or a wallet.
        is_whole: Beside both.
    """

    known: tuple[Endpoint, ...] = ()
    given: tuple[Endpoint, ...] = ()
    is_whole: bool = False


def evidence(facts: ProcessFacts, said: Spoken, known: Signatures) -> Iterator[Evidence]:
    """Pools that command lines and configurations name, whatever is connected now."""
    for source, found in _named(facts, said).items():
        yield from _schemes(found, source, known)
        yield from _hosts(found, source, known)
    yield from _methods(facts, known)


def pools(facts: ProcessFacts, said: Spoken, known: Signatures) -> Pools:
    """What connections are compared with."""
    configured = [one for config in facts.configs for one in endpoints_in_text(config.text)]
    found = [one for one in configured if one.port and is_known_pool(one, known)]
    asks = bool(said.algorithm) or said.has_wallet
    return Pools((*said.known_pools, *found), said.pools if asks else (), said.is_whole)


def evidence_of_connections(
    facts: ProcessFacts, uses: Sequence[Use], told: Pools, known: Signatures
) -> Iterator[Evidence]:
    """Connections as a miner holds them; a relative that uses no GPU may hold one for it."""
    relatives = (*facts.launchers, *facts.children)
    held = (*facts.connections, *(one for each in relatives for one in each.connections))
    if not held:
        return
    yield from _to_pools(held, told, known)
    away = [one for one in held if not one.is_local]
    hosts = [one.host for one in away if one.host in known.pools]
    if hosts:
        text = f"it is connected to {hosts[0]}, which the administrator named a pool"
        yield _socket("pool address", known.weights["pool_host"], text)
    ports = [one.port for one in away if one.port in known.pool_ports]
    if ports:
        text = f"it is connected to port {ports[0]}, which pools use"
        yield _socket("pool port", known.weights["pool_port"], text)
    yield from _lasting(away, uses, known)


def _named(facts: ProcessFacts, said: Spoken) -> dict[EvidenceSource, tuple[Endpoint, ...]]:
    configs = [endpoint for one in facts.configs for endpoint in endpoints_in_text(one.text)]
    return {EvidenceSource.ARGUMENTS: said.named, EvidenceSource.CONFIG: tuple(configs)}


def _schemes(
    found: Sequence[Endpoint], source: EvidenceSource, known: Signatures
) -> Iterator[Evidence]:
    schemes = {endpoint.scheme for endpoint in found}
    strong = {scheme for scheme in schemes if known.is_pool_scheme(scheme)}
    weak = schemes & known.weak_schemes
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
            endpoint: known.weights["doubtful_host" if is_page(endpoint) else kind]
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


def _to_pools(held: Sequence[Connection], told: Pools, known: Signatures) -> Iterator[Evidence]:
    reached = _reached(held, told.known)
    kind = "connected_to_known_pool"
    if not reached:
        reached = _reached(held, told.given)
        # A proxy on one's own network is as a training run's server is: it takes more than words.
        is_public = any(not _is_private(one) for one in reached)
        is_whole = told.is_whole and is_public
        kind = "connected_to_whole_grammar" if is_whole else "connected_to_named_pool"
    if reached:
        text = f"it is connected to port {reached[0].port}, which it was given as a pool's"
        yield _socket("named pool", known.weights[kind], text)


def _reached(held: Sequence[Connection], named: Sequence[Endpoint]) -> list[Connection]:
    return [one for one in held if any(_leads_to(one, pool) for pool in named)]


def _is_private(connection: Connection) -> bool:
    if connection.is_local:
        return True
    address = ip_address(connection.host)
    return any(address in network for network in _PRIVATE)


def _leads_to(connection: Connection, pool: Endpoint) -> bool:
    """By port, and by address where the pool was named by one."""
    if connection.port != pool.port:
        return False
    try:
        return ip_address(pool.host) == ip_address(connection.host)
    except ValueError:
        return connection.is_local == (pool.host == "localhost")


def _lasting(
    away: Sequence[Connection], uses: Sequence[Use], known: Signatures
) -> Iterator[Evidence]:
    """Weak: a monitor's or a chat's connection lasts as well."""
    lasting = [one for one in away if one.age_s >= _LASTING_S]
    if not lasting or len(away) > _MOST_OF_A_MINER or not _is_saturated(uses):
        return
    rates = [one.bytes_per_s for one in lasting if one.bytes_per_s is not None]
    least, most = _OF_A_MINER_BYTES_PER_S
    slow = [rate for rate in rates if least <= rate <= most]
    if slow:
        text = f"it holds a connection at {slow[0]:.0f} B/s while the GPU is saturated"
        yield _socket("lasting connection", known.weights["slow_connection"], text)
    elif len(rates) < len(lasting):
        text = "it holds a connection for minutes while the GPU is saturated"
        yield _socket("lasting connection", known.weights["lasting_connection"], text)


def _is_saturated(uses: Sequence[Use]) -> bool:
    if not uses:
        return False
    since_s = uses[-1].time_s - _WINDOW_S
    busy = [use.utilization_percent for use in uses if use.time_s >= since_s]
    known = [percent for percent in busy if percent is not None]
    return bool(known) and fmean(known) >= _SATURATED_PERCENT


def _socket(kind: str, weight: float, text: str) -> Evidence:
    return _line(kind, weight, text, EvidenceSource.SOCKETS)


def _line(kind: str, weight: float, text: str, source: EvidenceSource) -> Evidence:
    return Evidence(EvidenceFamily.NETWORK, kind, weight, text, source)

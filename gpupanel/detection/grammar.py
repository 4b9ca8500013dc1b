"""What a command line says in the words that all miners share: a pool, an account, an algorithm.

A miner that nobody ever heard of has to be told these three as well, and nothing else is. So no
single miner's options are looked for here; what is known of them all together is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpupanel.detection.arguments import Endpoint, Option, endpoints, hosts_beside_ports, options
from gpupanel.detection.reading.facts import ProcessFacts
from gpupanel.detection.signatures import Signatures

_WEB = frozenset({"http", "https"})
_PLAIN = frozenset({"", "tcp", "ssl", "tls"})
_IDLE = "x"
_DISTINCT = 6
"""A shorter name of an algorithm is a word of others too, where no option says what it is."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the command lines of a process and of its relatives say.

    Attributes:
        named: Every host.
        pools: Hosts given to an option that means a pool.
        known_pools: Hosts, with a port, whose scheme or name is a pool's.
        algorithm: The first that is named; empty for none.
        algorithm_kind: How much that is worth: the name of a weight.
        has_account: Somebody to pay is named, in whatever form.
        has_wallet: An address of a currency is named.
        has_idle_password: A password is given that is none.
        pool_flags: The options of ``pools``.
    """

    options: tuple[Option, ...]
    named: tuple[Endpoint, ...]
    pools: tuple[Endpoint, ...]
    known_pools: tuple[Endpoint, ...]
    algorithm: str
    algorithm_kind: str
    has_account: bool
    has_wallet: bool
    has_idle_password: bool
    pool_flags: frozenset[str]

    @property
    def is_of_a_miner(self) -> bool:
        """A pool and an account, and what makes the one a pool or the other a wallet."""
        if self.known_pools and self.has_account:
            return True
        asks = bool(self.algorithm) or self.has_wallet
        return bool(self.pools) and self.has_account and asks

    @property
    def is_whole(self) -> bool:
        """All three, and the account is a wallet: nothing else is told so."""
        return bool(self.pools) and self.has_wallet and bool(self.algorithm)


def spoken(facts: ProcessFacts, known: Signatures) -> Spoken:
    """Read the command lines of the process, of what launched it, and of its children."""
    lines = (facts.arguments, *(one.arguments for one in (*facts.launchers, *facts.children)))
    found = tuple(option for line in lines for option in options(line))
    named = tuple(
        dict.fromkeys([*endpoints([one.value for one in found]), *hosts_beside_ports(found)])
    )
    given = [one for one in found if known.is_pool_option(one.flag)]
    known_pools = tuple(one for one in named if one.port and is_known_pool(one, known))
    algorithm, kind = _algorithm(found, named, known)
    has_wallet = any(known.wallet.match(part) for one in found for part in _parts(one.value))
    # Beside an algorithm of mining and a wallet, a host can be nothing but a pool.
    tells_rest = has_wallet and kind == "algorithm"
    candidates = named if tells_rest else _at_pool_options(given, found)
    pools = (*(one for one in candidates if _may_be_a_pool(one, known)), *known_pools)
    pays = any(one.value and known.is_account_option(one.flag) for one in found)
    return Spoken(
        found, named, pools, known_pools, algorithm, kind,
        pays or has_wallet or any(one.user for one in pools), has_wallet,
        any(one.value == _IDLE and one.flag in known.password_options for one in found),
        frozenset(one.flag for one in given if endpoints([one.value])),
    )  # fmt: skip


def is_known_pool(endpoint: Endpoint, known: Signatures) -> bool:
    """By its scheme or its name; a web page of a pool is not the pool."""
    if known.is_pool_scheme(endpoint.scheme):
        return True
    is_page = endpoint.scheme in _WEB and not endpoint.port
    return not is_page and bool(known.host_kind(endpoint.host))


def is_page(endpoint: Endpoint) -> bool:
    """Whether a browser would go there."""
    return endpoint.scheme in _WEB and not endpoint.port


def _at_pool_options(given: Sequence[Option], found: Sequence[Option]) -> tuple[Endpoint, ...]:
    ports = [one for one in found if one.flag.endswith("port")]
    return (*endpoints([one.value for one in given]), *hosts_beside_ports([*given, *ports]))


def _may_be_a_pool(endpoint: Endpoint, known: Signatures) -> bool:
    """By its scheme: a database or a camera has one of its own."""
    is_plain = endpoint.scheme in _PLAIN | known.weak_schemes
    return bool(endpoint.port) and (is_plain or known.is_pool_scheme(endpoint.scheme))


def _algorithm(
    found: Sequence[Option], named: Sequence[Endpoint], known: Signatures
) -> tuple[str, str]:
    asked = [one.value.casefold() for one in found if known.is_algorithm_option(one.flag)]
    # Equihash's parameters hold a comma, and so do two algorithms at once.
    parts = [part for word in asked for part in word.replace("+", ",").split(",")]
    # Bminer's URLs begin with the algorithm.
    elsewhere = [one.value.casefold() for one in found] + [one.scheme for one in named]
    distinct = [word for word in elsewhere if len(word) >= _DISTINCT and word in known.algorithms]
    kinds = {word: known.algorithm_kind(word) for word in (*asked, *parts, *distinct) if word}
    best = max(kinds, key=lambda word: known.weights.get(kinds[word], 0.0), default="")
    return (best, kinds[best]) if best and kinds[best] else ("", "")


def _parts(word: str) -> Iterator[str]:
    """An address stands alone, before its worker, or in a URL."""
    yield word
    if "://" in word:
        yield word.rpartition("://")[2]

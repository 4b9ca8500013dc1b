"""What is known of miners and of their look-alikes: two files of facts, read once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from gpupanel.model.verdict import ProcessClass

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Miner:
    """One family of miners.

    Attributes:
        executables: Names that hardly anything else has, folded, without ``.exe``.
        common_words: Names that other programs have too.
        algorithm, pool, user, config: Options that take such a value.
        unique: Options that only miners know.
    """

    name: str
    executables: frozenset[str] = frozenset()
    common_words: frozenset[str] = frozenset()
    algorithm: frozenset[str] = frozenset()
    pool: frozenset[str] = frozenset()
    user: frozenset[str] = frozenset()
    config: frozenset[str] = frozenset()
    unique: frozenset[str] = frozenset()
    api_ports: frozenset[int] = frozenset()
    config_keys: frozenset[str] = frozenset()
    config_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Names:
    """Names of programs, some with a ``*`` at the end."""

    pattern: re.Pattern[str]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.pattern.match(name.casefold()) is not None


@dataclass(frozen=True, slots=True)
class Signatures:
    """Everything from the two files, in the forms that the families look up.

    Attributes:
        weights: Nats by kind of evidence.
        miner_names: Each name of a program, and whose it is.
        common_names: Names that other programs have too.
        unique_options, algorithm_options, pool_options, account_options: Of all miners together.
        telling: Parts of options that only miners have.
        algorithm_families: Forms of names that only mining algorithms have.
        like_algorithms: A form that others have too.
        password_options: Of all miners together.
        pools, listed, doubtful: Hosts, each with all below it.
        added_executables: Names that an administrator added, folded.
        programs: Class and names of known programs.
        frameworks: Class and the beginnings of library names.
    """

    weights: Mapping[str, float]
    miners: tuple[Miner, ...]
    miner_names: Mapping[str, str]
    common_names: frozenset[str]
    unique_options: frozenset[str]
    weak_options: frozenset[str]
    algorithm_options: frozenset[str]
    pool_options: frozenset[str]
    account_options: frozenset[str]
    telling: tuple[str, ...]
    algorithms: frozenset[str]
    algorithm_families: re.Pattern[str]
    like_algorithms: re.Pattern[str]
    password_options: frozenset[str]
    strong_schemes: frozenset[str]
    weak_schemes: frozenset[str]
    methods: tuple[str, ...]
    wallet: re.Pattern[str]
    pools: frozenset[str]
    listed: frozenset[str]
    doubtful: frozenset[str]
    labels: frozenset[str]
    pool_ports: frozenset[int]
    markers: tuple[bytes, ...]
    table_suffixes: tuple[str, ...]
    table_names: tuple[str, ...]
    config_names: frozenset[str]
    configs_to_read: tuple[str, ...]
    programs: tuple[tuple[ProcessClass, Names], ...]
    frameworks: tuple[tuple[ProcessClass, tuple[str, ...]], ...]
    game_folders: tuple[str, ...]
    session: Names
    browsers: Names
    browser_marks: tuple[str, ...]
    launcher_ends: Names
    interpreters: Names
    added_executables: frozenset[str] = frozenset()

    def with_policy(self, executables: Sequence[str], hosts: Sequence[str]) -> Signatures:
        """These, and what an administrator adds to them."""
        added = frozenset(bare_name(name) for name in executables)
        return replace(self, added_executables=added, pools=self.pools | set(hosts))

    def without(self, gone: Collection[Miner]) -> Signatures:
        """As if these had never been heard of: nothing that they alone say is known."""
        left = tuple(miner for miner in self.miners if miner not in gone)

        def shared(known: frozenset[str], field: str) -> frozenset[str]:
            alone = frozenset().union(*(getattr(miner, field) for miner in gone))
            return known - alone.difference(*(getattr(miner, field) for miner in left))

        return replace(
            self,
            miners=left,
            miner_names=_names_of(left),
            common_names=shared(self.common_names, "common_words"),
            unique_options=shared(self.unique_options, "unique"),
            algorithm_options=shared(self.algorithm_options, "algorithm"),
            pool_options=shared(self.pool_options, "pool"),
            account_options=shared(self.account_options, "user"),
            config_names=shared(self.config_names, "config_names"),
        )

    def host_kind(self, host: str) -> str:
        """The weight's name for a host that is known; empty for another."""
        for kind, hosts in (
            ("pool_host", self.pools),
            ("listed_host", self.listed),
            ("doubtful_host", self.doubtful),
        ):
            if _is_below(host, hosts):
                return kind
        return ""

    def is_pool_scheme(self, scheme: str) -> bool:
        """Whether a URL that begins so is a pool's; some begin with the algorithm."""
        if scheme in self.strong_schemes or "stratum" in scheme:
            return True
        return self.algorithm_families.fullmatch(scheme) is not None

    def is_pool_option(self, flag: str) -> bool:
        """Whether what follows is where to work for, in any miner's words."""
        return flag in self.pool_options or "pool" in flag or "stratum" in flag

    def is_account_option(self, flag: str) -> bool:
        """Whether what follows is whom to pay, in any miner's words."""
        return flag in self.account_options or flag.endswith(("wal", "wallet"))

    def is_algorithm_option(self, flag: str) -> bool:
        """Whether what follows is what to compute, in any miner's words."""
        return flag in self.algorithm_options or flag.endswith(("algo", "algorithm", "coin"))

    def algorithm_kind(self, word: str) -> str:
        """The weight's name for what an option of an algorithm asks for; empty for another word."""
        if self.algorithm_families.fullmatch(word):
            return "algorithm"
        if word in self.algorithms:
            return "coin"
        return "like_an_algorithm" if self.like_algorithms.fullmatch(word) else ""

    def has_pool_label(self, host: str) -> bool:
        """Whether a part of the host's name is one that pools like."""
        if _is_address(host):
            return False
        parts = re.split(r"[.-]", host.casefold())[:-1]
        return any(
            part.rstrip("0123456789") in self.labels or part.endswith(("mining", "miner", "hash"))
            for part in parts
        )


def bare_name(name: str) -> str:
    """A program's name as it is compared: folded, without folders and ``.exe``."""
    return name.replace("\\", "/").rpartition("/")[2].casefold().removesuffix(".exe")


@cache
def built_in() -> Signatures:
    """What gpupanel knows by itself."""
    return load(_HERE / "signatures.toml", _HERE / "lookalikes.toml")


def load(miners_file: Path, lookalikes_file: Path) -> Signatures:
    """Read both files.

    Raises:
        KeyError, ValueError: They are not of the form that this version wants: reinstall gpupanel.
    """
    known = tomllib.loads(miners_file.read_text(encoding="utf-8"))
    alike = tomllib.loads(lookalikes_file.read_text(encoding="utf-8"))
    options, hosts, files = known["options"], known["hosts"], known["files"]
    miners = tuple(_miner(entry) for entry in known["miner"])
    patterns = [text for name, text in known["wallets"].items() if name != "sources"]
    return Signatures(
        weights={key: value for key, value in known["weights"].items() if key != "sources"},
        miners=miners,
        miner_names=_names_of(miners),
        common_names=frozenset().union(*(one.common_words for one in miners)),
        unique_options=frozenset(options["unique"]).union(*(one.unique for one in miners)),
        weak_options=frozenset(options["weak"]),
        algorithm_options=frozenset(options["algorithm"]).union(*(one.algorithm for one in miners)),
        pool_options=frozenset(options["pool"]).union(*(one.pool for one in miners)),
        account_options=frozenset(options["account"]).union(*(one.user for one in miners)),
        telling=tuple(options["telling"]),
        algorithms=frozenset(known["algorithms"]["values"]),
        algorithm_families=re.compile("|".join(known["algorithms"]["families"])),
        like_algorithms=_like(known["algorithms"]),
        password_options=frozenset(options["password"]),
        strong_schemes=frozenset(known["schemes"]["strong"]),
        weak_schemes=frozenset(known["schemes"]["weak"]),
        methods=tuple(known["methods"]["values"]),
        # Before it may stand a pool's number, or the currency that is paid out.
        wallet=re.compile(
            rf"(?:\[[0-9]\])?(?:[A-Z0-9]{{2,6}}[:=])?(?:{'|'.join(patterns)})(?=$|[./:@+#,\"'\s])"
        ),
        pools=frozenset(hosts["pools"]),
        listed=frozenset(hosts["listed"]),
        doubtful=frozenset(hosts["doubtful"]),
        labels=frozenset(hosts["labels"]),
        pool_ports=frozenset(known["ports"]["pools"]),
        markers=tuple("".join(parts).encode() for parts in known["markers"]["values"]),
        table_suffixes=tuple(files["suffixes"]),
        table_names=tuple(files["names"]),
        config_names=frozenset(files["configs"]).union(*(one.config_names for one in miners)),
        configs_to_read=tuple(files["read"]),
        programs=tuple(
            (ProcessClass(entry["class"]), _names(entry["names"])) for entry in alike["program"]
        ),
        frameworks=tuple(
            (ProcessClass(entry["class"]), tuple(entry["libraries"]))
            for entry in alike["framework"]
        ),
        game_folders=tuple(alike["games"]["folders"]),
        session=_names(alike["protected"]["session"]),
        browsers=_names(alike["protected"]["browsers"]),
        browser_marks=tuple(alike["protected"]["browser_marks"]),
        launcher_ends=_names(alike["launchers"]["ends"]),
        interpreters=_names(alike["interpreters"]["names"]),
    )


def _miner(entry: Mapping[str, Any]) -> Miner:
    def words(key: str) -> frozenset[str]:
        return frozenset(entry.get(key, ()))

    return Miner(
        name=entry["name"],
        executables=frozenset(map(bare_name, entry.get("executables", ()))),
        common_words=frozenset(map(bare_name, entry.get("common_words", ()))),
        algorithm=words("algorithm"),
        pool=words("pool"),
        user=words("user"),
        config=words("config"),
        unique=words("unique"),
        api_ports=frozenset(entry.get("api_ports", ())),
        config_keys=words("config_keys"),
        config_names=words("config_names"),
    )


def _names_of(miners: Sequence[Miner]) -> Mapping[str, str]:
    return {name: one.name for one in reversed(miners) for name in one.executables}


def _like(entry: Mapping[str, Any]) -> re.Pattern[str]:
    """Forms of names; not those of hashes that have another purpose."""
    others = "|".join(map(re.escape, entry["others"]))
    return re.compile(rf"(?!(?:{others})$)(?:{'|'.join(entry['forms'])})")


def _names(names: Sequence[str]) -> Names:
    """Globs of which ``*`` alone is special."""
    globs = (translate(re.sub(r"([\[\]?])", r"[\1]", name.casefold())) for name in names)
    return Names(re.compile("|".join(f"(?:{glob})" for glob in globs)))


def _is_below(host: str, known: frozenset[str]) -> bool:
    host = host.casefold().rstrip(".")
    if _is_address(host):
        return host in known
    labels = host.split(".")
    return any(".".join(labels[place:]) in known for place in range(len(labels)))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

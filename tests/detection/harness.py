"""Plays the corpus to the detector: made-up processes, sockets and use, on a clock of its own.

``python -m tests.detection.table`` prints what comes out. Entries are never split by rows: a miner
is left out with all that is known of it, a program with all that speaks for it.
"""

from __future__ import annotations

import random
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from gpupanel.detection.arguments import Endpoint, endpoints, endpoints_in_text
from gpupanel.detection.detector import Detector
from gpupanel.detection.own import OwnLoads
from gpupanel.detection.reading.facts import (
    Config,
    Connection,
    ProcessFacts,
    Program,
    Relative,
)
from gpupanel.detection.signatures import Names, Signatures, bare_name, built_in
from gpupanel.model.gpu import ProcessKind, ProcessSample
from gpupanel.model.verdict import ProcessClass, Standing, Verdict

CORPUS = Path(__file__).parent / "corpus"
LOOK_S = 3.0
PID = 4711
POOL_ADDRESS = "203.0.113.77"
"""Of a network that no host is on (RFC 5737)."""

PRIVATE_PROXY = "10.0.0.5"

TUNED_ON, HELD_OUT = "", "held_out_"
"""Beginnings of the files' names: entries that weights were fitted to, and those written after."""


def read(name: str) -> dict[str, Any]:
    """One file of the corpus."""
    return tomllib.loads((CORPUS / name).read_text(encoding="utf-8"))


SHAPES: Mapping[str, Any] = read("uses.toml")


@dataclass(frozen=True)
class Entry:
    """One process, from its start on.

    Attributes:
        group: The miner or the workload that it belongs to.
        variant: How it was started.
        shape: Of its use, in uses.toml.
        expected: The class that it has where it does not mine.
    """

    name: str
    group: str
    variant: str
    facts: ProcessFacts
    shape: str
    source: str
    expected: ProcessClass = ProcessClass.MINING


@dataclass(frozen=True)
class Outcome:
    """What came of one entry.

    Attributes:
        suspected_s: When somebody was told, from the start of its work; None for never.
        capped_s: When it could have been held.
    """

    entry: Entry
    suspected_s: float | None
    capped_s: float | None
    verdict: Verdict


@dataclass
class FakeReader:
    """Facts as they would be read: connections grow old, and more may come later."""

    facts: ProcessFacts
    known: Signatures = field(default_factory=built_in)
    now_s: float = 0.0
    runs_foreign_code: bool = False

    def begin_look(self, now_s: float, pids: Sequence[int]) -> None:
        del pids
        self.now_s = now_s

    def read(self, pid: int, started: int) -> ProcessFacts | None:
        if (pid, started) != (self.facts.pid, self.facts.started):
            return None
        aged = tuple(replace(one, age_s=self.now_s) for one in self.facts.connections)
        return replace(self.facts, connections=aged)

    def glance(self, pid: int, started: int) -> ProcessFacts | None:
        facts = self.read(pid, started)
        return facts and replace(
            facts, connections=(), listening_ports=(), open_files=(), libraries=frozenset(),
            children=(),
        )  # fmt: skip

    def read_on(self, is_over: Callable[[], bool]) -> None:
        del is_over

    def has_foreign_code(self, pid: int) -> bool:
        del pid
        return self.runs_foreign_code

    def environment(self, pid: int) -> Mapping[str, str] | None:
        del pid
        return None

    def parent(self, pid: int) -> tuple[int, int] | None:
        return (1, self.facts.started) if pid == self.facts.pid else None


def samples(entry: Entry, now_s: float, dice: random.Random) -> list[ProcessSample]:
    """What a driver would tell of the process now."""
    shape = SHAPES[entry.shape]

    def level(name: str) -> float:
        middle, deviation = shape.get(name, (0.0, 0.0))
        return max(0.0, dice.gauss(middle, deviation))

    pulse = "period_s" not in shape or now_s % shape["period_s"] < shape["on_s"]
    pulse = pulse and now_s > shape.get("after_s", 0)
    busy = min(100.0, level("utilization")) * pulse
    engines = {"compute": busy}
    if "graphics" in shape:
        engines = {"gfx": min(100.0, level("graphics"))}
    if "codec" in shape:
        engines["enc"] = min(100.0, level("codec"))
    return [
        ProcessSample(
            "GPU-1", entry.facts.pid, entry.facts.started, entry.facts.name, "mara",
            ProcessKind.BOTH if "graphics" in shape else ProcessKind.COMPUTE,
            level("memory") * 2**20, busy, engines,
        )
    ]  # fmt: skip


def play(entry: Entry, seconds: float, known: Signatures | None = None) -> Outcome:
    """Let the detector look at one process, every three seconds until it would be held."""
    known = known or built_in()
    reader = FakeReader(entry.facts)
    # A look has as much time as it needs: how busy this machine is says nothing of a verdict.
    own = OwnLoads(1, reader.parent, reader.environment)
    detector = Detector(reader, known, own, clock_s=lambda: 0.0)
    reader.known = known
    dice = random.Random(f"{entry.name} {entry.variant}")
    suspected_s = capped_s = None
    verdict: Verdict | None = None
    now_s, idle_s = LOOK_S, SHAPES[entry.shape].get("after_s", 0)
    while now_s <= seconds and capped_s is None:
        bus = {"GPU-1": max(0.0, dice.gauss(*SHAPES[entry.shape]["bus"])) * 1e6}
        seen = detector.look(samples(entry, now_s, dice), bus, now_s, now_s)
        verdict = seen.get((entry.facts.pid, entry.facts.started), verdict)
        if verdict and suspected_s is None and verdict.standing is not Standing.CLEAR:
            suspected_s = now_s - idle_s
        if verdict and verdict.standing is Standing.MINING:
            capped_s = now_s - idle_s
        now_s += LOOK_S
    assert verdict is not None, f"{entry.name} never worked on a GPU"
    return Outcome(entry, suspected_s, capped_s, verdict)


def miners(corpus: str = TUNED_ON) -> Iterator[Entry]:
    """Every documented launch as it stands."""
    for miner in read(f"{corpus}miners.toml")["miner"]:
        for line in miner["launches"]:
            config = (
                (miner["config_name"], miner["config"]) if "config_with_launch" in miner else None
            )
            yield _miner(miner, shlex.split(line), "default", config)


def variants(corpus: str = TUNED_ON) -> Iterator[Entry]:
    """Renamed, TLS, from a configuration file, pulsed, at half intensity; API port closed."""
    for miner in read(f"{corpus}miners.toml")["miner"]:
        for line in miner["launches"]:
            words = shlex.split(line)
            config = (
                (miner["config_name"], miner["config"]) if "config_with_launch" in miner else None
            )
            yield renamed(_miner(miner, words, "renamed", config))
            yield renamed(_miner(miner, with_tls(words), "renamed, TLS", config))
            for shape in ("pulsed", "half"):
                yield replace(renamed(_miner(miner, words, shape, config)), shape=shape)
        if "config_launch" in miner:
            config = _config(miner)
            words = shlex.split(miner["config_launch"])
            yield _miner(miner, words, "config file", config)
            yield renamed(_miner(miner, words, "renamed, config file", config))


def patient(corpus: str = TUNED_ON) -> Iterator[Entry]:
    """Renamed, and at work so little or so late that it takes an hour to be sure of nothing."""
    for shape in ("one tenth", "a minute in thirty", "late"):
        for entry in miners(corpus):
            yield replace(renamed(entry), variant=shape, shape=shape)


def legitimate(corpus: str = TUNED_ON) -> Iterator[Entry]:
    """Everything that must be left alone."""
    for entry in read(f"{corpus}legitimate.toml")["entry"]:
        path = entry["path"]
        program = Program(path, None, tuple(entry.get("markers", ())), entry.get("trusted", False))
        arguments = tuple(shlex.split(entry["command"], posix="\\" not in entry["command"]))
        is_script = bare_name(path or arguments[0]) in built_in().interpreters
        facts = ProcessFacts(
            PID, 1, bare_name(arguments[0])[:15], program, Program() if is_script else None,
            arguments,
            tuple(_launcher(line) for line in entry.get("launchers", ())),
            tuple(map(_connection, entry.get("connections", ()))),
            tuple(entry.get("listening", ())),
            libraries=frozenset(entry.get("libraries", ())),
            uid=1000,
        )  # fmt: skip
        yield Entry(
            entry["name"], entry["workload"], "legitimate", facts, entry["use"], entry["source"],
            ProcessClass(entry["class"]),
        )  # fmt: skip


def without_miner(name: str) -> Signatures:
    """As if this miner had never been heard of: its names, options, ports and files are unknown."""
    known = built_in()
    program = next(m["program"] for m in read("miners.toml")["miner"] if m["name"] == name)
    names = {bare_name(program)}
    gone = [m for m in known.miners if names & (m.executables | m.common_words)]
    assert gone, f"{name} is not among the signatures"
    return known.without(gone)


def without_pools(known: Signatures) -> Signatures:
    """As if no pool's host were known."""
    nobody: frozenset[str] = frozenset()
    return replace(known, pools=nobody, listed=nobody, doubtful=nobody)


def without_workload(entry: Entry) -> Signatures:
    """As if neither the program nor its libraries nor its folders were known."""
    known = built_in()
    name = entry.facts.program.name or entry.facts.name
    programs = tuple((c, names) for c, names in known.programs if bare_name(name) not in names)
    frameworks = tuple(
        (c, beginnings)
        for c, beginnings in known.frameworks
        if not any(library.startswith(beginnings) for library in entry.facts.libraries)
    )
    nobody = Names(re.compile(r"(?!)"))
    return replace(known, programs=programs, frameworks=frameworks, game_folders=(), session=nobody)


def renamed(entry: Entry) -> Entry:
    """Under a harmless name, without its API's port."""
    facts = entry.facts
    program = replace(facts.program, path="/home/mara/.cache/update")
    return replace(
        entry,
        facts=replace(
            facts, name="update", program=program, listening_ports=(),
            arguments=("./update", *facts.arguments[1:]),
        ),
    )  # fmt: skip


def with_tls(words: Sequence[str]) -> list[str]:
    """The same pools over TLS, on the port of the web."""
    tls = [word.replace("+tcp://", "+ssl://") for word in words]
    for endpoint in endpoints(words):
        tls = [word.replace(f":{endpoint.port}", ":443") for word in tls]
    return tls


def through_private_proxy(entry: Entry) -> Entry:
    """No scheme, no pool's name: a proxy on the local network."""
    words = list(entry.facts.arguments)
    for endpoint in endpoints(words):
        for scheme in ("stratum+tcp://", "stratum+ssl://", "stratum2+tcp://", "ethproxy+tcp://"):
            words = [word.replace(scheme, "") for word in words]
        words = [word.replace(endpoint.host, PRIVATE_PROXY) for word in words]
    connections = tuple(replace(one, host=PRIVATE_PROXY) for one in entry.facts.connections)
    facts = replace(entry.facts, arguments=tuple(words), connections=connections)
    return replace(entry, facts=facts, variant="private proxy")


def _miner(
    miner: Mapping[str, Any], words: list[str], variant: str, config: tuple[str, str] | None
) -> Entry:
    named = endpoints(words[1:]) + endpoints(
        [word.partition("=")[2] for word in words if word.startswith("-")]
    )
    configs = (Config(*config),) if config else ()
    if config:
        named += endpoints_in_text(config[1])
    connections = tuple(map(_connection, miner.get("connected", ()))) or _to_pool(named, words)
    program = miner["program"]
    markers = ("stratum+tcp://", "mining.subscribe") if miner.get("content") else ()
    facts = ProcessFacts(
        PID, 1, program[:15], Program(f"/home/mara/{program}/{program}", None, markers), None,
        tuple(words), tuple(_launcher(miner["launcher"]) for _ in miner.get("launcher", "")[:1]),
        connections, (miner["api_port"],) if "api_port" in miner else (),
        tuple(miner.get("open_files", ())), configs=configs, uid=1000,
    )  # fmt: skip
    name = f"{miner['name']}: {' '.join(words)[:60]}"
    return Entry(name, miner["name"], variant, facts, "ethash", miner["source"])


def _config(miner: Mapping[str, Any]) -> tuple[str, str]:
    return miner["config_name"], miner["config"]


def _to_pool(named: Sequence[Endpoint], words: Sequence[str]) -> tuple[Connection, ...]:
    """The connection that such a launch opens; some give the port as an option of its own."""
    # Where its API listens is named too.
    away = [one for one in named if one.port and one.host not in ("0.0.0.0", "127.0.0.1")]
    ports = [value for flag, value in pairwise(words) if flag.endswith("port")]
    pool = next(iter(away), None if ports else next((one for one in named if one.port), None))
    if pool is not None:
        return (Connection(_address(pool.host), pool.port, is_local=pool.host == "127.0.0.1"),)
    here = "127.0.0.1" in words
    return tuple(
        Connection("127.0.0.1" if here else POOL_ADDRESS, int(port), is_local=here)
        for port in ports[-1:]
    )


def _connection(word: str) -> Connection:
    host, _, port = word.rpartition(":")
    return Connection(host, int(port))


def _address(host: str) -> str:
    return host if host.replace(".", "").isdigit() else POOL_ADDRESS


def _launcher(line: str) -> Relative:
    words = tuple(shlex.split(line))
    return Relative(words[0], words)

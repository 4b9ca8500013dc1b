"""What a miner may try, and what comes of it; where the answer is an alert alone, or nothing, it
is so by design and written down here.

The list is that of the research: rename, configuration, TLS, private proxy, split over processes,
pulses, little or late work, a window, borrowed names and libraries, a claim to be ours, respawn, a
container, a hidden process.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gpupanel.detection import network
from gpupanel.detection.detector import Detector
from gpupanel.detection.own import OwnLoads
from gpupanel.detection.reading.facts import Connection, ProcessFacts, Program, Relative, Use
from gpupanel.detection.signatures import built_in
from gpupanel.model.verdict import Standing
from tests.detection.harness import (
    Entry,
    FakeReader,
    miners,
    play,
    renamed,
    samples,
    through_private_proxy,
    with_tls,
)

T_REX = next(entry for entry in miners() if "kawpow" in entry.name)
POOL = Connection("203.0.113.77", 6060)


def play_facts(facts: ProcessFacts, shape: str = "ethash") -> Standing:
    outcome = play(replace(T_REX, facts=facts, shape=shape), 300)
    return outcome.verdict.standing


def renamed_facts() -> ProcessFacts:
    return renamed(T_REX).facts


@pytest.mark.parametrize(
    ("rate", "standing"),
    [
        (None, Standing.SUSPECTED),
        (120.0, Standing.SUSPECTED),
        (2.0, Standing.SUSPECTED),
        (90_000.0, Standing.SUSPECTED),
    ],
)
def test_the_rate_of_a_connection_alone_decides_nothing(
    rate: float | None, standing: Standing
) -> None:
    """A private proxy stays an alert, however its traffic looks."""
    facts = through_private_proxy(renamed(T_REX)).facts
    held = tuple(replace(one, bytes_per_s=rate) for one in facts.connections)
    assert play_facts(replace(facts, connections=held)) is standing


def test_a_rate_makes_a_connection_more_or_less_of_a_miners() -> None:
    known = built_in()
    uses = [Use(float(at_s), 99.0) for at_s in range(0, 120, 3)]
    weights = {}
    for rate in (None, 120.0, 2.0, 90_000.0):
        held = Connection("198.51.100.7", 5222, 90.0, bytes_per_s=rate)
        facts = ProcessFacts(1, 1, connections=(held,))
        lines = network.evidence_of_connections(facts, uses, network.Pools(), known)
        weights[rate] = sum(line.weight_nats for line in lines)
    assert weights == {None: 1.0, 120.0: 1.3, 2.0: 0.0, 90_000.0: 0.0}
    many = tuple(Connection(f"198.51.100.{host}", 5222, 90.0) for host in range(5))
    crowd = ProcessFacts(1, 1, connections=many)  # a browser, a peer-to-peer program
    assert not list(network.evidence_of_connections(crowd, uses, network.Pools(), known))
    # With the port of a pool too, the two are no witness.
    assert weights[120.0] + known.weights["pool_port"] < 2


def test_another_name_changes_nothing() -> None:
    assert play_facts(renamed_facts()) is Standing.MINING


def test_a_known_name_is_worth_nothing_where_anybody_could_give_it() -> None:
    facts = replace(renamed_facts(), name="blender", program=Program("/home/mara/blender"))
    assert play_facts(facts) is Standing.MINING


def test_a_systems_name_outside_of_the_system_protects_nobody() -> None:
    facts = replace(renamed_facts(), name="gnome-shell", program=Program("/tmp/gnome-shell"))
    assert play_facts(facts) is Standing.MINING


LOOK_ALIKES = (
    "gnome\N{HYPHEN}shell", "gnome-\u200bshell", "gn\N{CYRILLIC SMALL LETTER O}me-shell",
    "\u202elleehs-emong", "\uff47nome-shell", "Gnome-Shell", " gnome-shell", "explorer.exe",
    "gpupaneld", "[kworker/0:1]", "\x1b[2Kgnome-shell",
)  # fmt: skip
"""Homoglyphs, letters of no width, text from right to left, names of the system."""


@pytest.mark.parametrize("name", LOOK_ALIKES, ids=ascii)
def test_a_name_that_looks_like_a_systems_protects_nobody(name: str) -> None:
    facts = replace(renamed_facts(), name=name, program=Program(f"/home/mara/{name}"))
    assert play_facts(facts) is Standing.MINING


def test_what_root_installed_as_the_session_is_never_held() -> None:
    program = Program("/usr/bin/gnome-shell", is_trusted=True)
    outcome = play(replace(T_REX, facts=replace(T_REX.facts, program=program)), 60)
    assert outcome.verdict.standing is Standing.SUSPECTED
    assert outcome.verdict.posterior > 0.999
    assert "session" in outcome.verdict.protected


def test_a_window_beside_the_mining_does_not_help() -> None:
    facts = replace(renamed_facts(), libraries=frozenset({"libX11.so.6", "UnityPlayer.so"}))
    assert play_facts(facts, "game with a frame limit") is Standing.MINING


def test_borrowed_libraries_do_not_help() -> None:
    facts = replace(renamed_facts(), libraries=frozenset({"libtorch_cuda.so", "libcudnn.so.9"}))
    assert play_facts(facts) is Standing.MINING


def test_tls_on_the_webs_port_does_not_help() -> None:
    words = tuple(with_tls(T_REX.facts.arguments))
    facts = replace(
        renamed_facts(), arguments=words, connections=(Connection("203.0.113.77", 443),)
    )
    assert play_facts(facts) is Standing.MINING


def test_a_launcher_that_was_told_everything_speaks_for_its_child() -> None:
    launcher = Relative("start", T_REX.facts.arguments)
    facts = replace(renamed_facts(), arguments=("./update",), launchers=(launcher,))
    assert play_facts(facts) is Standing.MINING


def test_a_nameless_proxy_on_the_local_network_alerts_alone_by_design() -> None:
    assert play_facts(through_private_proxy(renamed(T_REX)).facts) is Standing.SUSPECTED


def test_a_proxy_on_this_host_alerts_alone_by_design() -> None:
    wallet = "RBX1G6nYDMHVtyaZiQWySMZw1Bb2DEDpT8"
    words = ("./update", "-a", "kawpow", "-o", "127.0.0.1:3333", "-u", wallet)
    local = Connection("127.0.0.1", 3333, is_local=True)
    facts = replace(renamed_facts(), arguments=words, connections=(local,))
    assert play_facts(facts) is Standing.SUSPECTED


def test_a_proxy_is_no_help_to_a_file_that_holds_the_protocol() -> None:
    facts = through_private_proxy(renamed(T_REX)).facts
    program = replace(facts.program, markers=("stratum+tcp://", "mining.subscribe"))
    assert play_facts(replace(facts, program=program)) is Standing.MINING


def test_a_script_of_ones_own_that_talks_tls_to_a_private_proxy_is_not_found_by_design() -> None:
    """It looks as training does: telemetry may not convict."""
    python = Program("/usr/bin/python3", is_trusted=True)
    facts = ProcessFacts(
        4711, 1, "python3", python, Program("w.py", "ab" * 32), ("python3", "w.py"),
        connections=(Connection("10.0.0.5", 443),),
    )  # fmt: skip
    assert play_facts(facts) is Standing.CLEAR


def test_a_parent_that_talks_to_the_pool_while_its_child_computes_is_found() -> None:
    """The child says nothing and holds nothing; its parent has the words and the connection."""
    parent = Relative("start", T_REX.facts.arguments, (POOL,))
    facts = replace(renamed_facts(), arguments=("./update",), connections=(), launchers=(parent,))
    assert play_facts(facts) is Standing.MINING


def test_a_child_that_talks_to_the_pool_for_its_parent_is_found() -> None:
    child = Relative("net", ("net", *T_REX.facts.arguments[1:]), (POOL,))
    facts = replace(renamed_facts(), arguments=("./update",), connections=(), children=(child,))
    assert play_facts(facts) is Standing.MINING


def test_words_with_one_and_the_connection_with_the_other_are_put_together() -> None:
    facts = replace(renamed_facts(), connections=(), children=(Relative("net", ("net",), (POOL,)),))
    assert play_facts(facts) is Standing.MINING


def test_a_proxy_of_ones_own_as_a_child_is_found_by_the_pool_that_it_is_told() -> None:
    """The miner knows the proxy on this host alone; the proxy is its child."""
    words = ("./update", "-a", "kawpow", "-o", "127.0.0.1:3333", "-u", "x")
    proxy = Relative("proxy", ("proxy", "-o", "stratum+tcp://rvn.2miners.com:6060"), (POOL,))
    local = Connection("127.0.0.1", 3333, is_local=True)
    facts = replace(renamed_facts(), arguments=words, connections=(local,), children=(proxy,))
    assert play_facts(facts) is Standing.MINING


def test_who_only_draws_is_not_blamed_for_what_was_started_from_it() -> None:
    """A file browser or a launcher: what it starts is judged by itself, where it uses a GPU."""
    child = Relative("net", T_REX.facts.arguments, (POOL,))
    browser = replace(
        renamed_facts(), arguments=("files",), connections=(), children=(child,),
        libraries=frozenset({"libwayland-client.so.0"}),
    )  # fmt: skip
    for shape in ("desktop", "game", "seldom"):
        assert play_facts(browser, shape) is Standing.CLEAR
        assert play_facts(replace(browser, libraries=frozenset()), "seldom") is Standing.CLEAR
    assert play_facts(browser) is Standing.MINING  # a window that shows nothing excuses nobody


def test_network_work_in_a_sibling_process_is_not_found_by_design() -> None:
    """Siblings of a notebook's kernel are not its own: their evidence never counts for it."""
    facts = replace(renamed_facts(), arguments=("./update",), connections=())
    assert play_facts(facts) is Standing.CLEAR


def test_a_container_changes_nothing_where_its_processes_can_be_read() -> None:
    """The image's init is its parent; its root, network and files are read as it sees them."""
    facts = replace(renamed_facts(), program=Program("/app/update"), launchers=())
    assert play_facts(facts) is Standing.MINING


def test_another_accounts_miner_that_cannot_be_read_is_told_by_its_words_alone() -> None:
    """Without the service: no connection, no file; the name of its program stays hidden."""
    facts = replace(renamed_facts(), program=Program(), connections=())
    assert play_facts(facts) is Standing.SUSPECTED


def test_a_decoy_connection_hides_no_pool() -> None:
    decoys = tuple(Connection(f"198.51.100.{host}", 443) for host in range(20))
    facts = replace(renamed_facts(), connections=(*decoys, POOL))
    assert play_facts(facts) is Standing.MINING


def test_options_of_other_names_hide_nothing() -> None:
    wallet = "RBX1G6nYDMHVtyaZiQWySMZw1Bb2DEDpT8"
    words = ("./update", "--x1", "kawpow", "--x2", "203.0.113.77:6060", "--x3", wallet)
    assert play_facts(replace(renamed_facts(), arguments=words)) is Standing.MINING
    private = tuple(word.replace("203.0.113.77", "10.0.0.5") for word in words)
    held = (Connection("10.0.0.5", 6060),)
    facts = replace(renamed_facts(), arguments=private, connections=held)
    assert play_facts(facts) is Standing.SUSPECTED


def test_arguments_alone_never_hold_whatever_they_say() -> None:
    """No connection, no file: a benchmark, or a text about mining."""
    facts = replace(T_REX.facts, connections=(), listening_ports=())
    assert play_facts(facts) is Standing.SUSPECTED


def test_arguments_that_were_wiped_after_the_start_leave_name_table_and_port() -> None:
    table = ("/tmp/kawpow-205.dag",)
    facts = replace(T_REX.facts, arguments=("x",), open_files=table, connections=(POOL,))
    assert play_facts(facts) is Standing.SUSPECTED
    assert play_facts(replace(facts, name="x", program=Program("/tmp/x"))) is Standing.CLEAR
    holds = Program("/tmp/x", markers=("stratum+tcp://", "mining.subscribe"))
    assert play_facts(replace(facts, name="x", program=holds)) is Standing.SUSPECTED


class Stage:
    """A detector and what it sees, look by look."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.reader = FakeReader(entry.facts)
        self.detector = Detector(
            self.reader, built_in(), OwnLoads(1, self.reader.parent, self.reader.environment)
        )
        self.dice = random.Random(7)

    def look(self, now_s: float) -> Standing:
        self.reader.facts = self.entry.facts
        seen = self.detector.look(samples(self.entry, now_s, self.dice), {}, now_s, now_s)
        return seen[self.entry.facts.pid, self.entry.facts.started].standing


def test_root_s_program_with_a_users_code_in_it_is_the_users() -> None:
    """LD_PRELOAD, say: neither protected nor allowed by its path."""
    program = Program("/usr/bin/gnome-shell", is_trusted=True)
    stage = Stage(replace(T_REX, facts=replace(T_REX.facts, program=program)))
    key = T_REX.facts.pid, T_REX.facts.started
    for runs_foreign_code, standing in ((False, Standing.SUSPECTED), (True, Standing.MINING)):
        stage.reader.runs_foreign_code = runs_foreign_code
        assert [stage.look(now_s) for now_s in (3, 6)] == [standing] * 2
        facts = stage.detector.facts(key)
        assert facts is not None
        assert facts.program.is_trusted is not runs_foreign_code


def test_a_respawn_under_another_name_keeps_its_verdict() -> None:
    program = replace(T_REX.facts.program, sha256="ab" * 32)
    stage = Stage(replace(T_REX, facts=replace(T_REX.facts, program=program)))
    assert stage.look(3) is Standing.MINING
    bare = replace(
        T_REX.facts, pid=5000, started=9, name="x", program=replace(program, path="/tmp/x"),
        arguments=("x",), connections=(),
    )  # fmt: skip
    stage.entry = replace(T_REX, facts=bare)
    assert stage.look(6) is Standing.MINING
    stage.entry = replace(
        T_REX, facts=replace(bare, pid=5001, program=Program("/tmp/x", "cd" * 32))
    )
    assert stage.look(9) is Standing.CLEAR


def test_an_interpreter_lends_its_verdict_to_no_other_script() -> None:
    python = Program("/usr/bin/python3", "ab" * 32, is_trusted=True)
    guilty = replace(T_REX.facts, program=python, script=Program("miner.py"))
    stage = Stage(replace(T_REX, facts=guilty))
    assert stage.look(3) is Standing.MINING
    innocent = replace(guilty, pid=5000, script=Program(), arguments=("python3",), name="python3")
    stage.entry = replace(T_REX, facts=replace(innocent, connections=(), listening_ports=()))
    assert stage.look(6) is Standing.CLEAR


def test_a_pid_that_is_used_again_starts_anew() -> None:
    stage = Stage(T_REX)
    assert stage.look(3) is Standing.MINING
    innocent = ProcessFacts(T_REX.facts.pid, 2, "blender", Program("/usr/bin/blender"))
    stage.entry = replace(T_REX, facts=innocent)
    assert stage.look(6) is Standing.CLEAR


def test_whoever_hides_while_watched_is_remembered_for_a_while() -> None:
    stage = Stage(T_REX)
    assert stage.look(3) is Standing.MINING
    quiet = replace(T_REX.facts, arguments=("x",), connections=(), listening_ports=(), name="x")
    stage.entry = replace(T_REX, facts=replace(quiet, program=Program("/tmp/x")))
    assert stage.look(200) is Standing.MINING
    assert stage.look(2400) is Standing.CLEAR


@pytest.mark.parametrize(
    "arguments", [("gpupanel", "worker"), ("python", "-m", "gpupanel", "worker")]
)
def test_a_claim_to_be_ours_is_no_evidence(arguments: tuple[str, ...]) -> None:
    facts = replace(T_REX.facts, arguments=(*arguments, *T_REX.facts.arguments[1:]))
    assert play_facts(facts) is Standing.MINING

"""What a miner may try, and what comes of it; where the answer is an alert alone, or nothing, it
is so by design and written down here.

The list is that of the research: rename, configuration, TLS, private proxy, split over processes,
pulses, a window, borrowed names and libraries, a claim to be ours, respawn, a hidden process.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gpupanel.detection.detector import Detector
from gpupanel.detection.own import OwnLoads
from gpupanel.detection.reading.facts import Connection, ProcessFacts, Program, Relative
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


def test_another_name_changes_nothing() -> None:
    assert play_facts(renamed_facts()) is Standing.MINING


def test_a_known_name_is_worth_nothing_where_anybody_could_give_it() -> None:
    facts = replace(renamed_facts(), name="blender", program=Program("/home/mara/blender"))
    assert play_facts(facts) is Standing.MINING


def test_a_systems_name_outside_of_the_system_protects_nobody() -> None:
    facts = replace(renamed_facts(), name="gnome-shell", program=Program("/tmp/gnome-shell"))
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


def test_network_work_in_a_sibling_process_is_not_found_by_design() -> None:
    """Siblings of a notebook's kernel are not its own: their evidence never counts for it."""
    facts = replace(renamed_facts(), arguments=("./update",), connections=())
    assert play_facts(facts) is Standing.CLEAR


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

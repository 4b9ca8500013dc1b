"""Everything that is parsed here was written by somebody who may wish us ill."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.detection import benign
from gpupanel.detection.arguments import Endpoint, endpoints, endpoints_in_text, options, values_of
from gpupanel.detection.grammar import Spoken, spoken
from gpupanel.detection.reading import tables
from gpupanel.detection.reading.facts import Config, Connection, ProcessFacts, Program
from gpupanel.detection.signatures import built_in
from gpupanel.detection.told import all_evidence

WORDS = st.lists(st.text(max_size=60), max_size=12)


def row(local: str, remote: str, state: str, inode: int) -> bytes:
    """As ``net/ipv4/tcp_ipv4.c:get_tcp4_sock`` prints one."""
    middle = "00000000:00000000 00:00000000 00000000  1000        0"
    return f"   0: {local} {remote} {state} {middle} {inode} 1 0 20 4 30 10 -1\n".encode()


TCP = (
    b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    + b"".join(
        (
            row("0100007F:0FE3", "00000000:0000", "0A", 11111),
            row("0501A8C0:C350", "4D7100CB:115C", "01", 22222),
            row("0501A8C0:C351", "4D7100CB:115D", "06", 0),
        )
    )
)
MAPPED = "0000000000000000FFFF0000"
DOCUMENTED = "B80D01200000000000000000"
TCP6 = row(f"{MAPPED}0501A8C0:C350", f"{MAPPED}4D7100CB:01BB", "01", 33333) + row(
    f"{DOCUMENTED}01000000:C350", f"{DOCUMENTED}02000000:0D05", "01", 44444
)


def test_the_kernels_tables_of_connections() -> None:
    listening, away = tables.sockets(TCP)
    assert (listening.inode, listening.local_port, listening.is_listening) == (11111, 4067, True)
    assert (away.host, away.port, away.is_local) == ("203.0.113.77", 4444, False)
    mapped, own = tables.sockets(TCP6)
    assert (mapped.host, mapped.port) == ("203.0.113.77", 443)
    assert own.host == "2001:db8::2"


@given(st.binary(max_size=400))
def test_no_bytes_break_a_table(table: bytes) -> None:
    for text in (table, TCP + table, TCP.replace(b"01", table[:2] or b"01")):
        assert all(0 <= one.port < 65536 for one in tables.sockets(text))
    assert all(isinstance(name, str) for name in tables.mapped_names(table))
    assert isinstance(tables.words(table), tuple)


@given(st.text(max_size=60))
def test_no_link_breaks_the_search_for_sockets(link: str) -> None:
    inode = tables.socket_inode(f"socket:[{link}]")
    assert inode is None or str(inode) == link.lstrip("0") or inode == 0


def test_what_is_mapped_to_be_executed() -> None:
    maps = (
        b"55d0c0 -55d0c1 r-xp broken\n"
        b"7f01c0000000-7f01c0001000 r-xp 00000000 08:01 12 /usr/lib/libtorch_cuda.so\n"
        b"7f01c0001000-7f01c0002000 r--p 00001000 08:01 12 /usr/lib/data.bin\n"
        b"7f01c0002000-7f01c0003000 r-xp 00000000 08:01 13 /opt/a b/libX11.so.6 (deleted)\n"
    )
    assert tables.mapped_names(maps) == {"libtorch_cuda.so", "libX11.so.6"}


@pytest.mark.parametrize(
    ("line", "flag", "values"),
    [
        ("m -a ethash", "-a", ("ethash",)),
        ("m --algo=ethash --x", "--algo", ("ethash",)),
        ("m -p one two -q", "-p", ("one", "two")),
        ("m --off -4 -a x", "--off", ("-4",)),
        ("m conf.ini -a x", "", ("conf.ini",)),
    ],
)
def test_options_and_their_values(line: str, flag: str, values: tuple[str, ...]) -> None:
    assert values_of(options(line.split()), {flag}) == values


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("stratum+tcp://eu1.a.org:4444", Endpoint("stratum+tcp", "eu1.a.org", 4444)),
        ("stratum1+ssl://0x.rig:p@a.org:55/x", Endpoint("stratum1+ssl", "a.org", 55, "0x.rig:p")),
        ("[1]stratum+ssl://a.org:1", Endpoint("stratum+ssl", "a.org", 1)),
        ("a.org:3333", Endpoint("", "a.org", 3333)),
        ("0xab.rig@a.org:3333", Endpoint("", "a.org", 3333, "0xab.rig")),
        ("stratum+tcp://[2001:db8::2]:3333", Endpoint("stratum+tcp", "2001:db8::2", 3333)),
        ("ssl://a.org:99999", Endpoint("ssl", "a.org", 0)),
    ],
)  # fmt: skip
def test_hosts_that_a_word_names(word: str, expected: Endpoint) -> None:
    assert endpoints([word]) == (expected,)


def test_hosts_that_a_file_names() -> None:
    text = (
        'url = a.org:1\n{"pools": ["b.org:2"], "x": "stratum+tcp://c.org:3"}\nhost=d.org\nport=4\n'
    )
    assert {(one.host, one.port) for one in endpoints_in_text(text)} >= {
        ("a.org", 1), ("b.org", 2), ("c.org", 3), ("d.org", 4),
    }  # fmt: skip


def said(line: str) -> Spoken:
    return spoken(ProcessFacts(1, 1, arguments=tuple(line.split())), built_in())


@pytest.mark.parametrize(
    ("line", "pools"),
    [
        ("m --server a.org --port 1", {("a.org", 1)}),
        ("m --host a.org --port 1 --z-host b.org --z-port 2", {("a.org", 1)}),
        ("m --pool a.org --port 1 --z-pool b.org --z-port 2", {("a.org", 1), ("b.org", 2)}),
        ("m --hostname a.org --ssl-port 3", {("a.org", 3)}),
        ("m -stratum-url a.org -stratum-port 4", {("a.org", 4)}),
        ("m --server a.org --port x", set()),
        ("m --server 1 --port 2", set()),
        ("m --url rtsp://a.org:8554/x", set()),
        ("m --url postgres://u:p@a.org:5432", set()),
        ("m -o a.org:5", {("a.org", 5)}),
        ("m --x a.org:5", set()),
        ("m --pool2 tcp://a.org:6", {("a.org", 6)}),
    ],
)  # fmt: skip
def test_where_a_command_line_says_to_work_for(line: str, pools: set[tuple[str, int]]) -> None:
    assert {(one.host, one.port) for one in said(line).pools} == pools


@pytest.mark.parametrize(
    ("line", "algorithm", "kind"),
    [
        ("m -a kawpow", "kawpow", "algorithm"),
        ("m --algo=192,7", "192,7", "algorithm"),
        ("m -a etchash+zil", "etchash", "algorithm"),
        ("m --coin eth", "eth", "coin"),
        ("m -a pearlhash", "pearlhash", "like_an_algorithm"),
        ("m -a imagehash", "", ""),
        ("m -a adamw", "", ""),
        ("m --x kawpow", "kawpow", "algorithm"),
        ("m --x eth", "", ""),
        ("m -uri ethash://u@a.org:1", "ethash", "algorithm"),
    ],
)
def test_what_a_command_line_says_to_work_on(line: str, algorithm: str, kind: str) -> None:
    found = said(line)
    assert (found.algorithm, found.algorithm_kind) == (algorithm, kind)


@pytest.mark.parametrize(
    ("scheme", "is_pools"),
    [
        ("stratum+tcp", True), ("zstratum+tls", True), ("ethash", True), ("cuckatoo32", True),
        ("https", False), ("rtsp", False), ("eth", False), ("enode", False), ("s3", False),
    ],
)  # fmt: skip
def test_what_a_pools_url_begins_with(scheme: str, is_pools: bool) -> None:
    assert built_in().is_pool_scheme(scheme) is is_pools


@given(WORDS, st.text(max_size=300), st.binary(max_size=200))
def test_no_command_line_and_no_file_breaks_a_family(
    words: list[str], text: str, raw: bytes
) -> None:
    facts = ProcessFacts(
        1, 1, "".join(words[:1]), Program("".join(words)), arguments=tuple(words),
        configs=(Config("config.json", text), Config("b", raw.decode("utf-8", "replace"))),
        open_files=tuple(words), libraries=frozenset(words),
    )  # fmt: skip
    for line in all_evidence(facts, (), built_in()):
        assert line.text
        assert abs(line.weight_nats) <= 8


@given(
    st.sampled_from(["stratum+tcp://", "-o", "a.org:1", '"url":', "host=", "0x"]),
    st.integers(1, 4000),
)
def test_long_repetitions_are_read_in_time(part: str, times: int) -> None:
    """A pattern that backtracks would hang here."""
    text = part * times
    endpoints_in_text(text)
    facts = ProcessFacts(1, 1, arguments=("x", text), configs=(Config("config.txt", text),))
    found = all_evidence(facts, (), built_in())
    assert all(len(line.text) < 400 for line in found)  # nor does it repeat what it read


def test_evidence_holds_no_wallet_and_no_password() -> None:
    wallet = "RBX1G6nYDMHVtyaZiQWySMZw1Bb2DEDpT8"
    words = (
        "t-rex",
        "-a",
        "kawpow",
        "-o",
        f"stratum+tcp://{wallet}:secret@rvn.2miners.com:6060",
        "-u",
        wallet,
    )
    facts = ProcessFacts(
        1, 1, "t-rex", arguments=words, configs=(Config("c.json", f"wallet = {wallet}"),)
    )
    told = " ".join(line.text for line in all_evidence(facts, (), built_in()))
    assert told
    assert wallet not in told
    assert "secret" not in told


def test_an_administrator_adds_a_miner_and_a_pool_without_code() -> None:
    facts = ProcessFacts(1, 1, "newminer", arguments=("newminer", "-o", "x.pool.example.org:77"))
    known = built_in()
    assert {line.kind for line in all_evidence(facts, (), known)} == {"label"}
    added = known.with_policy(["NewMiner"], ["pool.example.org"])
    assert {line.kind for line in all_evidence(facts, (), added)} == {"name", "pool", "label"}
    elsewhere = replace(facts, arguments=("newminer", "-o", "notpool.example.org:77"))
    assert "pool" not in {line.kind for line in all_evidence(elsewhere, (), added)}


def test_a_connection_to_another_port_is_not_the_pool_that_was_named() -> None:
    words = ("x", "-o", "stratum+tcp://a.org:4444")
    named = ProcessFacts(1, 1, arguments=words, connections=(Connection("203.0.113.7", 4444),))
    other = replace(named, connections=(Connection("203.0.113.7", 4443),))
    near = replace(named, connections=(Connection("127.0.0.1", 4444, is_local=True),))
    told = [
        "named pool" in {line.kind for line in all_evidence(facts, (), built_in())}
        for facts in (named, other, near)
    ]
    assert told == [True, False, False]


def test_an_interpreter_that_root_installed_vouches_for_no_script() -> None:
    julia = Program("/usr/bin/julia", is_trusted=True)
    compiled = ProcessFacts(1, 1, "julia", julia)
    script = replace(compiled, script=Program("/home/mara/x.jl"))
    weights = [
        [line.weight_nats for line in benign.evidence(facts, built_in())]
        for facts in (compiled, script)
    ]
    assert weights == [[-6.0], [-1.5]]

"""What the names and numbers of Windows' GPU counters mean."""

from __future__ import annotations

import struct
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.windows import pdh
from gpupanel.backends.windows.pdh import Counter, EngineClock, Instance, Item
from gpupanel.backends.windows.wddm_look import Look, kind_of
from gpupanel.model.gpu import ProcessKind, Unavailable
from tests.backends.fake_windows import LAPTOP_INTEL, LAPTOP_NVIDIA, Arrays, looks, utf16

DESKTOP = 0x163A4


def last_look(recording: str) -> Look:
    clock = EngineClock()
    last = None
    for at_s, arrays in looks(recording):
        last = Look.of({key: tuple(items) for key, items in arrays.items()}, at_s, clock)
    assert last is not None
    return last


@pytest.mark.parametrize(
    ("name", "instance"),
    [
        # github.com/oshi/oshi pull request 2114
        (
            "pid_10472_luid_0x00000000_0x0000f814_phys_0_eng_0_engtype_3d",
            Instance(10472, 0xF814, 0, 0, "3d"),
        ),
        (
            "pid_1234_luid_0x00000000_0x0000D2A5_phys_0_eng_3_engtype_3D",
            Instance(1234, 0xD2A5, 0, 3, "3D"),
        ),
        (
            "pid_6500_luid_0x00000001_0x030c6551_phys_1_eng_12_engtype_Video Codec 0",
            Instance(6500, 0x1_030C6551, 1, 12, "Video Codec 0"),
        ),
        ("luid_0x00000000_0x0000C4B7_phys_0", Instance(None, 0xC4B7, 0, None, "")),
        ("pid_4_luid_0x00000000_0x0000C4B7_phys_0", Instance(4, 0xC4B7, 0, None, "")),
        (
            "pid_4_luid_0x00000000_0x0000C4B7_phys_0_eng_9_engtype_",
            Instance(4, 0xC4B7, 0, 9, ""),
        ),
        (
            "pid_4_luid_0x00000000_0x0000C4B7_phys_0_eng_9_engtype_Compute_0#1",
            Instance(4, 0xC4B7, 0, 9, "Compute_0"),
        ),
        ("_Total", None),
        ("", None),
        ("pid_4_luid_0x00000000_0x0000C4B7", None),
        ("pid_٤_luid_0x00000000_0x0000C4B7_phys_0", None),
        ("pid_4_luid_0x123456789_0x0_phys_0", None),
        ("x pid_4_luid_0x00000000_0x0000C4B7_phys_0", None),
    ],
)
def test_names(name: str, instance: Instance | None) -> None:
    assert pdh.parsed(name) == instance


@given(st.text() | st.from_regex(pdh._NAME))
def test_any_name_is_an_instance_or_none(name: str) -> None:
    found = pdh.parsed(name)
    if found is not None:
        assert 0 <= found.luid < 1 << 64
        assert found.pid is None or 0 <= found.pid < 10**10


@given(st.binary(max_size=300), st.integers(), st.integers(-(2**40), 2**40))
def test_any_buffer_gives_items(buffer: bytes, address: int, count: int) -> None:
    found = pdh.items_of(buffer, address, count)
    assert len(found) <= len(buffer) // 24
    pdh.values_of(found)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_texts_of_any_letters_are_found(names: list[str]) -> None:
    head, packed, texts = 24 * len(names), b"", b""
    for name in names:
        packed += struct.pack("<QIIq", 0x7000 + head + len(texts), 0, 0, 1)
        texts += utf16(name)
    assert [item.name for item in pdh.items_of(packed + texts, 0x7000, len(names))] == names


def test_items_of_a_buffer_as_windows_lays_it_out() -> None:
    names = ["pid_1_luid_0x0_0xA_phys_0_eng_0_engtype_3D", "grün"]
    texts = [utf16(name) for name in names]
    at = 0x7FF0_0000_0000
    buffer = struct.pack("<QIIq", at + 48, 0, 0, 77)
    buffer += struct.pack("<QIIq", at + 48 + len(texts[0]), 0xC0000BBA, 1, -1)
    buffer += b"".join(texts)
    assert pdh.items_of(buffer, at, 2) == [Item(names[0], 0, 77), Item("grün", 0xC0000BBA, -1)]


def test_the_laptop_by_hand() -> None:
    look = last_look("laptop.txt")
    intel, nvidia = look.readings(LAPTOP_INTEL), look.readings(LAPTOP_NVIDIA)
    # 10^7 units are a second. 3D: 50 + 150 + 300 ms of three processes; VideoDecode: 400 ms.
    assert intel["utilization_gpu_percent"] == pytest.approx(50)
    assert intel["utilization_decoder_percent"] == pytest.approx(40)
    assert isinstance(intel["utilization_encoder_percent"], Unavailable)
    # 3D 600 ms, Cuda 750 ms; the process that came and the pid given anew are not counted yet.
    assert nvidia["utilization_gpu_percent"] == pytest.approx(75)
    assert nvidia["utilization_encoder_percent"] == pytest.approx(10)
    assert nvidia["memory_used_bytes"] == 8_804_600_000
    assert nvidia["memory_shared_used_bytes"] == 162_000_000
    assert intel["memory_used_bytes"] == 0


def test_the_laptops_processes() -> None:
    look = last_look("laptop.txt")
    (miner,) = [use for use in look.uses(LAPTOP_NVIDIA) if use.pid == 7788]
    assert miner.engines == pytest.approx({"3D": 60, "Cuda": 75, "VideoEncode": 10})
    assert miner.utilization_percent == pytest.approx(75)
    assert miner.kind is ProcessKind.BOTH
    assert miner.dedicated_bytes == 333_795_328
    # It has the second card open and does nothing with it.
    assert [use.pid for use in look.uses(LAPTOP_NVIDIA)] == [7788]
    assert [use.pid for use in look.uses(LAPTOP_INTEL)] == [4, 1404, 10472]
    browser = list(look.uses(LAPTOP_INTEL))[-1]
    assert browser.engines == pytest.approx({"3D": 30, "VideoDecode": 40, "Copy": 1})
    assert browser.kind is ProcessKind.GRAPHICS


def test_the_desktop_with_lower_case_names_and_spaces() -> None:
    look = last_look("desktop.txt")
    readings = look.readings(DESKTOP)
    assert readings["utilization_gpu_percent"] == pytest.approx(90)
    assert readings["utilization_decoder_percent"] == pytest.approx(3)
    # One engine of AMD codes both ways: which, it does not say.
    assert isinstance(readings["utilization_encoder_percent"], Unavailable)
    game = list(look.uses(DESKTOP))[-1]
    assert game.engines["compute 1"] == pytest.approx(90)
    assert game.engines["engine 11"] == pytest.approx(1)
    assert readings["memory_used_bytes"] == 7 << 30


def test_the_first_look_and_one_too_soon_say_that_they_measure() -> None:
    clock = EngineClock()
    one = {Instance(1, 1, 0, 0, "3D"): 100}
    assert clock.percent(one, 5.0) == Unavailable("measuring")
    assert clock.percent({Instance(1, 1, 0, 0, "3D"): 50_000}, 5.001) == Unavailable("measuring")
    assert clock.percent({Instance(1, 1, 0, 0, "3D"): 5_000_100}, 6.0) == pytest.approx(
        {Instance(1, 1, 0, 0, "3D"): 50}
    )


def test_what_came_and_what_fell_back_is_left_out_once() -> None:
    stays, again, came = (Instance(pid, 1, 0, 0, "3D") for pid in (1, 2, 3))
    clock = EngineClock()
    clock.percent({stays: 10, again: 70_000_000}, 0.0)
    assert clock.percent({stays: 10, again: 5, came: 9_000_000}, 1.0) == {stays: 0}
    assert clock.percent({stays: 10, again: 1_000_005, came: 11_000_000}, 2.0) == pytest.approx(
        {stays: 0, again: 10, came: 20}
    )


def test_items_that_mean_nothing_are_left_out() -> None:
    name = "pid_{}_luid_0x0_0x1_phys_0"
    items = [
        Item(name.format(1), 0, 5),
        Item(name.format(2), 1, 6),
        Item(name.format(3), 0, -1),
        Item(name.format(4), 0xC0000BBA, 7),
        Item(name.format(5), 0x800007D8, 7),
        Item("_Total", 0, 9),
    ]
    assert {one.pid: value for one, value in pdh.values_of(items).items()} == {1: 5, 2: 6}


def test_an_adapter_whose_processes_are_all_new_is_measured_not_idle() -> None:
    (_, arrays), *_ = looks("laptop.txt")
    clock = EngineClock()
    none: Arrays = {counter: [] for counter in Counter}
    Look.of({key: tuple(items) for key, items in none.items()}, 0.0, clock)
    look = Look.of({key: tuple(items) for key, items in arrays.items()}, 1.0, clock)
    assert look.readings(LAPTOP_NVIDIA)["utilization_gpu_percent"] == Unavailable("measuring")
    # Nobody has an engine of this one: that is idle.
    assert look.readings(0x77)["utilization_gpu_percent"] == 0


@pytest.mark.parametrize(
    ("percent", "reading"),
    [(0.0, 0.0), (99.9, 99.9), (104.0, 100.0), (5e9, None), (-1.0, None), (float("nan"), None)],
)
def test_a_share_is_at_most_all_and_nonsense_is_said(percent: float, reading: float | None) -> None:
    bounded = pdh.bounded_percent(percent)
    if reading is None:
        assert isinstance(bounded, Unavailable)
        assert bounded.reason.startswith("implausible")
    else:
        assert bounded == reading


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("VideoDecode", "videodecode"),
        ("Video Decode 1", "videodecode"),
        ("videodecode_0", "videodecode"),
        ("Compute_0", "compute"),
        ("3D", "3d"),
        ("GDI Render", "gdirender"),
        ("", ""),
    ],
)
def test_engine_types_however_they_are_written(written: str, plain: str) -> None:
    assert pdh.plain_kind(written) == plain


@pytest.mark.parametrize(
    ("engines", "kind"),
    [
        ({}, ProcessKind.UNKNOWN),
        ({"Cuda": 1}, ProcessKind.COMPUTE),
        ({"compute 1": 1}, ProcessKind.COMPUTE),
        ({"3D": 1, "Copy": 1}, ProcessKind.GRAPHICS),
        ({"3D": 1, "Compute_0": 1}, ProcessKind.BOTH),
    ],
)
def test_kinds_of_processes(engines: dict[str, float], kind: ProcessKind) -> None:
    assert kind_of(engines) is kind


def test_every_code_has_words_and_an_unknown_one_its_number() -> None:
    assert all(not text.endswith(".") and len(text) > 8 for text in pdh.REASONS.values())
    assert "0xC0000BCC" in pdh.reason(0xC0000BCC)
    assert pdh.reason(0xC0000BB8 - (1 << 32)) == pdh.REASONS[0xC0000BB8]


def test_linked_cards_of_one_adapter_are_added_up_in_memory_and_kept_apart_in_engines() -> None:
    sizes = {Instance(None, 5, 0, None, ""): 10, Instance(None, 5, 1, None, ""): 20}
    assert pdh.bytes_of(sizes, 5) == 30
    assert pdh.bytes_of(sizes, 6) is None
    busy = {Instance(1, 5, 0, 0, "3D"): 60.0, Instance(1, 5, 1, 0, "3D"): 70.0}
    assert pdh.busiest_percent(pdh.engines_of(busy, 5)) == 70


item = st.builds(
    Item,
    name=st.text()
    | st.builds(
        "pid_{}_luid_0x0_0x{:x}_phys_0_eng_{}_engtype_{}".format,
        st.integers(0, 3),
        st.integers(0, 2),
        st.integers(0, 3),
        st.sampled_from(["3D", "Copy", "Compute_0", "VideoDecode", "", "Cuda"]),
    ),
    status=st.sampled_from([0, 1, 0xC0000BBA, 0x800007D5]) | st.integers(0, 2**32 - 1),
    value=st.integers(-(2**63), 2**63 - 1),
)
arrays = st.fixed_dictionaries(
    {counter: st.lists(item, max_size=12).map(tuple) for counter in Counter}
)


@given(arrays, arrays, st.floats(0, 1e6))
def test_any_two_looks_give_readings_within_bounds(
    first: dict[Counter, tuple[Item, ...]], second: dict[Counter, tuple[Item, ...]], span_s: float
) -> None:
    clock = EngineClock()
    Look.of(first, 0.0, clock)
    look = Look.of(second, span_s, clock)
    for luid in range(3):
        for key, reading in look.readings(luid).items():
            if not isinstance(reading, Unavailable):
                assert 0 <= reading <= (100 if key.endswith("percent") else 2**46)
        for use in look.uses(luid):
            assert all(0 < share <= 100 for share in use.engines.values())
            assert isinstance(use.dedicated_bytes, Unavailable) or isfinite(use.dedicated_bytes)


@given(
    st.dictionaries(st.tuples(st.integers(1, 5), st.integers(0, 3)), st.floats(0, 20), min_size=1)
)
def test_the_rule_is_the_greatest_of_the_sums(shares: dict[tuple[int, int], float]) -> None:
    busy = {Instance(pid, 9, 0, eng, "3D"): share for (pid, eng), share in shares.items()}
    by_engine = [
        sum(share for (_, eng), share in shares.items() if eng == engine) for engine in range(4)
    ]
    assert pdh.busiest_percent(pdh.engines_of(busy, 9)) == pytest.approx(min(max(by_engine), 100))

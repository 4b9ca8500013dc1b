"""The ledger against sums over all that was told."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupanel.model.gpu import GpuState, Reading, Sample, Snapshot, Unavailable
from gpupanel.sampling.ledger import Account, Held, HeldMinute, Ledger, SetBy, set_by

GPU = "GPU-1"
SILENT = Unavailable("not reported by this GPU")


def tick(
    ledger: Ledger,
    time_s: float,
    told: tuple[str, ...] | Unavailable = (),
    counted: Mapping[str, float] | None = None,
    set_by: SetBy | None = None,
) -> None:
    sample = Sample(GPU, {}, limited_by=told, limited_s=counted or {})
    ledger.append(Snapshot(1.8e9, time_s, (sample,)), set_by)


def shares(ledger: Ledger, seconds: float) -> dict[str, float]:
    return {one.limit: one.share for one in ledger.account(GPU, seconds).held}


def test_reasons_that_are_told_hold_for_the_step_before_them() -> None:
    ledger = Ledger()
    for second in range(101):
        tick(ledger, float(second), ("power_cap", "thermal") if second % 4 == 0 else ("power_cap",))
    assert shares(ledger, 60) == pytest.approx({"power_cap": 1.0, "thermal": 0.25})
    assert ledger.account(GPU, 60).watched_s == 60


def test_a_counter_is_believed_over_what_is_told() -> None:
    ledger = Ledger()
    for second in range(61):
        counted = {"thermal": 500 + 0.1 * second, "power_cap": 3.0}
        tick(ledger, float(second), ("power_cap", "idle"), counted)
    assert shares(ledger, 60) == pytest.approx({"thermal": 0.1, "idle": 1.0})


def test_a_counter_alone_is_enough_and_one_that_went_back_is_not() -> None:
    ledger = Ledger()
    for second, total_s in enumerate([10.0, 10.5, 11.0, 0.2, 0.7]):
        tick(ledger, float(second), SILENT, {"thermal": total_s})
    account = ledger.account(GPU, 60)
    assert account.watched_s == 3
    assert account.held == (Held("thermal", "", 0.5),)


def test_no_reason_holds_longer_than_the_time_there_was() -> None:
    ledger = Ledger()
    tick(ledger, 0.0, SILENT, {"thermal": 0.0})
    tick(ledger, 1.0, SILENT, {"thermal": 50.0})
    assert shares(ledger, 60) == {"thermal": 1.0}


def test_who_set_the_limit_is_told_apart() -> None:
    ledger = Ledger()
    for second in range(61):
        by = "policy miner" if second > 45 else "user"
        tick(ledger, float(second), ("power_cap",), set_by={(GPU, "power_cap"): by})
    assert ledger.account(GPU, 60).held == (
        Held("power_cap", "user", 0.75),
        Held("power_cap", "policy miner", 0.25),
    )


def test_minute_hour_and_day_are_different_times() -> None:
    ledger = Ledger()
    for second in range(0, 2 * 86400, 5):
        held = second > 2 * 86400 - 1800
        tick(ledger, float(second), ("thermal",) if held else ())
    accounts = ledger.accounts(GPU)
    assert list(accounts) == ["minute", "hour", "day"]
    found = {name: account.held[0].share for name, account in accounts.items()}
    assert found == pytest.approx({"minute": 1.0, "hour": 0.5, "day": 1800 / 86400}, rel=0.02)
    assert accounts["day"].watched_s == pytest.approx(86400, abs=60)


@pytest.mark.parametrize("state", [GpuState.ASLEEP, GpuState.LOST])
def test_a_card_that_cannot_be_read_is_not_watched(state: GpuState) -> None:
    ledger = Ledger()
    for second in range(10):
        sample = Sample(GPU, {}, state, limited_by=("idle",))
        ledger.append(Snapshot(1.8e9, float(second), (sample,)))
    assert ledger.account(GPU, 60).as_json() == {"watched_s": 0.0, "held": []}


def test_silence_suspend_and_unknown_cards_tell_nothing() -> None:
    ledger = Ledger()
    for second in (0.0, 1.0, 2.0):
        tick(ledger, second, SILENT)
    tick(ledger, 5000.0, ("thermal",))
    assert ledger.account(GPU, 60).held == ()
    assert ledger.account("GPU-9", 60).held == ()


steps = st.lists(
    st.tuples(
        st.sampled_from([0.1, 1.0, 4.0, 30.0]),
        st.sets(st.sampled_from(["thermal", "power_cap", "idle"])).map(tuple) | st.just(SILENT),
    ),
    min_size=1,
    max_size=60,
)


@given(steps)
@settings(max_examples=150)
def test_a_minute_agrees_with_the_sum_over_its_steps(
    drawn: list[tuple[float, tuple[str, ...] | Unavailable]],
) -> None:
    ledger = Ledger()
    now_s = 0.0
    seen = []
    for number, (step_s, told) in enumerate(drawn):
        now_s += step_s
        tick(ledger, now_s, told)
        if number and step_s <= 5 and not isinstance(told, Unavailable):
            seen.append((now_s, step_s, told))
    # Added up like now_s: newer Pythons' sum() rounds otherwise.
    ends = list(accumulate(step for step, _ in drawn))
    start_s = max([end for end in ends if end <= now_s - 60], default=ends[0])
    steps_in = [(step, told) for end, step, told in seen if end > start_s]
    watched_s = sum(step for step, _ in steps_in)
    assert ledger.account(GPU, 60).watched_s == pytest.approx(watched_s)
    for name in ("thermal", "power_cap", "idle"):
        held_s = sum(step for step, told in steps_in if name in told)
        assert shares(ledger, 60).get(name, 0.0) * watched_s == pytest.approx(held_s)


@given(steps, st.integers(0, 60))
@settings(max_examples=100)
def test_a_restart_forgets_nothing_but_the_time_between(
    drawn: list[tuple[float, tuple[str, ...] | Unavailable]], cut: int
) -> None:
    """Two ledgers, the second with what the first let go of, against one that saw all."""
    whole, first, second = Ledger(), Ledger(), Ledger()
    kept: dict[tuple[int, str, str, str], float] = {}

    def keep(ledger: Ledger) -> None:
        for one in ledger.drain():
            key = one.start_s, one.gpu_id, one.limit, one.set_by
            kept[key] = kept.get(key, 0.0) + one.seconds

    now_s = 1000.0
    current = first
    for number, (step_s, told) in enumerate(drawn):
        # A restart takes longer than any step that is believed, for all of them.
        now_s += step_s if number != cut else 10.0
        if number == cut:
            keep(first)
            rows = [HeldMinute(*key, seconds) for key, seconds in kept.items()]
            second.restore(rows, 1.8e9 + now_s, now_s)
            current = second
        for ledger in (whole, current):
            sample = Sample(GPU, {}, limited_by=told)
            ledger.append(Snapshot(1.8e9 + now_s, now_s, (sample,)))
        if number % 7 == 0:
            keep(current)
    for span_s in (3600.0, 86400.0):
        found, expected = current.account(GPU, span_s), whole.account(GPU, span_s)
        assert found.watched_s == pytest.approx(expected.watched_s)
        assert {(one.limit, one.set_by): one.share for one in found.held} == pytest.approx(
            {(one.limit, one.set_by): one.share for one in expected.held}
        )


def test_what_was_kept_reaches_back_a_day_and_not_into_a_future() -> None:
    unix_s, monotonic_s = 1.8e9, 50.0  # the computer was started a minute ago
    start_s = int(unix_s // 60) * 60
    rows = []
    for minute_s in (start_s + 600, start_s - 60, start_s - 7200, start_s - 2 * 86400):
        rows.append(HeldMinute(minute_s, GPU, "", "", 60.0))
        rows.append(HeldMinute(minute_s, GPU, "thermal", "", 15.0))
    ledger = Ledger()
    ledger.restore(rows, unix_s, monotonic_s)
    told = {name: account.watched_s for name, account in ledger.accounts(GPU).items()}
    assert told == {"minute": 0.0, "hour": 60.0, "day": 120.0}
    tick(ledger, monotonic_s + 1, ())
    tick(ledger, monotonic_s + 2, ("thermal",))
    assert ledger.account(GPU, 60) == Account(1.0, (Held("thermal", "", 1.0),))
    assert ledger.account(GPU, 3600).watched_s == 61.0


def test_what_was_drained_is_not_given_again() -> None:
    ledger = Ledger()
    for second in range(4):
        tick(ledger, float(second), ("thermal",))
    first = ledger.drain()
    assert sorted((one.limit, one.seconds) for one in first) == [("", 3.0), ("thermal", 3.0)]
    assert ledger.drain() == []


@pytest.mark.parametrize(
    ("limit_w", "default_w", "author"),
    [
        (250.0, 320.0, "lowered from 320 W"),
        (320.0, 320.0, "the board's own"),
        (319.5, 320.0, "the board's own"),
        (400.0, 320.0, "the board's own"),
        (Unavailable("no"), 320.0, None),
        (250.0, Unavailable("no"), None),
    ],
)
def test_a_lowered_power_limit_is_told_from_the_boards_own(
    limit_w: Reading, default_w: Reading, author: str | None
) -> None:
    readings = {"power_limit_w": limit_w, "power_limit_default_w": default_w}
    authors = set_by(Snapshot(1e9, 1.0, (Sample("g", readings),)))
    assert authors.get(("g", "power_cap")) == author

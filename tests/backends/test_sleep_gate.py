"""The gate: who sleeps, who woke up, and whether it was us."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.linux.sleep import PciPower
from gpupanel.backends.sleep import SleepGate
from gpupanel.model.sleep import SleepRecord


class Power:
    """The power state of a GPU that a test wakes."""

    def __init__(self, *, asleep: bool = False) -> None:
        self.asleep = asleep

    def is_asleep(self) -> bool:
        return self.asleep

    def can_sleep(self) -> bool:
        return True

    def asleep_share(self) -> float | None:
        return None


def wakes(gate: SleepGate) -> tuple[int, int]:
    record = gate.record()
    return record.wakes, record.wakes_by_us


def test_a_wake_up_within_our_calls_is_ours() -> None:
    power = Power(asleep=True)
    gate = SleepGate(power, lambda: 7.0)
    assert gate.is_asleep()
    record = gate.record()
    assert record == SleepRecord(True, 7.0, 0, 0, None)
    assert SleepRecord.from_json(record.as_json()) == record
    power.asleep = False  # a call to another GPU woke this one
    gate.calls_ended()
    assert wakes(gate) == (1, 1)
    assert gate.record().asleep_since_unix_s is None
    gate.calls_ended()
    gate.is_asleep()
    assert wakes(gate) == (1, 1), "once"


def test_a_wake_up_that_a_second_look_within_our_calls_sees_is_ours_too() -> None:
    power = Power(asleep=True)
    gate = SleepGate(power)
    gate.is_asleep()
    gate.is_asleep()
    power.asleep = False
    gate.is_asleep()
    gate.calls_ended()
    assert wakes(gate) == (1, 1)


def test_a_wake_up_between_our_calls_is_somebody_elses() -> None:
    power = Power(asleep=True)
    gate = SleepGate(power)
    gate.is_asleep()
    gate.calls_ended()
    power.asleep = False
    gate.is_asleep()
    gate.calls_ended()
    assert wakes(gate) == (1, 0)


def test_falling_asleep_is_no_wake_up() -> None:
    power = Power()
    gate = SleepGate(power)
    gate.is_asleep()
    power.asleep = True
    gate.calls_ended()
    assert wakes(gate) == (0, 0)
    gate.is_asleep()
    gate.calls_ended()
    assert wakes(gate) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from(["ask", "end"]), st.booleans()), max_size=40))
def test_ours_are_never_more_than_all(steps: list[tuple[str, bool]]) -> None:
    power = Power()
    gate = SleepGate(power)
    slept = 0
    for step, asleep in steps:
        slept += asleep and not power.asleep
        power.asleep = asleep
        if step == "ask":
            gate.is_asleep()
        else:
            gate.calls_ended()
    all_wakes, ours = wakes(gate)
    assert 0 <= ours <= all_wakes <= slept


@pytest.mark.parametrize(
    ("active", "suspended", "share"),
    [
        ("1000", "3000\n", 0.75),
        ("0", "5", 1.0),
        ("0", "0", None),
        ("x", "5", None),
        ("-4", "9", None),
    ],
)
def test_the_share_is_what_the_kernel_counted(
    tmp_path: Path, active: str, suspended: str, share: float | None
) -> None:
    (tmp_path / "power").mkdir()
    (tmp_path / "power/runtime_active_time").write_text(active)
    (tmp_path / "power/runtime_suspended_time").write_text(suspended)
    assert PciPower(tmp_path).asleep_share() == share
    assert PciPower(tmp_path / "none").asleep_share() is None


@given(st.binary(max_size=20))
def test_any_bytes_are_a_power_state(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "any power" / "power"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("runtime_status", "control", "runtime_active_time", "runtime_suspended_time"):
        (folder / name).write_bytes(text)
    (folder / "autosuspend_delay_ms").write_bytes(text)
    power = PciPower(folder.parent)
    assert power.is_asleep() is (text.strip(b"\0 \t\r\n") in {b"suspended", b"suspending"})
    assert power.can_sleep() is (text.strip(b"\0 \t\r\n") == b"auto")
    assert 0 <= power.sleep_delay_s() <= 60
    share = power.asleep_share()
    assert share is None or 0 <= share <= 1

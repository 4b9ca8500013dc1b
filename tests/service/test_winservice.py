"""What Windows is told and what it may want. The calls themselves have never run on Windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.service.overseer.orders import Order, Overseer
from gpupanel.service.overseer.winservice import (
    CALL_NOT_IMPLEMENTED,
    FAILURE_ACTIONS,
    NO_ERROR,
    Accepted,
    Control,
    Manager,
    State,
    Status,
)

SUSPEND, RESUME = 0x4, 0x12


@pytest.fixture
def told() -> list[Status]:
    return []


@pytest.fixture
def manager(told: list[Status]) -> Manager:
    return Manager(told.append)


def orders(manager: Manager) -> list[Order]:
    found = []
    while not manager.orders.empty():
        found.append(manager.orders.get())
    return found


def test_a_life_from_start_to_stop(manager: Manager, told: list[Status]) -> None:
    overseer: Overseer = manager
    overseer.ready("policy managed, 1 GPU")
    overseer.stopping()
    manager.stopped(0)
    assert [one.state for one in told] == [
        State.START_PENDING, State.RUNNING, State.STOP_PENDING, State.STOPPED,
    ]  # fmt: skip
    assert [one.accepted for one in told if one.state is not State.RUNNING] == [0, 0, 0]
    assert all((one.checkpoint > 0) == (one.hint_ms > 0) for one in told)


@pytest.mark.parametrize("control", [Control.STOP, Control.PRESHUTDOWN])
def test_a_stop_is_told_before_it_is_done(
    manager: Manager, told: list[Status], control: Control
) -> None:
    manager.ready("")
    assert manager.control(control, 0) == NO_ERROR
    assert told[-1].state is State.STOP_PENDING
    assert orders(manager) == [Order.STOP]


def test_a_policy_that_is_read_meanwhile_takes_no_stop_back(
    manager: Manager, told: list[Status]
) -> None:
    manager.ready("")
    manager.control(Control.STOP, 0)
    manager.ready("read")
    manager.stopping()
    assert [one.state for one in told][-2:] == [State.RUNNING, State.STOP_PENDING]


def test_policy_is_read_anew_when_asked_and_after_sleep(manager: Manager) -> None:
    assert manager.control(Control.PARAMCHANGE, 0) == NO_ERROR
    assert manager.control(Control.POWEREVENT, SUSPEND) == NO_ERROR
    assert manager.control(Control.POWEREVENT, RESUME) == NO_ERROR
    assert orders(manager) == [Order.READ_POLICY, Order.READ_POLICY]


def test_asked_how_it_is_it_says_it_again(manager: Manager, told: list[Status]) -> None:
    manager.ready("")
    assert manager.control(Control.INTERROGATE, 0) == NO_ERROR
    assert told[-1] == told[-2]


def test_a_failure_makes_windows_act(manager: Manager, told: list[Status]) -> None:
    manager.stopped(1)
    assert told[-1].win32_exit_code == 1066  # ERROR_SERVICE_SPECIFIC_ERROR
    assert told[-1].exit_code == 1
    assert Status(State.STOPPED).win32_exit_code == NO_ERROR
    assert all(action.restart_after_ms <= 5000 for action in FAILURE_ACTIONS)


@given(st.lists(st.tuples(st.integers(0, 0x60), st.integers(0, 0x20)), max_size=12))
def test_whatever_windows_calls_it_with(calls: list[tuple[int, int]]) -> None:
    told: list[Status] = []
    manager = Manager(told.append)
    manager.ready("")
    known = {int(one) for one in Control}
    for code, event in calls:
        answer = manager.control(code, event)
        assert answer == (NO_ERROR if code in known else CALL_NOT_IMPLEMENTED)
    assert orders(manager).count(Order.STOP) == sum(
        code in (Control.STOP, Control.PRESHUTDOWN) for code, _ in calls
    )


def test_it_accepts_what_it_answers_to(manager: Manager, told: list[Status]) -> None:
    manager.ready("")
    assert told[-1].accepted == (
        Accepted.STOP | Accepted.PARAMCHANGE | Accepted.POWEREVENT | Accepted.PRESHUTDOWN
    )

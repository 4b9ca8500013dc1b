"""What a client may take, with a clock of our own; and what waits for one that does not read."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.ipc import limits, outbox
from gpupanel.ipc.limits import LOCAL_USER, PARENT, Account, Admission
from gpupanel.ipc.outbox import Outbox
from gpupanel.ipc.transport import Endpoint, Peer
from gpupanel.model.errors import RequestDenied

FEW = replace(LOCAL_USER, tokens_per_s=50.0, burst=100)


def user(uid: int) -> Peer:
    return Peer(Endpoint.READ_ONLY, uid, 1, is_admin=uid == 0)


@given(
    st.lists(
        st.tuples(st.floats(0, 5, allow_nan=False), st.floats(0, 50, allow_nan=False)),
        min_size=1, max_size=60,
    )
)  # fmt: skip
def test_who_pauses_as_told_gets_no_more_than_the_rate_and_a_burst(
    steps: list[tuple[float, float]],
) -> None:
    now_s = [0.0]
    account = Account(FEW, lambda: now_s[0])
    taken = 0.0
    for idle_s, tokens in steps:
        now_s[0] += idle_s
        taken += tokens
        now_s[0] += account.charge(tokens)
        assert taken <= 50.0 * now_s[0] + 100 + 1e-6


def test_what_is_owed_is_forgiven_after_some_seconds() -> None:
    now_s = [0.0]
    account = Account(FEW, lambda: now_s[0])
    for _ in range(1000):
        account.charge(1000)
    assert account.charge(0) == pytest.approx(4.0)
    now_s[0] += 4.0
    assert account.charge(0) == 0


def test_a_parent_never_pauses() -> None:
    assert Account(PARENT).charge(1e9) == 0


def test_a_user_has_eight_connections_and_root_sixteen() -> None:
    admission = Admission()
    for _ in range(8):
        admission.enter(user(1000))
    with pytest.raises(RequestDenied, match="8 connections already"):
        admission.enter(user(1000))
    admission.leave(user(1000))
    admission.enter(user(1000))
    for _ in range(16):
        admission.enter(user(0))
    with pytest.raises(RequestDenied, match="16 connections already"):
        admission.enter(user(0))


def test_all_together_have_sixty_four_and_root_gets_in_still() -> None:
    admission = Admission()
    for uid in range(1000, 1008):
        for _ in range(8):
            admission.enter(user(uid))
    with pytest.raises(RequestDenied, match="64 connections are open"):
        admission.enter(user(2000))
    admission.enter(user(0))


def test_users_who_left_take_no_room() -> None:
    now_s = [0.0]
    admission = Admission(lambda: Account(LOCAL_USER, lambda: now_s[0]))
    for uid in range(1000, 3000):
        admission.enter(user(uid))
        admission.leave(user(uid))
        now_s[0] += 1.0
    assert len(admission._accounts) < 5


def test_a_user_whose_account_is_empty_is_not_let_in() -> None:
    admission = Admission()
    account = admission.enter(user(1000))
    account.charge(1e6)
    with pytest.raises(RequestDenied, match="asks too much"):
        admission.enter(user(1000))
    admission.enter(user(1001))


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=80), st.data())
def test_replies_all_come_and_of_notifications_the_newest(
    sent: list[tuple[bool, int]], data: st.DataObject
) -> None:
    """Against a list that is cut in the same way; read in between at random."""
    account = Account(PARENT)
    box = Outbox(account)
    waiting: deque[tuple[bool, bytes]] = deque()
    most = outbox.MAX_NOTIFICATION_BYTES
    try:
        outbox.MAX_NOTIFICATION_BYTES = 100
        for number, (is_reply, length) in enumerate(sent):
            line = bytes([number]) * length
            (box.reply if is_reply else box.notify)(line)
            waiting.append((is_reply, line))
            news = [one for one in waiting if not one[0]]
            while sum(len(one[1]) for one in news) > 100 and len(news) > 1:
                waiting.remove(news.pop(0))
            if data.draw(st.booleans()) and waiting:
                assert box.next() == waiting.popleft()[1]
        box.close()
        assert list(iter(box.next, None)) == [line for _, line in waiting]
        assert account._unread_bytes == 0
    finally:
        outbox.MAX_NOTIFICATION_BYTES = most


def test_what_is_discarded_is_not_unread_any_more() -> None:
    account = Account(PARENT)
    box = Outbox(account)
    box.reply(b"x" * 2 * limits.MIB)
    box.reply(b"x" * 2 * limits.MIB)
    box.notify(b"y")
    assert box.next() is not None
    waiting = threading.Thread(target=account.wait_until_read, args=(lambda: False,))
    waiting.start()
    box.discard()
    waiting.join(10)
    assert not waiting.is_alive()
    assert account._unread_bytes == 0
    assert box.next() is None

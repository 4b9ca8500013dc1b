"""What a client sees of other users' processes: all, or a sum."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.ipc.transport import Endpoint, Peer
from gpupanel.model.gpu import ProcessKind, ProcessSample, Reading, Unavailable
from gpupanel.model.hold import Hold
from gpupanel.model.verdict import ProcessClass, Standing, Verdict
from gpupanel.policy.claims import Claim, Level, Scope
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, resolve
from gpupanel.service.views import View, view_of

MINER = Verdict(ProcessClass.MINING, Standing.MINING, 1.0, 1.7e9, may_object=True)
MARA, BEN = 1000, 1001


def sample(uid: int | None, pid: int, busy: Reading = 30.0) -> ProcessSample:
    return ProcessSample(
        "GPU-1", pid, 1, f"secret{pid}", f"user{uid}", ProcessKind.COMPUTE, 9.0, busy,
        verdict=MINER, uid=uid,
    )  # fmt: skip


def policy(shows: bool) -> EffectivePolicy:
    key = "privacy.show_other_users_processes"
    claim = Claim(key, shows, Level.MANDATORY, Scope.MACHINE, None)
    return resolve([claim], state=PolicyState.MANAGED)


@pytest.mark.parametrize(
    ("peer", "shows", "sees_all"),
    [
        (Peer(Endpoint.READ_ONLY, MARA, 1), True, True),
        (Peer(Endpoint.READ_ONLY, MARA, 1), False, False),
        (Peer(Endpoint.CONTROL, MARA, 1), False, False),
        (Peer(Endpoint.CONTROL, 0, 1, is_admin=True), False, True),
        (Peer(Endpoint.PARENT, MARA, 1), False, True),
    ],
)
def test_policy_says_whether_users_see_each_other(peer: Peer, shows: bool, sees_all: bool) -> None:
    assert view_of(peer, lambda _: policy(shows)) == View(peer.uid, sees_all)


def test_others_are_a_sum_for_each_gpu() -> None:
    samples = [sample(MARA, 1), sample(BEN, 2), sample(BEN, 3, 31.4), sample(None, 4, 60.0)]
    shown, others = View(MARA, False).processes(samples)
    assert [one.pid for one in shown] == [1]
    assert others == ["other users on GPU-1: 3 processes, 100 %"]
    _, alone = View(MARA, False).processes([sample(BEN, 2, Unavailable("not told"))])
    assert alone == ["other users on GPU-1: 1 process"]


@given(st.lists(st.sampled_from([MARA, BEN, 0, None]), max_size=8))
def test_nothing_of_others_is_written_out(uids: list[int | None]) -> None:
    samples = [sample(uid, 100 + index) for index, uid in enumerate(uids)]
    shown, others = View(MARA, False).processes(samples)
    written = json.dumps([[one.as_json() for one in shown], others])
    for one in samples:
        assert (one.name in written) == (one.uid == MARA)


def test_only_its_user_may_object() -> None:
    shown, _ = View(MARA, True).processes([sample(MARA, 1), sample(BEN, 2)])
    assert [one.verdict and one.verdict.may_object for one in shown] == [True, False]


def test_holds_are_shown_as_processes_are() -> None:
    hers = Hold(
        "1", MARA, "mara", "t-rex", 7, 1, 1, ("GPU-1",), "throttle", "throttle", 50, 50.0, 60.0,
        1.7e9, 1.7e9, "policy", may_release=True,
    )  # fmt: skip
    his = replace(hers, id="2", uid=BEN)
    assert [one.id for one in View(MARA, False).holds([hers, his])] == ["1"]
    releasable = [one.may_release for one in View(MARA, True).holds([hers, his])]
    assert releasable == [True, False]


def test_events_of_programs_are_for_those_who_see_all() -> None:
    assert View(MARA, False).shows_event("xid")
    assert not View(MARA, False).shows_event("mining")
    assert View(MARA, True).shows_event("mining")

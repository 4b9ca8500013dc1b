"""A recorded miner under a policy: against the arithmetic of shares, and hostile recordings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Claim, Level, Scope, Source
from gpupanel.policy.key import Value
from gpupanel.policy.replay import MAX_LINE_BYTES, Outcome, read_verdicts, replay
from gpupanel.policy.resolve import EffectivePolicy, resolve

RECORD: dict[str, Any] = {
    "time_unix_s": 1.7e9, "interval_s": 1.0, "pid": 42, "executable": "/home/al/miner",
    "sha256": "a" * 64, "trusted": False, "gpus": [["GPU-1", "0000:01:00.0"]],
    "gpu_seconds": 1.0, "beside_guest": False,
}  # fmt: skip


def policy(**values: Value) -> EffectivePolicy:
    return resolve(
        [
            Claim(name.replace("__", "."), value, Level.MANDATORY, Scope.MACHINE, Source("p", 1, 1))
            for name, value in values.items()
        ]
    )


def lines(seconds: int, **other: Any) -> list[bytes]:
    return [
        json.dumps(RECORD | {"time_unix_s": 1.7e9 + second} | other).encode() + b"\n"
        for second in range(seconds)
    ]


def outcomes(under: EffectivePolicy, recorded: Sequence[bytes]) -> list[Outcome]:
    return replay(under, read_verdicts(recorded, "v.jsonl"))


@given(st.integers(1, 99), st.integers(0, 60), st.sampled_from([0.5, 1.0, 10.0]))
def test_a_full_miner_keeps_the_share_of_the_cap_after_its_grace(
    cap: int, grace: int, interval_s: float
) -> None:
    under = policy(mining__max_efficiency_percent=cap, mining__grace_seconds=grace)
    recorded = [
        json.dumps(
            RECORD | {
                "time_unix_s": 1.7e9 + number * interval_s, "interval_s": interval_s,
                "gpu_seconds": interval_s,
            }
        ).encode()
        for number in range(int(200 / interval_s))
    ]  # fmt: skip
    [outcome] = outcomes(under, recorded)
    expected_s = (200 - grace) * (1 - cap / 100)
    # Half a swing of the limiter, and one slice at each end.
    assert outcome.lost_gpu_seconds == pytest.approx(expected_s, abs=0.3 + 0.15 * interval_s)
    assert outcome.throttled_s == pytest.approx(outcome.lost_gpu_seconds)
    assert (outcome.recorded_s, outcome.gpu_seconds) == (200, 200)


def test_who_stays_below_the_cap_loses_nothing() -> None:
    under = policy(mining__max_efficiency_percent=50, mining__grace_seconds=0)
    [outcome] = outcomes(under, lines(60, gpu_seconds=0.45))
    assert (outcome.throttled_s, outcome.lost_gpu_seconds) == (0, 0)


def test_two_gpus_have_two_seconds_in_a_second() -> None:
    under = policy(mining__max_efficiency_percent=50, mining__grace_seconds=0)
    both = [["GPU-1"], ["GPU-2"]]
    [outcome] = outcomes(under, lines(100, gpus=both, gpu_seconds=2.0))
    assert outcome.lost_gpu_seconds == pytest.approx(100, abs=1)


@pytest.mark.parametrize("action", ["suspend", "terminate"])
def test_what_is_suspended_or_ended_is_so_for_the_rest(action: str) -> None:
    under = policy(
        mining__max_efficiency_percent=50, mining__grace_seconds=10, mining__action=action
    )
    [outcome] = outcomes(under, lines(60))
    assert (outcome.throttled_s, outcome.lost_gpu_seconds) == (50, 50)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"mining__enforcement": "off", "mining__max_efficiency_percent": 50},
        {"mining__action": "notify", "mining__max_efficiency_percent": 50},
        {"mining__allowed_executables": ("/home/al/miner",), "mining__max_efficiency_percent": 5},
        {"mining__gpu_roles": ("GPU-1=mining",), "mining__max_efficiency_percent": 50},
    ],
)
def test_who_is_left_alone_loses_nothing_and_the_reason_is_told(said: dict[str, Value]) -> None:
    [outcome] = outcomes(policy(**said), lines(60, trusted=True))
    assert outcome.lost_gpu_seconds == 0
    assert outcome.treatment.reason


def test_a_path_counts_only_where_root_alone_could_write() -> None:
    said: dict[str, Value] = {
        "mining__allowed_executables": ("/home/al/miner",), "mining__max_efficiency_percent": 50
    }  # fmt: skip
    [outcome] = outcomes(policy(**said), lines(60))
    assert outcome.lost_gpu_seconds > 20


def test_audit_says_what_it_would_do_and_takes_nothing() -> None:
    under = policy(mining__max_efficiency_percent=50, mining__enforcement="audit")
    [outcome] = outcomes(under, lines(60))
    assert (outcome.treatment.action, outcome.treatment.would) == ("observe", "throttle")
    assert outcome.lost_gpu_seconds == 0


def test_beside_a_game_the_harsher_cap_is_told_and_counted() -> None:
    under = policy(mining__max_efficiency_percent=50, mining__grace_seconds=0)
    guest = [*lines(50), *(line for line in lines(100, beside_guest=True)[50:])]
    [outcome] = outcomes(under, guest)
    assert outcome.treatment.cap_percent == 25
    assert outcome.lost_gpu_seconds == pytest.approx(25 + 37.5, abs=1)


def test_processes_are_told_apart_and_a_reused_number_is_another() -> None:
    under = policy(mining__max_efficiency_percent=50, mining__grace_seconds=0)
    recorded = [*lines(30), *lines(30, pid=43), *lines(30, executable="/bin/other", sha256=None)]
    assert [(one.pid, one.executable) for one in outcomes(under, recorded)] == [
        (42, "/home/al/miner"), (43, "/home/al/miner"), (42, "/bin/other"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "not a record"),
        (b"[]", "an object was expected"),
        (b"[" * 4000, "not a record"),
        (b"\xff", "not a record"),
        (b"x" * (MAX_LINE_BYTES + 1), "more than 4096 bytes"),
        (b'{"pid": 1, "pid": 2}', "a name stands twice"),
        (b'{"pid": 1}', "beside_guest is missing"),
        (json.dumps(RECORD | {"more": 1}).encode(), "more is not known"),
        (json.dumps(RECORD | {"gpu_seconds": float("nan")}).encode(), "NaN is no number"),
        (json.dumps(RECORD).replace("1.0,", "1e999,", 1).encode(), "interval_s is 'inf'"),
        (json.dumps(RECORD | {"gpu_seconds": 1.5}).encode(), "more than 1 GPUs have"),
        (json.dumps(RECORD | {"gpu_seconds": -1}).encode(), "gpu_seconds is '-1'"),
        (json.dumps(RECORD | {"interval_s": 0}).encode(), "interval_s is '0'"),
        (json.dumps(RECORD | {"pid": True}).encode(), "pid is 'True'"),
        (json.dumps(RECORD | {"pid": 10**400}).encode(), ""),
        (json.dumps(RECORD | {"sha256": "A" * 64}).encode(), "sha256 is"),
        (json.dumps(RECORD | {"gpus": [[]]}).encode(), "gpus is"),
        (json.dumps(RECORD | {"gpus": "GPU-1"}).encode(), "gpus is"),
        (json.dumps(RECORD | {"executable": ""}).encode(), "executable is"),
        (json.dumps(RECORD | {"time_unix_s": 10**400}).encode(), "time_unix_s is"),
    ],
)
def test_what_is_no_record_is_refused_with_its_line(line: bytes, words: str) -> None:
    if not words:
        assert outcomes(policy(), [line])
        return
    with pytest.raises(PolicyInvalid) as refused:
        outcomes(policy(), [*lines(1), line])
    [fault] = refused.value.diagnostics
    assert (fault.path, fault.line) == ("v.jsonl", 2)
    assert words in fault.text
    assert fault.text.isprintable()


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_be_refused(line: bytes) -> None:
    with pytest.raises(PolicyInvalid):
        outcomes(policy(), [line])

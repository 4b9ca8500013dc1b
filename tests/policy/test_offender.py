"""What is done to a process that mines, row by row, and that no answer hides its reason."""

from __future__ import annotations

from typing import Any

import pytest

from gpupanel.policy.claims import Claim, Level, Scope, Source
from gpupanel.policy.controls import decide_fan_speed, decide_overclock, decide_power_limit
from gpupanel.policy.key import Value
from gpupanel.policy.offender import Offender, treat
from gpupanel.policy.resolve import (
    EffectivePolicy,
    PolicyState,
    closed_claims,
    resolve,
)

HASH = "a" * 64
GPU = ("GPU-1234", "0000:01:00.0")
MINER = Offender(HASH, None, (GPU,))


def policy(**values: Value) -> EffectivePolicy:
    return resolve(
        [
            Claim(key.replace("__", "."), value, Level.MANDATORY, Scope.MACHINE, Source("p", 1, 1))
            for key, value in values.items()
        ]
    )


HALF: dict[str, Value] = {"mining__max_efficiency_percent": 50}


@pytest.mark.parametrize(
    ("said", "offender", "action", "cap_percent", "because"),
    [
        ({}, MINER, "observe", 100, "max_efficiency_percent = 100"),
        (HALF, MINER, "throttle", 50, "max_efficiency_percent = 50"),
        (HALF | {"mining__action": "suspend"}, MINER, "suspend", 50, "mining.action = suspend"),
        (HALF | {"mining__enforcement": "off"}, MINER, "observe", 100, "the mining cap is off"),
        (HALF | {"mining__enforcement": "audit"}, MINER, "observe", 50, "audit only"),
        (
            HALF | {"mining__allowed_executables": (f"sha256:{HASH}",)},
            MINER, "observe", 100, "its program is allowed",
        ),
        (
            HALF | {"mining__allowed_executables": ("/usr/bin/miner",)},
            Offender(HASH, "/usr/bin/miner", (GPU,)), "observe", 100, "its program is allowed",
        ),
        (
            HALF | {"mining__allowed_executables": ("/usr/bin/miner",)},
            MINER, "throttle", 50, "max_efficiency_percent = 50",
        ),
        (
            HALF | {"mining__gpu_roles": ("0000:01:00.0=mining",)},
            MINER, "observe", 100, "its GPU is for mining",
        ),
        (
            HALF | {"mining__gpu_roles": ("GPU-1234=mining",)},
            Offender(HASH, None, (GPU, ("GPU-5678",))), "throttle", 50, "= 50",
        ),
        (
            {"mining__gpu_roles": ("GPU-1234=gaming",)},
            MINER, "throttle", 1, "its GPU is for something else",
        ),
        (HALF, Offender(HASH, None, (GPU,), True), "throttle", 25, "halved beside a guest"),
        (
            HALF | {"mining__game_priority": False},
            Offender(HASH, None, (GPU,), True), "throttle", 50, "= 50",
        ),
        ({}, Offender(HASH, None, (GPU,), True), "observe", 100, "= 100"),
    ],
)  # fmt: skip
def test_what_is_done_and_why(
    said: dict[str, Any], offender: Offender, action: str, cap_percent: int, because: str
) -> None:
    # Reading a hash as None must never match an entry of the list.
    treatment = treat(policy(**said), offender)
    assert (treatment.action, treatment.cap_percent) == (action, cap_percent)
    assert because in treatment.reason


def test_a_program_that_cannot_be_read_is_not_on_any_list() -> None:
    said = HALF | {"mining__allowed_executables": (f"sha256:{HASH}",)}
    assert treat(policy(**said), Offender(None, None, (GPU,))).action == "throttle"


def test_audit_says_what_it_would_do() -> None:
    treatment = treat(policy(**HALF, mining__enforcement="audit"), MINER)
    assert (treatment.action, treatment.would) == ("observe", "throttle")


def test_the_closed_policy_throttles_and_kills_nothing() -> None:
    treatment = treat(resolve(closed_claims(), state=PolicyState.CLOSED), MINER)
    assert (treatment.action, treatment.cap_percent) == ("throttle", 5)


@pytest.mark.parametrize(
    ("percent", "verb", "given"),
    [(100, "allow", 100), (130, "clamp", 110), (40, "clamp", 60)],
)
def test_power_limits_are_held_between_their_bounds(percent: int, verb: str, given: int) -> None:
    bounds = policy(controls__power_limit_max_percent=110, controls__power_limit_min_percent=60)
    decision = decide_power_limit(bounds, percent)
    assert (decision.verb.value, decision.values["percent"]) == (verb, given)


def test_where_the_bounds_of_power_cross_the_ceiling_holds() -> None:
    crossed = policy(controls__power_limit_max_percent=50, controls__power_limit_min_percent=80)
    assert decide_power_limit(crossed, 70).values["percent"] == 50


def test_fans_have_a_floor_and_controls_can_be_denied() -> None:
    assert decide_fan_speed(policy(controls__fan_min_percent=30), 10).values["percent"] == 30
    denied = policy(controls__allow=False)
    for decision in (
        decide_fan_speed(denied, 50), decide_power_limit(denied, 100), decide_overclock(denied),
    ):  # fmt: skip
        assert decision.verb.value == "deny"
        assert "controls.allow = false" in decision.reason
    assert decide_overclock(policy(controls__allow_overclock=False)).verb.value == "deny"

"""What a hold is called in each phase, and who is said to decide."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gpupanel.model.gpu import Unavailable
from gpupanel.policy.claims import Claim, Level, Scope, Source
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, closed_claims, resolve
from gpupanel.ui.theme import Tone
from gpupanel.ui.widgets.holds import words
from tests.ui.conftest import SITE
from tests.ui.made_holds import ACTION, CAP, OWN_UID, made

NOTHING = Unavailable("nothing is held")
KEY = "mining.max_efficiency_percent"


def policy(level: Level, scope: Scope, source: Source | None) -> EffectivePolicy:
    claim = Claim(KEY, 50, level, scope, source)
    return resolve([], [claim]) if scope is Scope.USER else resolve([claim])


MACHINE = policy(Level.MANDATORY, Scope.MACHINE, Source(SITE, 4, 1))


@pytest.mark.parametrize(
    ("changed", "phase", "headline", "badge", "tone"),
    [
        ({}, "acts", "xmrig is held to 50 % of its speed by", "Held to 50 %", Tone.WARN),
        ({"is_best_effort": True}, "acts", "is held to 50 %", "Best effort 50 %", Tone.WARN),
        ({"action": "suspend", "would": "suspend"}, "acts", "is stopped by", "Stopped", Tone.WARN),
        ({"action": "terminate", "would": "terminate"}, "acts", "is being ended", "Being ended",
            Tone.WARN),
        ({"acts_in_s": 25.4}, "due", "will be held to 50 % of its speed in 25 s by",
            "Held in 25 s", Tone.WARN),
        ({"acts_in_s": 25.4, "action": "suspend", "would": "suspend"}, "due",
            "will be stopped in 25 s", "Stopped in 25 s", Tone.WARN),
        ({"acts_in_s": 25.4, "action": "terminate", "would": "terminate"}, "due",
            "will be ended in 25 s", "Ended in 25 s", Tone.WARN),
        ({"acts_in_s": -1.0, "means": ""}, "due", "in 0 s", "Held in 0 s", Tone.WARN),
        ({"means": "", "problem": "permission denied"}, "failed",
            "xmrig should be held and is not: permission denied.", "Not held", Tone.ERROR),
        ({"action": "observe"}, "would", "would be held to 50 % of its speed", "Would be held",
            Tone.SECONDARY),
        ({"action": "observe", "cap_percent": 100}, "would", "would be slowed down by",
            "Would be held", Tone.SECONDARY),
        ({"action": "observe", "would": "suspend"}, "would", "would be stopped", "Would be held",
            Tone.SECONDARY),
        ({"action": "observe", "would": "terminate"}, "would", "would be ended", "Would be held",
            Tone.SECONDARY),
        ({"action": "observe", "would": "notify"}, "would", "Nothing is done", "Told",
            Tone.SECONDARY),
        ({"action": "notify", "would": "notify"}, "told", "seems to mine. Nothing is done", "Told",
            Tone.SECONDARY),
    ],
)  # fmt: skip
def test_each_phase_has_its_words(
    changed: dict[str, Any], phase: str, headline: str, badge: str, tone: Tone
) -> None:
    hold, now_s = made(**changed), time.time()
    assert words.phase(hold, now_s) == phase
    assert headline in words.headline(hold, MACHINE, now_s).replace("\u00a0", " ")
    assert words.badge(hold, now_s).replace("\u00a0", " ") == badge
    assert words.tone(hold, now_s) is tone


@pytest.mark.parametrize(
    ("policy", "reason", "told"),
    [
        (MACHINE, f"{CAP}; {ACTION}", "by your organisation's policy."),
        (policy(Level.USER, Scope.USER, Source("policy.toml", 3, 1)),
            f"{KEY} = 50, set by the user's policy (policy.toml:3:1)", "by your own limits."),
        (resolve(closed_claims(), state=PolicyState.CLOSED),
            f"{KEY} = 5, set by the built-in closed policy, because the machine policy is broken "
            "or missing", "by the closed policy, because the machine's is broken."),
        # The hold was made by another policy than the one in force for whoever looks.
        (MACHINE, f"{KEY} = 10, set by the user's policy (p.toml:1:1)", "by policy."),
        (None, CAP, "by policy."),
    ],
)  # fmt: skip
def test_who_decides_is_whoever_the_reason_names(
    policy: EffectivePolicy | None, reason: str, told: str
) -> None:
    assert words.headline(made(reason=reason), policy, time.time()).endswith(told)


def test_why_in_plain_words() -> None:
    role = "its GPU is for something else: mining.gpu_roles = [cpu=ai], set by the machine policy"
    assert words.why(made(reason=role)).endswith("and its GPU is for something else.")
    guest = f"{CAP}; halved beside a guest: mining.game_priority = true, set by the default"
    assert "comes first" in words.why(made(reason=guest))
    assert words.why(made(reason="a.b = 3")) == "gpupanel found that it mines."
    assert words.keys(made(reason=f"{guest} (/etc/policy.d/mining.toml:1)")) == [
        KEY, "mining.game_priority",
    ]  # fmt: skip


def test_facts_tell_what_it_gets_or_why_that_is_not_known() -> None:
    now_s = time.time()
    told = " ".join(words.facts(made(), now_s)).replace("\u00a0", " ")
    assert told == (
        "It got 49 % over the last 10 s. 3 processes count together. "
        "It stays so until it ends or no longer mines."
    )
    learning = made(efficiency_percent=NOTHING, processes=1, is_best_effort=True, means="SIGSTOP")
    told = " ".join(words.facts(learning, now_s))
    assert "What it gets is not known: nothing is held. Held by: SIGSTOP." in told
    stopped = made(action="suspend", would="suspend")
    assert words.facts(stopped, now_s)[-1] == "It stays so until it is released or ends."
    assert words.facts(made(action="observe", processes=1), now_s) == []


def test_a_program_cannot_speak_in_our_place() -> None:
    assert words.program(made(name="a\nb\x1b[2J")) == "a?b?[2J"
    assert len(words.program(made(name="x" * 500))) == 40
    other = made(uid=None if OWN_UID is None else OWN_UID + 1, user="eve")
    assert words.program(other) == ("xmrig of eve" if OWN_UID is not None else "xmrig")

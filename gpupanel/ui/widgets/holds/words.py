"""Holds in words: what is done, who decides, why; the same in banner, table, card and note."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import StrEnum

from PySide6.QtCore import QCoreApplication

from gpupanel.model.gpu import Unavailable
from gpupanel.model.hold import Hold
from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.policy.claims import Level, Scope
from gpupanel.policy.decide import because
from gpupanel.policy.keys import POLICY_KEY_BY_NAME
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.ui import format as fmt
from gpupanel.ui.theme import Tone

translate = QCoreApplication.translate

_KEY = re.compile(r"\b[a-z]+\.[a-z_]+\b")
_LONGEST_NAME = 40
_SLACK_S = 3.0
"""So long after its grace a hold may take to begin, and is no failure."""

_WHOLE_PERCENT = 100


class Phase(StrEnum):
    """How far a hold is."""

    TOLD = "told"
    """Its user is told that it mines, and nothing else is done."""
    WOULD = "would"
    """Policy only audits."""
    DUE = "due"
    """Its period of grace runs."""
    ACTS = "acts"
    FAILED = "failed"
    """It should be held and is not."""


class Decider(StrEnum):
    """Who answers for the cap."""

    ORGANISATION = "organisation"
    USER = "user"
    CLOSED = "closed"
    UNKNOWN = "unknown"


_PARTS: Mapping[str, str] = {
    "mining.max_efficiency_percent": QT_TRANSLATE_NOOP("Holds", "mining is capped"),
    "mining.gpu_roles": QT_TRANSLATE_NOOP("Holds", "its GPU is for something else"),
    "mining.game_priority": QT_TRANSLATE_NOOP(
        "Holds", "a game or a training run uses the same GPU and comes first"
    ),
}
"""What the keys that make a cap mean to whoever is capped."""


_SENTENCES: Mapping[tuple[Phase, str], str] = {
    (Phase.TOLD, ""): QT_TRANSLATE_NOOP(
        "Holds", "{name} seems to mine. Nothing is done to it by {who}."
    ),
    (Phase.WOULD, ""): QT_TRANSLATE_NOOP(
        "Holds", "{name} would be held to {cap} of its speed by {who}; this is a trial."
    ),
    (Phase.WOULD, "slow"): QT_TRANSLATE_NOOP(
        "Holds", "{name} would be slowed down by {who}; this is a trial, and nothing is done."
    ),
    (Phase.WOULD, "notify"): QT_TRANSLATE_NOOP(
        "Holds", "{name} seems to mine. Nothing is done to it by {who}."
    ),
    (Phase.WOULD, "suspend"): QT_TRANSLATE_NOOP(
        "Holds", "{name} would be stopped by {who}; this is a trial, and nothing is done."
    ),
    (Phase.WOULD, "terminate"): QT_TRANSLATE_NOOP(
        "Holds", "{name} would be ended by {who}; this is a trial, and nothing is done."
    ),
    (Phase.DUE, ""): QT_TRANSLATE_NOOP(
        "Holds", "{name} will be held to {cap} of its speed in {wait} by {who}."
    ),
    (Phase.DUE, "suspend"): QT_TRANSLATE_NOOP(
        "Holds", "{name} will be stopped in {wait} by {who}."
    ),
    (Phase.DUE, "terminate"): QT_TRANSLATE_NOOP(
        "Holds", "{name} will be ended in {wait} by {who}."
    ),
    (Phase.ACTS, ""): QT_TRANSLATE_NOOP("Holds", "{name} is held to {cap} of its speed by {who}."),
    (Phase.ACTS, "suspend"): QT_TRANSLATE_NOOP("Holds", "{name} is stopped by {who}."),
    (Phase.ACTS, "terminate"): QT_TRANSLATE_NOOP("Holds", "{name} is being ended by {who}."),
    (Phase.FAILED, ""): QT_TRANSLATE_NOOP("Holds", "{name} should be held and is not: {why}."),
}
_BADGES: Mapping[tuple[Phase, str], str] = {
    (Phase.TOLD, ""): QT_TRANSLATE_NOOP("Holds", "Told"),
    (Phase.WOULD, ""): QT_TRANSLATE_NOOP("Holds", "Would be held"),
    (Phase.WOULD, "notify"): QT_TRANSLATE_NOOP("Holds", "Told"),
    (Phase.DUE, ""): QT_TRANSLATE_NOOP("Holds", "Held in {wait}"),
    (Phase.DUE, "suspend"): QT_TRANSLATE_NOOP("Holds", "Stopped in {wait}"),
    (Phase.DUE, "terminate"): QT_TRANSLATE_NOOP("Holds", "Ended in {wait}"),
    (Phase.ACTS, ""): QT_TRANSLATE_NOOP("Holds", "Held to {cap}"),
    (Phase.ACTS, "suspend"): QT_TRANSLATE_NOOP("Holds", "Stopped"),
    (Phase.ACTS, "terminate"): QT_TRANSLATE_NOOP("Holds", "Being ended"),
    (Phase.FAILED, ""): QT_TRANSLATE_NOOP("Holds", "Not held"),
}
_WEAK = QT_TRANSLATE_NOOP("Holds", "Best effort {cap}")


def phase(hold: Hold, now_s: float) -> Phase:
    """How far ``hold`` is at ``now_s`` on the wall clock."""
    if hold.action == "observe":
        return Phase.WOULD
    if hold.action == "notify":
        return Phase.TOLD
    if now_s < hold.acts_unix_s:
        return Phase.DUE
    if hold.problem:
        return Phase.FAILED
    if hold.means:
        return Phase.ACTS
    return Phase.DUE if now_s < hold.acts_unix_s + _SLACK_S else Phase.FAILED


def tone(hold: Hold, now_s: float) -> Tone:
    """How much it matters to whoever uses the program."""
    match phase(hold, now_s):
        case Phase.WOULD | Phase.TOLD:
            return Tone.SECONDARY
        case Phase.FAILED:
            return Tone.ERROR
    return Tone.WARN


def program(hold: Hold) -> str:
    """Its name; a program chooses its name, and might choose one that reads like our words."""
    name = "".join(letter if letter.isprintable() else "?" for letter in hold.name)
    name = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    if is_own(hold) or not hold.user:
        return name
    return translate("Holds", "{0} of {1}").format(name, hold.user)


def is_own(hold: Hold) -> bool:
    """Whether it is about this user's programs; where users have no numbers, that is not known."""
    return hold.uid is None or not hasattr(os, "getuid") or hold.uid == os.getuid()


def decider(hold: Hold, policy: EffectivePolicy | None) -> Decider:
    """Who set the cap, if what is in force for this user is what ``hold`` was made by."""
    if policy is None:
        return Decider.UNKNOWN
    for key in keys(hold):
        setting = policy.settings[key]
        if because(policy, key) not in hold.reason or setting.level is Level.DEFAULT:
            continue
        if setting.level is Level.CLOSED:
            return Decider.CLOSED
        return Decider.USER if setting.scope is Scope.USER else Decider.ORGANISATION
    return Decider.UNKNOWN


def keys(hold: Hold) -> list[str]:
    """The policy keys that its reason names, in that order."""
    return [key for key in _KEY.findall(hold.reason) if key in POLICY_KEY_BY_NAME]


def by_whom(hold: Hold, policy: EffectivePolicy | None) -> str:
    """Who decides, to stand after ``by``."""
    match decider(hold, policy):
        case Decider.ORGANISATION:
            return translate("Holds", "your organisation's policy")
        case Decider.USER:
            return translate("Holds", "your own limits")
        case Decider.CLOSED:
            return translate("Holds", "the closed policy, because the machine's is broken")
    return translate("Holds", "policy")


def headline(hold: Hold, policy: EffectivePolicy | None, now_s: float) -> str:
    """One sentence: what, how much, who decides."""
    return translate("Holds", _pick(_SENTENCES, hold, now_s)).format(
        name=program(hold),
        cap=fmt.percent(hold.cap_percent),
        who=by_whom(hold, policy),
        wait=fmt.span(max(0.0, hold.acts_unix_s - now_s)),
        why=hold.problem or hold.reason,
    )


def badge(hold: Hold, now_s: float) -> str:
    """The same in two or three words."""
    is_weak = hold.is_best_effort and phase(hold, now_s) is Phase.ACTS
    text = _WEAK if is_weak and hold.would == "throttle" else _pick(_BADGES, hold, now_s)
    wait = fmt.span(max(0.0, hold.acts_unix_s - now_s))
    return translate("Holds", text).format(cap=fmt.percent(hold.cap_percent), wait=wait)


def _pick(texts: Mapping[tuple[Phase, str], str], hold: Hold, now_s: float) -> str:
    """That of its phase and of what is done, else that of the phase alone."""
    now = phase(hold, now_s)
    return texts.get((now, _deed(hold)), texts[now, ""])


def _deed(hold: Hold) -> str:
    """What is done or would be; an audit may not tell how much."""
    return "slow" if hold.cap_percent == _WHOLE_PERCENT and hold.would == "throttle" else hold.would


def cap(hold: Hold) -> str:
    """What it may get, of what it does uncapped."""
    return fmt.UNKNOWN if _deed(hold) != "throttle" else fmt.percent(hold.cap_percent)


def efficiency(hold: Hold) -> str:
    """What it gets, of what it does uncapped."""
    reading = hold.efficiency_percent
    return fmt.UNKNOWN if isinstance(reading, Unavailable) else fmt.percent(reading)


def in_short(hold: Hold, now_s: float) -> str:
    """Name and badge, for a line of several."""
    return f"{program(hold)} · {badge(hold, now_s)}"


def facts(hold: Hold, now_s: float) -> list[str]:
    """Sentences about how it is done, and until when."""
    told = []
    acts = phase(hold, now_s) is Phase.ACTS
    if acts and hold.would == "throttle":
        reading = hold.efficiency_percent
        if isinstance(reading, Unavailable):
            told.append(
                translate("Holds", "What it gets is not known: {0}.").format(reading.reason)
            )
        else:
            got = translate("Holds", "It got {0} over the last {1}.")
            told.append(got.format(fmt.percent(reading), fmt.span(hold.window_s)))
    if hold.processes > 1:
        count = fmt.number(hold.processes, 0)
        told.append(translate("Holds", "{0} processes count together.").format(count))
    if acts and hold.is_best_effort:
        told.append(translate("Holds", "Held by: {0}.").format(hold.means))
    if phase(hold, now_s) in {Phase.ACTS, Phase.DUE}:
        told.append(until(hold))
    return told


def until(hold: Hold) -> str:
    """How it ends."""
    if hold.would == "suspend":
        return translate("Holds", "It stays so until it is released or ends.")
    return translate("Holds", "It stays so until it ends or no longer mines.")


def why(hold: Hold) -> str:
    """The reason in plain words, which the policy's own text follows."""
    parts = [translate("Holds", _PARTS[key]) for key in keys(hold) if key in _PARTS]
    told = ", ".join(dict.fromkeys(parts))
    if not told:
        return translate("Holds", "gpupanel found that it mines.")
    return translate("Holds", "gpupanel found that it mines, and {0}.").format(told)

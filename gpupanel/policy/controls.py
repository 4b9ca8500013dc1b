"""What policy says about a change to the card: allowed, clamped to a bound, or denied. Pure."""

from __future__ import annotations

from gpupanel.model.decision import Decision, Verb
from gpupanel.policy.decide import because
from gpupanel.policy.resolve import EffectivePolicy


def decide_power_limit(policy: EffectivePolicy, percent: int) -> Decision:
    """A power limit in percent of the card's default; ``values`` has ``percent``."""
    subject = f"power limit {percent} %"
    low, high = "controls.power_limit_min_percent", "controls.power_limit_max_percent"
    return _bounded(policy, subject, percent, low, high)


def decide_fan_speed(policy: EffectivePolicy, percent: int) -> Decision:
    """A fixed fan speed in percent; ``values`` has ``percent``."""
    return _bounded(policy, f"fan {percent} %", percent, "controls.fan_min_percent", None)


def decide_overclock(policy: EffectivePolicy) -> Decision:
    """Clocks above the card's own."""
    denied = _denied(policy, "overclocking", "controls.allow")
    denied = denied or _denied(policy, "overclocking", "controls.allow_overclock")
    return denied or Decision(Verb.ALLOW, "overclocking", "policy does not limit it", {})


def _bounded(
    policy: EffectivePolicy, subject: str, percent: int, low: str, high: str | None
) -> Decision:
    denied = _denied(policy, subject, "controls.allow")
    if denied:
        return denied
    least = policy.integer(low)
    most = policy.integer(high) if high else 100
    # Where floor and ceiling cross, the ceiling is the safe one.
    clamped = min(max(percent, least), most)
    if clamped == percent:
        return Decision(Verb.ALLOW, subject, "policy does not limit it", {"percent": percent})
    key = high if high and clamped < percent else low
    return Decision(Verb.CLAMP, subject, because(policy, key), {"percent": clamped})


def _denied(policy: EffectivePolicy, subject: str, key: str) -> Decision | None:
    if policy.is_true(key):
        return None
    return Decision(Verb.DENY, subject, f"it may not be changed: {because(policy, key)}", {})

"""What policy says about a run: the same answer for the window, the command line and the daemon.

Pure. What is shown and what is enforced cannot differ, because both ask here.
"""

from __future__ import annotations

import math
from dataclasses import replace

from gpupanel.model.decision import Decision, Verb
from gpupanel.model.errors import RunDenied
from gpupanel.model.workload import Family, Run
from gpupanel.policy.key import value_text
from gpupanel.policy.keys import POLICY_KEY_BY_NAME
from gpupanel.policy.resolve import EffectivePolicy

UNCAPPED_PERCENT = 100


def decide_run(policy: EffectivePolicy, run: Run, family: Family) -> Decision:
    """Allow, clamp or deny one run of a load of ``family``.

    Returns:
        A decision whose ``values`` always hold ``cap_percent`` (1 to 100), ``max_seconds``
        (0 when denied), and ``temperature_stop_c`` where policy sets one; a run that asked for
        less than these keeps what it asked for.
    """
    subject = f"{run.workload} on {run.gpu} for {run.seconds:g} s"
    if family.value not in policy.choices("stress.allowed_loads"):
        values = {"cap_percent": run.cap_percent, "max_seconds": 0}
        reason = f"{family.value} loads may not run: {because(policy, 'stress.allowed_loads')}"
        return Decision(Verb.DENY, subject, reason, values)
    cap_percent, cap_reason, is_capped = _cap(policy, run, family)
    max_seconds, time_reason = _time(policy, run)
    reasons = [reason for reason in (cap_reason, time_reason) if reason]
    verb = Verb.CLAMP if is_capped or time_reason else Verb.ALLOW
    reason = "; ".join(reasons) or "policy does not limit this run"
    values = {"cap_percent": cap_percent, "max_seconds": max_seconds}
    stop_c = policy.integer("stress.temperature_stop_c")
    if stop_c < POLICY_KEY_BY_NAME["stress.temperature_stop_c"].high:
        values["temperature_stop_c"] = stop_c
    return Decision(verb, subject, reason, values)


def carry_out(decision: Decision, run: Run) -> Run:
    """``run`` as ``decision`` lets it start: no longer and no faster.

    Raises:
        RunDenied: It may not start at all.
    """
    if decision.verb is Verb.DENY:
        raise RunDenied(decision)
    max_seconds = decision.values["max_seconds"]
    # In this order NaN, which compares false with everything, ends up limited.
    seconds = run.seconds if run.seconds <= max_seconds else float(max_seconds)
    return replace(
        run,
        seconds=seconds,
        cap_percent=decision.values["cap_percent"],
        temperature_stop_c=decision.values.get("temperature_stop_c", run.temperature_stop_c),
    )


def _cap(policy: EffectivePolicy, run: Run, family: Family) -> tuple[int, str, bool]:
    """The cap to use, what to say about it, and whether it is tighter than what was asked."""
    limit = policy.integer("mining.max_efficiency_percent")
    if family is not Family.MINING or limit >= min(run.cap_percent, UNCAPPED_PERCENT):
        return run.cap_percent, "", False
    reason = because(policy, "mining.max_efficiency_percent")
    match policy.choice("mining.enforcement"):
        case "enforce":
            return limit, f"mining runs at {limit} % of its speed: {reason}", True
        case "audit":
            switch = because(policy, "mining.enforcement")
            text = f"audit only, would have capped mining to {limit} %: {reason}; {switch}"
            return run.cap_percent, text, False
        case _:
            text = f"the mining cap is off: {because(policy, 'mining.enforcement')}"
            return run.cap_percent, text, False


def _time(policy: EffectivePolicy, run: Run) -> tuple[int, str]:
    """Seconds that the run may last at most, and what to say if it asked for more."""
    limit = policy.integer("stress.max_run_seconds")
    if run.seconds <= limit:
        return math.ceil(max(0.0, run.seconds)), ""
    return limit, f"the run ends after {limit} s: {because(policy, 'stress.max_run_seconds')}"


def because(policy: EffectivePolicy, key: str) -> str:
    """``KEY = VALUE, set by WHOM``: the reason that every decision gives."""
    setting = policy.settings[key]
    value = setting.value
    shown = value_text(value)
    return f"{key} = {shown}, set by {setting.set_by}"

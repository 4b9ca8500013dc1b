"""What policy says about a process that mines: what is done to it, how hard, and why. Pure.

Whether it mines is decided before, by ``detection``; here it is only a question of what the owner
of the machine wants.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpupanel.policy.decide import because
from gpupanel.policy.key import GENERAL_ROLE
from gpupanel.policy.resolve import EffectivePolicy

FORBIDDEN_PERCENT = 1
"""On a GPU that is for something else; never 0, so that a wrong verdict loses speed and no work."""

UNCAPPED_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Offender:
    """A process tree that mines, as far as policy can tell one from another.

    Attributes:
        executable_sha256: Of the file that runs; None if it could not be read.
        trusted_path: Its path, where only root can write to it and to all above; else None.
        gpus: What policy may call each GPU that it uses: its id, its PCI address.
        beside_guest: A game or a training run uses one of them too.
    """

    executable_sha256: str | None
    trusted_path: str | None
    gpus: tuple[tuple[str, ...], ...]
    beside_guest: bool = False


@dataclass(frozen=True, slots=True)
class Treatment:
    """What to do to an offender.

    Attributes:
        action: A word of ``mining.action``; ``observe`` changes nothing.
        cap_percent: Of its uncapped GPU time, 1 to 100, for ``throttle``, or what it would be.
        grace_seconds: Between the verdict and the action.
        reason: One sentence that names keys, values and who set them.
        would: The action that is reported and not taken, in ``audit``; else the action.
    """

    action: str
    cap_percent: int
    grace_seconds: int
    reason: str
    would: str


def treat(policy: EffectivePolicy, offender: Offender) -> Treatment:
    """Judge one offender; the loosest answer is to observe it at 100 percent."""
    exempt = next(_exemptions(policy, offender), None)
    cap_percent, reasons = _cap(policy, offender)
    if exempt or cap_percent == UNCAPPED_PERCENT:
        return Treatment("observe", UNCAPPED_PERCENT, 0, exempt or reasons, "observe")
    action = policy.choice("mining.action")
    grace = policy.integer("mining.grace_seconds")
    reason = f"{reasons}; {because(policy, 'mining.action')}"
    if policy.choice("mining.enforcement") == "audit":
        reason = f"audit only, nothing is done: {reason}"
        return Treatment("observe", cap_percent, grace, reason, action)
    return Treatment(action, cap_percent, grace, reason, action)


def _exemptions(policy: EffectivePolicy, offender: Offender) -> Iterator[str]:
    """Every reason why the offender may mine as it likes."""
    if policy.choice("mining.enforcement") == "off":
        yield f"the mining cap is off: {because(policy, 'mining.enforcement')}"
    allowed = policy.choices("mining.allowed_executables")
    names = {f"sha256:{offender.executable_sha256}", offender.trusted_path}
    if names & set(allowed):
        yield f"its program is allowed: {because(policy, 'mining.allowed_executables')}"
    roles = [_role(policy, names) for names in offender.gpus]
    if roles and all(role == "mining" for role in roles):
        yield f"its GPU is for mining: {because(policy, 'mining.gpu_roles')}"


def _cap(policy: EffectivePolicy, offender: Offender) -> tuple[int, str]:
    """The lowest of the caps that apply, and why."""
    percent = policy.integer("mining.max_efficiency_percent")
    reason = because(policy, "mining.max_efficiency_percent")
    if any(_role(policy, names) in {"ai", "gaming"} for names in offender.gpus):
        role = because(policy, "mining.gpu_roles")
        return FORBIDDEN_PERCENT, f"its GPU is for something else: {role}"
    if (
        offender.beside_guest
        and percent < UNCAPPED_PERCENT
        and policy.is_true("mining.game_priority")
    ):
        first = because(policy, "mining.game_priority")
        return max(FORBIDDEN_PERCENT, percent // 2), f"{reason}; halved beside a guest: {first}"
    return percent, reason


def _role(policy: EffectivePolicy, names: tuple[str, ...]) -> str:
    """What a GPU is for; the first of its names that policy knows decides."""
    roles = dict(word.rpartition("=")[::2] for word in policy.choices("mining.gpu_roles"))
    return next((roles[name] for name in names if name in roles), GENERAL_ROLE)

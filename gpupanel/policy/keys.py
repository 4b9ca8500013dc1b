"""POLICY_KEYS, the one table of what policy can say.

Models, merging, decisions, the window and the documentation are made from these rows. Values are
integers, words, and yes or no: NaN slips past every comparison, so there is no float in a policy.
"""

from __future__ import annotations

from collections.abc import Mapping

from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.model.workload import Family
from gpupanel.policy.key import Kind, PolicyKey, Tighten

_FAMILIES = tuple(family.value for family in Family)

_GPU = r"(?:GPU-[0-9a-fA-F-]{4,40}|[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|cpu)"
"""How a policy names a GPU: NVIDIA's UUID, a PCI address, or the processor."""

_EXECUTABLE = r"(?:sha256:[0-9a-f]{64}|/[^\x00-\x1f]{1,250}|[A-Za-z]:\\[^\x00-\x1f]{1,250})"
"""How a policy names a program: by its content, or by a path that only root can write."""

POLICY_KEYS: tuple[PolicyKey, ...] = (
    PolicyKey(
        "mining.enforcement", Kind.CHOICE, Tighten.RANK,
        # With the default cap of 100 nothing happens until somebody sets one.
        default="enforce", closed="enforce", choices=("off", "audit", "enforce"),
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Enforcement"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "off: the mining cap is ignored; audit: what it would do is reported and not done; "
            "enforce: it is done.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "mining.max_efficiency_percent", Kind.INTEGER, Tighten.MIN, low=1, high=100,
        # Closed is 5: a launch of 250 ms is then paid off within one hold of the limiter (5 s), so
        # mining is near worthless but goes on, and nothing that watches for life calls it hung.
        default=100, closed=5, switch="mining.enforcement",
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Mining efficiency"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "Most GPU time that mining may use, as a percentage; 100 is uncapped.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "mining.action", Kind.CHOICE, Tighten.RANK,
        default="throttle", closed="throttle", switch="mining.enforcement",
        choices=("observe", "notify", "throttle", "suspend", "terminate"),
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Action"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "What happens to a process that mines beyond its efficiency: observe: it is written "
            "down; notify: the user is told too; throttle: it is held to the efficiency; suspend: "
            "it is held until somebody releases it; terminate: it is ended.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "mining.grace_seconds", Kind.INTEGER, Tighten.MIN, low=0, high=3600,
        default=10, closed=10,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Grace"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys", "Seconds between the verdict that a process mines and the action."
        ),
        since="0.1",
    ),
    PolicyKey(
        "mining.game_priority", Kind.BOOLEAN, Tighten.OR, default=True, closed=True,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Games first"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "While a game or a training run uses the same GPU, a miner gets half of its "
            "efficiency.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "mining.allowed_executables", Kind.TEXTS, Tighten.INTERSECTION, default=(), closed=(),
        pattern=_EXECUTABLE, example="sha256:" + 64 * "0",
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Allowed programs"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "Programs that are never capped: by sha256 of the file, or by a path that only root "
            "can write to.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "mining.gpu_roles", Kind.TEXTS, Tighten.ROLES, default=(), closed=(),
        switch="mining.enforcement",
        choices=("mining", "general", "ai", "gaming"),
        pattern=_GPU + r"=(?:mining|general|ai|gaming)", example="0000:01:00.0=mining",
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Roles of GPUs"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "What a GPU is for. mining: the cap leaves it alone; general: the cap holds; ai and "
            "gaming: mining on it gets 1 percent.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "mining.allow_user_verdicts", Kind.BOOLEAN, Tighten.AND, default=True, closed=False,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Users may object"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "Users may say of a program of theirs that it does not mine, and release one that "
            "is held.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "detection.miner_executables", Kind.TEXTS, Tighten.UNION, default=(), closed=(),
        pattern=r"[^\x00-\x1f/\\]{1,64}", example="newminer",
        label=QT_TRANSLATE_NOOP("PolicyKeys", "More miners"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "Names of programs that count as miners, beside those that gpupanel knows.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "detection.pool_hosts", Kind.TEXTS, Tighten.UNION, default=(), closed=(),
        pattern=r"[a-z0-9.-]{3,253}", example="pool.example.org",
        label=QT_TRANSLATE_NOOP("PolicyKeys", "More pools"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "Hosts that count as mining pools, with all below them, beside those that gpupanel "
            "knows.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "stress.allowed_loads", Kind.CHOICES, Tighten.INTERSECTION, choices=_FAMILIES,
        # Closed allows all: a typo in a file must throttle miners, not stop games and training.
        default=_FAMILIES, closed=_FAMILIES,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Allowed loads"),
        help=QT_TRANSLATE_NOOP("PolicyKeys", "Families of stress loads that may run."),
        since="0.1",
    ),
    PolicyKey(
        "stress.max_run_seconds", Kind.INTEGER, Tighten.MIN, low=1, high=7200,
        # Closed keeps the longest run: ending a run early is a kill.
        default=7200, closed=7200,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Longest run"),
        help=QT_TRANSLATE_NOOP("PolicyKeys", "Most seconds that one run of a load may last."),
        since="0.1",
    ),
    PolicyKey(
        "stress.temperature_stop_c", Kind.INTEGER, Tighten.MIN, low=50, high=105,
        # The guard has limits of its own, and these are never above them.
        default=105, closed=105,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Hottest run"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys", "A load ends when the chip reaches this temperature, in degrees Celsius."
        ),
        since="0.1",
    ),
    PolicyKey(
        "controls.allow", Kind.BOOLEAN, Tighten.AND, default=True, closed=False,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Controls"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys", "Users may change power limits, clocks and fans at all."
        ),
        since="0.1",
    ),
    PolicyKey(
        "controls.power_limit_max_percent", Kind.INTEGER, Tighten.MIN, low=10, high=200,
        default=200, closed=100,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Highest power limit"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys", "Highest power limit that may be set, in percent of the card's default."
        ),
        since="0.1",
    ),
    PolicyKey(
        "controls.power_limit_min_percent", Kind.INTEGER, Tighten.MAX, low=0, high=100,
        default=0, closed=0,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Lowest power limit"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys", "Lowest power limit that may be set, in percent of the card's default."
        ),
        since="0.1",
    ),
    PolicyKey(
        "controls.fan_min_percent", Kind.INTEGER, Tighten.MAX, low=0, high=100,
        default=0, closed=0,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Slowest fan"),
        help=QT_TRANSLATE_NOOP("PolicyKeys", "Lowest fan speed that may be set, in percent."),
        since="0.1",
    ),
    PolicyKey(
        "controls.allow_overclock", Kind.BOOLEAN, Tighten.AND, default=True, closed=False,

        label=QT_TRANSLATE_NOOP("PolicyKeys", "Overclocking"),
        help=QT_TRANSLATE_NOOP("PolicyKeys", "Clocks above the card's own may be set."),
        since="0.1",
    ),
    PolicyKey(
        "privacy.show_other_users_processes", Kind.BOOLEAN, Tighten.AND, default=True,
        closed=False,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Others' processes"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys", "A user sees the processes of other users on a GPU."
        ),
        since="0.1",
    ),
    PolicyKey(
        "service.require_policy", Kind.BOOLEAN, Tighten.OR, default=False, closed=True,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Policy required"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "When the machine policy disappears, the closed policy takes its place instead of "
            "none.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "ui.notify_capped", Kind.BOOLEAN, Tighten.OR, default=True, closed=True,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Tell of caps"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys", "The user is told when a process is capped, why, and who decides."
        ),
        since="0.1",
    ),
    PolicyKey(
        "ui.show_tray", Kind.BOOLEAN, Tighten.AND, default=True, closed=True,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Tray icon"),
        help=QT_TRANSLATE_NOOP("PolicyKeys", "gpupanel may show an icon in the tray."),
        since="0.1",
    ),
)  # fmt: skip

POLICY_KEY_BY_NAME: Mapping[str, PolicyKey] = {key.name: key for key in POLICY_KEYS}

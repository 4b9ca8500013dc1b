"""The past as the History page shows it: asked of the agent, kept until the next answer.

A look is one question in parts: a series per metric, events, energy. Its answer is shown when
every part is there, so that charts of one page are of one time. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from PySide6.QtCore import QObject, Signal

from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId

if TYPE_CHECKING:
    from gpupanel.sampling.energy import Energy
    from gpupanel.sampling.ledger import Account

MOST_POINTS = 720
"""Of one chart: about as many as it has columns of pixels."""

RENEW_LIMITS_S = 2.0
RENEW_S = 10.0
"""The finest point is of 10 s."""

RENEW_NAMES_S = 60.0
RETRY_S = 2.0


class Agent(Protocol):
    """Whom to ask: ``gpupanel.ui.link.Link``."""

    @property
    def is_service(self) -> bool:
        """Whether it is the service: that takes nobody's word for whose a process is."""

    def ask(
        self,
        method: str,
        params: Mapping[str, Any],
        answer: Callable[[Mapping[str, Any]], None],
        refuse: Callable[[str], None],
    ) -> None:
        """Call one of both, later."""

    def want_processes(self, wanted: bool) -> None:
        """Whether to tell of processes."""


class Point(NamedTuple):
    """What the readings of one time came to."""

    time_unix_s: float
    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over the span of a look.

    Attributes:
        width_s: Of a point; where the next one begins later, nothing is known in between.
        points: Oldest first.
    """

    width_s: float = RENEW_S
    points: tuple[Point, ...] = ()

    def stretches(self) -> list[tuple[Point, ...]]:
        """The points, cut at the gaps."""
        cuts = [
            place
            for place in range(1, len(self.points))
            if self.points[place].time_unix_s - self.points[place - 1].time_unix_s
            > 1.5 * self.width_s
        ]
        edges = [0, *cuts, len(self.points)]
        return [self.points[a:b] for a, b in pairwise(edges) if a < b]

    def at(self, time_unix_s: float) -> Point | None:
        """The point that covers a time; None in a gap."""
        return next(
            (one for one in self.points if 0 <= time_unix_s - one.time_unix_s < self.width_s), None
        )


@dataclass(frozen=True, slots=True)
class Question:
    """What a user wants to see.

    Attributes:
        span_s: So long before now.
    """

    gpu_id: GpuId
    metrics: tuple[str, ...]
    span_s: float


@dataclass(frozen=True, slots=True)
class Look:
    """One answer, whole.

    Attributes:
        events: Of this GPU and of the machine, oldest first.
        is_complete: Whether ``events`` are all there were.
        energy: None where no power was measured.
        energy_since_s: The hour with which ``energy`` begins.
    """

    question: Question
    since_s: float
    until_s: float
    curves: Mapping[str, Curve]
    events: tuple[EventRecord, ...]
    is_complete: bool
    energy: Energy | None
    energy_since_s: float


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a kilowatt-hour costs this user.

    Attributes:
        currency: As the user writes it; empty for none.
    """

    price_per_kwh: float = 0.0
    currency: str = ""


class Past(QObject):
    """Asks, and keeps the latest answers.

    Attributes:
        look: The latest answer; None before the first.
        refused: Why the last question was not answered; empty when it was.
        remembered: Metrics by GPU; None until the agent told.
        accounts: What held each GPU back, by GPU and span.
        tariff: What energy costs.

    Signals:
        changed(): Any of it is new.
        tariff_chosen(Tariff): The user entered another price.
    """

    changed = Signal()
    tariff_chosen = Signal(object)

    def __init__(self, agent: Agent | None, parent: QObject | None = None) -> None:
        """``agent`` is None where there is nobody to ask: then nothing is ever known."""
        super().__init__(parent)
        self._agent = agent
        self._asked: tuple[Question, float] | None = None
        self._parts: dict[str, Mapping[str, Any]] | None = None
        self._number = 0
        self._names_due_s = 0.0
        self._limits_due_s = 0.0
        self.look: Look | None = None
        self.refused = ""
        self.remembered: Mapping[GpuId, tuple[str, ...]] | None = None
        self.accounts: Mapping[GpuId, Mapping[str, Account]] = {}
        self.tariff = Tariff()

    def forget(self) -> None:
        """The agent is another one: ask it everything anew; what is known of the past stays."""
        self._number += 1
        self._asked = None
        self._parts = None
        self._names_due_s = 0.0
        self._limits_due_s = 0.0
        self.accounts = {}

    def show(self, question: Question | None) -> None:
        """Have ``look`` be the answer to ``question``; call as often as you like.

        None asks only what there is.
        """
        now_s = time()
        if now_s >= self._names_due_s:
            self._names_due_s = now_s + RENEW_NAMES_S
            self._ask("remembered", {}, self._take_remembered)
        if now_s >= self._limits_due_s:
            self._limits_due_s = now_s + RENEW_LIMITS_S
            self._ask("limits", {}, self._take_limits)
        if question is None:
            return
        is_new = self._asked is None or self._asked[0] != question
        is_old = self._asked is not None and now_s - self._asked[1] >= RENEW_S
        if is_new or (is_old and self._parts is None):
            self._begin(question, now_s)

    @property
    def is_waiting(self) -> bool:
        """Whether what was asked last is another thing than what ``look`` shows."""
        asked = self._asked[0] if self._asked else None
        return self.look is None or (asked is not None and asked != self.look.question)

    def choose_tariff(self, tariff: Tariff) -> None:
        """The user entered what energy costs."""
        if tariff != self.tariff:
            self.tariff = tariff
            self.tariff_chosen.emit(tariff)
            self.changed.emit()

    def _ask(
        self, method: str, params: Mapping[str, Any], take: Callable[[Mapping[str, Any]], None]
    ) -> None:
        if self._agent is not None:
            self._agent.ask(method, params, take, self._take_refusal)

    def _begin(self, question: Question, now_s: float) -> None:
        self._number += 1
        self._asked = question, now_s
        self._parts = {}
        span = {"since_unix_s": now_s - question.span_s, "until_unix_s": now_s}
        asked: dict[str, tuple[str, Mapping[str, Any]]] = {
            key: ("series", {"gpu": question.gpu_id, "metric": key, "points": MOST_POINTS, **span})
            for key in question.metrics
        }
        asked |= {"events": ("events", span), "energy": ("energy", span)}
        for name, (method, params) in asked.items():
            self._ask(method, params, partial(self._take_part, self._number, len(asked), name))

    def _take_part(self, number: int, of: int, name: str, part: Mapping[str, Any]) -> None:
        """Parts of a question that is not asked any more are late, not wrong."""
        if number != self._number or self._parts is None or self._asked is None:
            return
        self._parts[name] = part
        if len(self._parts) == of:
            parts, self._parts = self._parts, None
            self.refused = ""
            self.look = _look(*self._asked, parts)
            self.changed.emit()

    def _take_remembered(self, result: Mapping[str, Any]) -> None:
        self.remembered = {gpu_id: tuple(keys) for gpu_id, keys in result["gpus"].items()}
        self.refused = ""
        self.changed.emit()

    def _take_limits(self, result: Mapping[str, Any]) -> None:
        from gpupanel.sampling.ledger import Account  # after the first frame

        self.accounts = {
            gpu_id: {span: Account.from_json(account) for span, account in spans.items()}
            for gpu_id, spans in result["limits"].items()
        }
        self.changed.emit()

    def _take_refusal(self, reason: str) -> None:
        """Asked again after a while: a history that is not there yet may come."""
        self._number += 1
        self._parts = None
        self._names_due_s = min(self._names_due_s, time() + RETRY_S)
        if reason != self.refused:
            self.refused = reason
            self.changed.emit()


def _look(question: Question, until_s: float, parts: Mapping[str, Mapping[str, Any]]) -> Look:
    from gpupanel.sampling.energy import Energy  # after the first frame

    energy = parts["energy"]["gpus"].get(question.gpu_id)
    events = (EventRecord.from_json(one) for one in parts["events"]["events"])
    return Look(
        question,
        until_s - question.span_s,
        until_s,
        {
            key: Curve(parts[key]["width_s"], tuple(Point(*one) for one in parts[key]["points"]))
            for key in question.metrics
        },
        tuple(one for one in events if one.gpu_id in (None, question.gpu_id)),
        parts["events"]["complete"],
        None if energy is None else Energy(**energy),
        parts["energy"]["since_unix_s"],
    )

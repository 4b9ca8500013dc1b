"""All or nothing: a generation is everything that the sources say at one time, or it is refused.

What was last good is remembered, on the disk and before it is used, so that a broken file never
loosens anything: not now, not after a restart. What is written is guarded against damage by a
checksum; against the user of the directory that it lies in it is not guarded, and need not be:
it decides nothing but what that user's own processes may do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpupanel.files import replace_file
from gpupanel.model.decision import Diagnostic
from gpupanel.policy.claims import (
    Asker,
    Claim,
    MemberClaim,
    Statement,
    statement_as_json,
    statement_from_json,
    statements_for,
)
from gpupanel.policy.compare import loosened
from gpupanel.policy.faults import Fault, error, warning
from gpupanel.policy.machine import conflicts
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, closed_claims, resolve
from gpupanel.policy.sources import ExtraSource, Reading, Sources
from gpupanel.policy.validate import value_is_valid

_MAX_BYTES = 4 * 1024 * 1024
"""More than 96 files can say."""


def load(sources: Sources, extra: ExtraSource | None = None) -> EffectivePolicy:
    """Read everything and say what is in force; remembers what was good.

    A broken machine policy gives STALE or CLOSED, a broken user file leaves the user's last good
    wishes; what was wrong is in the diagnostics.

    Raises:
        PolicyInvalid: ``extra`` is missing or broken: a call that names it must not go on.
    """
    extra_claims = extra.read() if extra else ()
    machine = load_machine(sources)
    user, wish_notes = _wishes(sources)
    return machine.for_user(sources.asker, user, extra_claims, wish_notes)


class PolicyWatch:
    """Tells when the sources have changed and then held still for one poll.

    Made before the first ``load``, polled about once a second. It compares what the file system
    says of each file, so that a directory swapped as a whole is noticed like anything else.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._known = self._seen = self._signature()

    def changed(self) -> bool:
        """Whether to load again; True once for each change."""
        now = self._signature()
        is_settled = now == self._seen
        self._seen = now
        if not is_settled or now == self._known:
            return False
        self._known = now
        return True

    def _signature(self) -> tuple[tuple[str | int, ...], ...]:
        watched = [self._sources.user.path]
        for directory in self._sources.machine.dirs:
            watched.append(directory)
            with suppress(OSError):
                watched += sorted(directory.iterdir())
        lines = tuple(line for path in watched for line in _signature_lines(path))
        registry = self._sources.registry
        return (*lines, *registry.signature()) if registry else lines


def _signature_lines(path: Path) -> Iterator[tuple[str | int, ...]]:
    """What tells one version of a file from another; of a link and of what it leads to."""
    for follow_links in (False, True):
        try:
            status = os.stat(path, follow_symlinks=follow_links)
        except OSError as reason:
            yield str(path), reason.errno or 0
            continue
        yield (
            str(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
            status.st_mode, status.st_uid,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Good:
    """What a source said at one time.

    Attributes:
        generation: From 1; another one for everything else that was said.
        loosened: Keys that it bounded less than the generation before.
    """

    generation: int
    statements: tuple[Statement, ...]
    loosened: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LastGood:
    """What one source said when it was last good, in one file.

    The form: ``{"generation": 7, "claims": [...], "loosened": [...], "sha256": ...}``; the
    checksum covers the rest.
    """

    path: Path

    def read(self) -> Good | None:
        """None if there is none, or it is damaged."""
        try:
            with self.path.open("rb") as file:
                document = json.loads(file.read(_MAX_BYTES))
            said, loose = document["claims"], document["loosened"]
            generation = int(document["generation"])
            if document["sha256"] != _checksum(generation, said, loose):
                return None
            known = tuple(statement_from_json(one) for one in said)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        values = {(one["key"], repr(one["value"])): one for one in said if "key" in one}.values()
        is_valid = all(value_is_valid(one["key"], one["value"]) for one in values)
        return Good(generation, known, tuple(loose)) if is_valid else None

    def keep(self, good: Good) -> None:
        """Remember ``good``, on the disk when this returns.

        Raises:
            OSError: It could not be written; what was there before still is.
        """
        entries = [statement_as_json(one) for one in good.statements]
        loose = list(good.loosened)
        document = {
            "generation": good.generation,
            "sha256": _checksum(good.generation, entries, loose),
            "claims": entries,
            "loosened": loose,
        }
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self.path, json.dumps(document).encode())

    def forget(self) -> None:
        """The source is gone, and was not broken: nothing of it is to be kept.

        Raises:
            OSError: It could not be removed.
        """
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class MachinePolicy:
    """What the machine's authorities say, what that is worth, and what there is to say about it."""

    statements: Sequence[Statement]
    state: PolicyState
    notes: Sequence[Diagnostic] = ()
    loosened: Sequence[str] = ()

    def for_user(
        self,
        asker: Asker,
        wishes: Sequence[Claim] = (),
        extra: Sequence[Claim] = (),
        notes: Sequence[Diagnostic] = (),
    ) -> EffectivePolicy:
        """What is in force for one user, with what he wishes and what there is to say of that."""
        return resolve(
            statements_for(asker, self.statements), wishes, extra,
            state=self.state, diagnostics=(*self.notes, *notes), loosened=self.loosened,
        )  # fmt: skip


def load_machine(sources: Sources) -> MachinePolicy:
    """Read what the machine's authorities say; remembers what was good."""
    reading = sources.read_machine()
    last_good = LastGood(sources.state_dir / "machine.json")
    known = last_good.read()
    if not reading.diagnostics:
        where = str(sources.machine.dirs[0])
        return (
            _accepted(reading, known, last_good, sources.asker)
            if reading.is_present
            else _absent(known, last_good, sources.asker, where)
        )
    if known is None:
        text = "no good machine policy is remembered: the built-in closed policy is in force"
        notes = _with(reading, Fault.NONE_LAST_GOOD, text)
        return MachinePolicy(closed_claims(), PolicyState.CLOSED, notes)
    text = f"the machine policy is broken: its generation {known.generation} stays in force"
    notes = _with(reading, Fault.KEPT_LAST_GOOD, text)
    return MachinePolicy(known.statements, PolicyState.STALE, notes, known.loosened)


def _accepted(
    reading: Reading, known: Good | None, last_good: LastGood, asker: Asker
) -> MachinePolicy:
    """A good reading: remembered, and compared with the one before."""
    notes = (*_about_names(reading, asker), *conflicts(reading.statements))
    good = known
    if good is None or good.statements != reading.statements:
        before = statements_for(asker, known.statements) if known else ()
        looser = loosened(before, statements_for(asker, reading.statements))
        good = Good(known.generation + 1 if known else 1, reading.statements, looser)
        notes = (*notes, *_kept(last_good, good))
    if good.loosened:
        text = f"generation {good.generation} bounds less than the one before: "
        text += ", ".join(good.loosened)
        path = _path_of(reading.statements) or str(last_good.path)
        notes = (*notes, warning(Fault.LOOSENED, path, text))
    return MachinePolicy(reading.statements, PolicyState.MANAGED, notes, good.loosened)


def _absent(known: Good | None, last_good: LastGood, asker: Asker, where: str) -> MachinePolicy:
    """No machine policy: the administrator's choice, unless the last one required one."""
    if known is None:
        return MachinePolicy((), PolicyState.UNMANAGED, _forgotten(last_good))
    before = statements_for(asker, known.statements)
    if resolve(before).is_true("service.require_policy"):
        text = (
            "the machine policy is gone, and it required one: the built-in closed policy is in "
            "force; put a policy there, or one without service.require_policy before none"
        )
        return MachinePolicy(
            closed_claims(), PolicyState.CLOSED, (error(Fault.REQUIRED, where, text),)
        )
    text = f"the machine policy was removed; its generation {known.generation} was in force before"
    notes = (warning(Fault.REMOVED, where, text), *_forgotten(last_good))
    return MachinePolicy((), PolicyState.UNMANAGED, notes, loosened(before, ()))


def _about_names(reading: Reading, asker: Asker) -> tuple[Diagnostic, ...]:
    """That scopes hold for somebody of whom it is not known whether they mean him."""
    found = [one for one in reading.statements if isinstance(one, MemberClaim)]
    if asker.is_named or not any(asker.is_meant(one) for one in found):
        return ()
    text = "your user has no name on this machine: scopes that name users or groups hold for you"
    return (warning(Fault.UNNAMED, _path_of(found), text),)


def _path_of(statements: Sequence[Statement]) -> str:
    """Where the last of them stands."""
    sources = [one.source for one in statements if one.source]
    return sources[-1].path if sources else ""


def _wishes(sources: Sources) -> tuple[Sequence[Claim], Sequence[Diagnostic]]:
    """The user's claims, and what there is to say about them."""
    reading = sources.user.read()
    last_good = LastGood(sources.state_dir / "user.json")
    known = last_good.read()
    if not reading.diagnostics:
        if not reading.is_present:
            return (), _forgotten(last_good)
        if known and known.statements == reading.statements:
            return reading.claims, ()
        good = Good(known.generation + 1 if known else 1, reading.statements)
        return reading.claims, _kept(last_good, good)
    if known is None:
        text = "no good policy of the user is remembered: none of it is in force"
        return (), _with(reading, Fault.NONE_LAST_GOOD, text)
    text = "the user's policy is broken: what it last said stays in force"
    said = Reading(known.statements).claims
    return said, _with(reading, Fault.KEPT_LAST_GOOD, text)


def _with(reading: Reading, fault: Fault, text: str) -> tuple[Diagnostic, ...]:
    return (*reading.diagnostics, warning(fault, reading.diagnostics[0].path, text))


def _kept(last_good: LastGood, good: Good) -> tuple[Diagnostic, ...]:
    """Write a good reading down; what is to be said if that is not possible."""
    try:
        last_good.keep(good)
    except OSError as reason:
        return _not_remembered(last_good, reason)
    return ()


def _forgotten(last_good: LastGood) -> tuple[Diagnostic, ...]:
    """Write down that a source is gone; what is to be said if that is not possible."""
    try:
        last_good.forget()
    except OSError as reason:
        return _not_remembered(last_good, reason)
    return ()


def _not_remembered(last_good: LastGood, reason: OSError) -> tuple[Diagnostic, ...]:
    text = f"a good policy cannot be remembered for bad times: {reason.strerror or reason}"
    return (warning(Fault.NOT_REMEMBERED, str(last_good.path), text),)


def _checksum(
    generation: int, claims: Sequence[dict[str, Any]], loosened_keys: Sequence[str]
) -> str:
    content = [generation, claims, loosened_keys]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

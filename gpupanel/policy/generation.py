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
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpupanel.model.decision import Diagnostic
from gpupanel.policy.faults import Fault, warning
from gpupanel.policy.resolve import Claim, EffectivePolicy, PolicyState, closed_claims, resolve
from gpupanel.policy.sources import ExtraSource, Reading, Sources
from gpupanel.policy.validate import value_is_valid

_MAX_BYTES = 4 * 1024 * 1024
"""More than 64 files can say."""


def load(sources: Sources, extra: ExtraSource | None = None) -> EffectivePolicy:
    """Read everything and say what is in force; remembers what was good.

    A broken machine policy gives STALE or CLOSED, a broken user file leaves the user's last good
    wishes; what was wrong is in the diagnostics.

    Raises:
        PolicyInvalid: ``extra`` is missing or broken: a call that names it must not go on.
    """
    extra_claims = extra.read() if extra else ()
    machine, state, notes = _machine(sources)
    user, wish_notes = _wishes(sources)
    return resolve(machine, user, extra_claims, state=state, diagnostics=(*notes, *wish_notes))


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
        return tuple(line for path in watched for line in _signature_lines(path))


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
class LastGood:
    """What one source said when it was last good, in one file.

    The form: ``{"generation": 7, "sha256": ..., "claims": [...]}``; the checksum covers the rest.
    """

    path: Path

    def read(self) -> tuple[int, tuple[Claim, ...]] | None:
        """Generation and claims; None if there are none, or they are damaged."""
        try:
            with self.path.open("rb") as file:
                document = json.loads(file.read(_MAX_BYTES))
            generation, claims = document["generation"], document["claims"]
            if document["sha256"] != _checksum(int(generation), claims):
                return None
            known = tuple(Claim.from_json(one) for one in claims)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        is_valid = all(value_is_valid(one["key"], one["value"]) for one in claims)
        return (generation, known) if is_valid else None

    def keep(self, claims: Sequence[Claim]) -> None:
        """Remember ``claims``, on the disk when this returns; nothing is written if they are known.

        Raises:
            OSError: They could not be written; what was there before still is.
        """
        known = self.read()
        if known and known[1] == tuple(claims):
            return
        generation = known[0] + 1 if known else 1
        entries = [claim.as_json() for claim in claims]
        document = {
            "generation": generation,
            "sha256": _checksum(generation, entries),
            "claims": entries,
        }
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_durably(self.path, json.dumps(document).encode())

    def forget(self) -> None:
        """The source is gone, and was not broken: nothing of it is to be kept.

        Raises:
            OSError: It could not be removed.
        """
        self.path.unlink(missing_ok=True)


def _machine(
    sources: Sources,
) -> tuple[Sequence[Claim], PolicyState, Sequence[Diagnostic]]:
    """The machine's claims, what they are worth, and what there is to say about them."""
    reading = sources.machine.read()
    last_good = LastGood(sources.state_dir / "machine.json")
    if not reading.diagnostics:
        state = PolicyState.MANAGED if reading.is_present else PolicyState.UNMANAGED
        return reading.claims, state, _remember(last_good, reading)
    known = last_good.read()
    if known is None:
        text = "no good machine policy is remembered: the built-in closed policy is in force"
        return closed_claims(), PolicyState.CLOSED, _with(reading, Fault.NONE_LAST_GOOD, text)
    text = f"the machine policy is broken: its generation {known[0]} stays in force"
    return known[1], PolicyState.STALE, _with(reading, Fault.KEPT_LAST_GOOD, text)


def _wishes(sources: Sources) -> tuple[Sequence[Claim], Sequence[Diagnostic]]:
    """The user's claims, and what there is to say about them."""
    reading = sources.user.read()
    last_good = LastGood(sources.state_dir / "user.json")
    if not reading.diagnostics:
        return reading.claims, _remember(last_good, reading)
    known = last_good.read()
    if known is None:
        text = "no good policy of the user is remembered: none of it is in force"
        return (), _with(reading, Fault.NONE_LAST_GOOD, text)
    text = "the user's policy is broken: what it last said stays in force"
    return known[1], _with(reading, Fault.KEPT_LAST_GOOD, text)


def _with(reading: Reading, fault: Fault, text: str) -> tuple[Diagnostic, ...]:
    return (*reading.diagnostics, warning(fault, reading.diagnostics[0].path, text))


def _remember(last_good: LastGood, reading: Reading) -> tuple[Diagnostic, ...]:
    """Write a good reading down, or that it is gone."""
    try:
        if reading.is_present:
            last_good.keep(reading.claims)
        else:
            last_good.forget()
    except OSError as reason:
        text = f"a good policy cannot be remembered for bad times: {reason.strerror or reason}"
        return (warning(Fault.NOT_REMEMBERED, str(last_good.path), text),)
    return ()


def _checksum(generation: int, claims: Sequence[dict[str, Any]]) -> str:
    canonical = json.dumps([generation, claims], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _write_durably(path: Path, content: bytes) -> None:
    """Replace ``path`` in one step, after the content is on the disk."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name == "posix":
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

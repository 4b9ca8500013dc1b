"""Where policy comes from: the machine's directories, the user's file, a file for one call.

The only I/O of this room besides what ``generation`` remembers. Directories and the trusted
owner come through constructors, never from the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpupanel import paths
from gpupanel.model.decision import Diagnostic
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import NOBODY, Asker, Claim, Scope, Statement
from gpupanel.policy.faults import Fault, error
from gpupanel.policy.identity import this_user
from gpupanel.policy.parse import MAX_FILE_BYTES, parse, parse_machine
from gpupanel.policy.registry import MACHINE_PATH, RegistryKey, parse_registry
from gpupanel.policy.trusted_file import ROOT_ONLY, Trust, plain_read, safe_names, safe_read

if sys.platform == "win32":
    from gpupanel.policy.win32_registry import open_machine_key

MAX_FILES = 96
"""Most drop-ins of one machine."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source said.

    Attributes:
        is_present: Whether there is anything; nothing there is no fault.
        diagnostics: Not empty means that the source is broken as a whole, and says nothing.
    """

    statements: tuple[Statement, ...] = ()
    is_present: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Without what is only said about other claims."""
        return tuple(one for one in self.statements if isinstance(one, Claim))


def together(readings: Sequence[Reading]) -> Reading:
    """All as one unit: one fault anywhere refuses all."""
    faults = tuple(fault for one in readings for fault in one.diagnostics)
    said = tuple(statement for one in readings for statement in one.statements)
    return Reading(() if faults else said, any(one.is_present for one in readings), faults)


@dataclass(frozen=True, slots=True)
class MachineSource:
    """The administrator's drop-ins.

    Of files with one name, the one in the strongest directory counts; an empty file or a link to
    /dev/null masks. Then they apply in byte order of their names, whatever their directory.

    Attributes:
        dirs: Strongest first; those that do not exist are empty.
    """

    dirs: Sequence[Path]
    trust: Trust = ROOT_ONLY

    def read(self) -> Reading:
        """All files as one unit: one fault anywhere refuses all."""
        try:
            files = self._files()
        except PolicyInvalid as refused:
            return Reading((), True, refused.diagnostics)
        return together([self._read_file(path) for path in files])

    def _files(self) -> list[Path]:
        """Unmasked files in the order in which they apply.

        Raises:
            PolicyInvalid: A directory is not safe, cannot be read, or holds too much.
        """
        found: dict[str, Path] = {}
        for directory in self.dirs:
            try:
                names = safe_names(directory, self.trust)
            except FileNotFoundError:
                continue
            for name in names:
                if name.endswith(".toml") and not name.startswith("."):
                    found.setdefault(name, directory / name)
        if len(found) > MAX_FILES:
            text = f"{len(found)} policy files, more than {MAX_FILES}: put them together"
            raise PolicyInvalid([error(Fault.TOO_MANY_FILES, str(self.dirs[0]), text)])
        return [found[name] for name in sorted(found, key=os.fsencode)]

    def _read_file(self, path: Path) -> Reading:
        try:
            raw = safe_read(path, MAX_FILE_BYTES, self.trust)
            return Reading(parse_machine(raw, str(path)), True) if raw else Reading()
        except FileNotFoundError:
            text = "vanished while it was read, or is a link to nothing"
            return Reading((), True, (error(Fault.UNREADABLE, str(path), text),))
        except PolicyInvalid as refused:
            return Reading((), True, refused.diagnostics)


@dataclass(frozen=True, slots=True)
class RegistrySource:
    """Group Policy: what it wrote for the whole machine.

    Attributes:
        open: Gives the key that policy stands in; None where there is none.
    """

    open: Callable[[], RegistryKey | None]

    def read(self) -> Reading:
        """All values as one unit; no values is as good as no key."""
        try:
            root = self.open()
            claims = parse_registry(root, Scope.REGISTRY) if root else ()
        except PolicyInvalid as refused:
            return Reading((), True, refused.diagnostics)
        except OSError as reason:
            text = f"cannot be read: {reason.strerror or reason}"
            return Reading((), True, (error(Fault.UNREADABLE, MACHINE_PATH, text),))
        return Reading(claims, bool(claims))

    def signature(self) -> tuple[tuple[str | int, ...], ...]:
        """What tells one state of the registry from another: all of it, as it is small."""
        try:
            root = self.open()
            return () if root is None else tuple(_content(root))
        except OSError as reason:
            return ((MACHINE_PATH, reason.errno or 0),)


def _content(key: RegistryKey) -> Iterator[tuple[str | int, ...]]:
    for name, kind, content in key.values():
        yield key.path, name, kind, repr(content)
    for _, below in key.subkeys():
        yield from _content(below)


@dataclass(frozen=True, slots=True)
class UserSource:
    """The user's own wishes; a regular file that belongs to whoever runs this process."""

    path: Path

    def read(self) -> Reading:
        """The wishes, or nothing where there is no file."""
        try:
            raw = plain_read(self.path, MAX_FILE_BYTES, own_uid())
            return Reading(parse(raw, str(self.path), Scope.USER), True)
        except FileNotFoundError:
            return Reading()
        except PolicyInvalid as refused:
            return Reading((), True, refused.diagnostics)


@dataclass(frozen=True, slots=True)
class NoUser:
    """In place of a user's wishes in the service, which opens no file of a user's."""

    path: Path = Path(os.devnull)

    def read(self) -> Reading:
        """Nothing, without a look."""
        return Reading()


@dataclass(frozen=True, slots=True)
class ExtraSource:
    """A file that somebody names for one call. It can only tighten, so anybody's will do."""

    path: Path

    def read(self) -> tuple[Claim, ...]:
        """What the file says.

        Raises:
            PolicyInvalid: It is missing or broken; a call that names it must not go on without.
        """
        return parse(named_file(self.path), str(self.path), Scope.EXTRA)


def named_file(path: Path) -> bytes:
    """The content of a file that a person named; anybody's, and it has to be there.

    Raises:
        PolicyInvalid: It is missing, no regular file, or cannot be read.
    """
    try:
        return plain_read(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        text = "there is no such file"
        raise PolicyInvalid([error(Fault.UNREADABLE, str(path), text)]) from None


@dataclass(frozen=True, slots=True)
class Sources:
    """All that is read on one machine for one user, or by the service.

    Attributes:
        state_dir: Where the last good policy is remembered; made when needed.
        asker: Whom it is read for; nobody in particular by default.
        registry: On Windows, a second authority of the machine.
    """

    machine: MachineSource
    user: UserSource | NoUser
    state_dir: Path
    asker: Asker = NOBODY
    registry: RegistrySource | None = None

    def read_machine(self) -> Reading:
        """All authorities of the machine as one unit."""
        readings = [self.machine.read()]
        if self.registry:
            readings.append(self.registry.read())
        return together(readings)

    @classmethod
    def installed(cls) -> Sources:
        """Those of this machine and of this user."""
        return cls(
            MachineSource(paths.machine_policy_dirs()),
            UserSource(paths.user_policy_file()),
            paths.user_state_dir() / "policy",
            this_user(),
            _registry(),
        )

    @classmethod
    def of_machine(cls) -> Sources:
        """Those of the service: places that are constants, and nobody's wishes."""
        state_dir = paths.machine_state_dir() / "policy"
        return cls(
            MachineSource(paths.machine_policy_dirs()), NoUser(), state_dir, NOBODY, _registry()
        )


def _registry() -> RegistrySource | None:
    """On Windows, where Group Policy writes."""
    if sys.platform == "win32":
        return RegistrySource(open_machine_key)
    else:  # noqa: RET505 - for mypy, to which the rest does not exist on Windows
        return None


def own_uid() -> int | None:
    """Who runs this process; None on Windows, which has no such number."""
    if sys.platform == "win32":
        return None
    else:  # noqa: RET505 - for mypy, to which the rest does not exist on Windows
        return os.geteuid()

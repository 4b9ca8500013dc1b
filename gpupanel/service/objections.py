"""Programs of which their user said that they do not mine: by content, kept in a small file."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gpupanel.files import replace_file
from gpupanel.model.errors import ObjectionRefused, PolicyInvalid
from gpupanel.policy.identity import user_of
from gpupanel.policy.trusted_file import plain_read

_MOST = 256
_FILE_BYTES = 65_536
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Objections:
    """What the user said, in one file of the user's state.

    A command's agent may write it while the window's holds: it is read again when it is another.
    """

    def __init__(self, path: Path | None) -> None:
        """``path`` is None where nothing is remembered."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._programs: frozenset[str] = frozenset()
        self._problem = ""

    @property
    def programs(self) -> frozenset[str]:
        """SHA-256 of each, in hexadecimal."""
        self._look()
        return self._programs

    @property
    def problem(self) -> str:
        """Why the file could not be read; empty while all is well."""
        self._look()
        return self._problem

    def add(self, content_sha256: str) -> None:
        """Remember one more, also after this daemon ended.

        Raises:
            ObjectionRefused: It cannot be written down.
        """
        if self._path is None:
            raise ObjectionRefused("this agent remembers nothing")
        if self.problem:
            raise ObjectionRefused(self.problem)
        programs = self.programs | {content_sha256}
        if len(programs) > _MOST:
            raise ObjectionRefused(f"{_MOST} programs are excused already: remove {self._path}")
        text = json.dumps({"version": 1, "sha256": sorted(programs)}, indent=1)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, text.encode())
        except OSError as reason:
            raise ObjectionRefused(f"{self._path} cannot be written: {reason}") from None

    def _look(self) -> None:
        if self._path is None:
            return
        seen = _signature(self._path)
        if seen != self._seen:
            self._seen, self._programs, self._problem = seen, frozenset(), ""
            self._read(self._path)

    def _read(self, path: Path) -> None:
        try:
            self._programs = _programs(plain_read(path, _FILE_BYTES))
        except FileNotFoundError:
            return
        except (PolicyInvalid, ValueError, TypeError, KeyError, RecursionError):
            self._problem = f"{path} is damaged, so nothing in it counts: remove it"


class Objectors:
    """Everybody whose word is kept: one user in the agent, each user in the service."""

    def __init__(self, known: dict[int | None, Objections], directory: Path | None) -> None:
        self._known = known
        self._directory = directory

    @classmethod
    def only(cls, uid: int | None, path: Path | None) -> Objectors:
        """One user, who is whoever runs this process; ``path`` as of ``Objections``."""
        return cls({uid: Objections(path)}, None)

    @classmethod
    def everyone(cls, directory: Path) -> Objectors:
        """Every user, in a file of the name ``UID.json`` each, which only this process writes."""
        files = {path.stem: path for path in directory.glob("*.json")}
        known: dict[int | None, Objections] = {
            int(uid): Objections(path) for uid, path in files.items() if uid.isdecimal()
        }
        return cls(known, directory)

    @property
    def programs(self) -> frozenset[tuple[int | None, str]]:
        """User and SHA-256 of each program that its user spoke for."""
        known = list(self._known.items())
        return frozenset((uid, one) for uid, said in known for one in said.programs)

    @property
    def problem(self) -> str:
        """Why files could not be read; empty while all is well."""
        return "; ".join(filter(None, (said.problem for said in list(self._known.values()))))

    def hears(self, uid: int | None) -> bool:
        """Whether this user's word counts here, as far as policy lets it."""
        return uid in self._known or (self._directory is not None and uid is not None)

    def add(self, uid: int | None, content_sha256: str) -> None:
        """Remember one more program of that user.

        Raises:
            ObjectionRefused: It cannot be written down, or that user's word does not count.
        """
        said = self._known.get(uid)
        if said is None:
            if self._directory is None or uid is None or not user_of(uid).is_named:
                raise ObjectionRefused("your user's word is not kept here")
            said = Objections(self._directory / f"{uid}.json")
        said.add(content_sha256)
        self._known[uid] = said


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Another one when the file is another; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _programs(text: bytes) -> frozenset[str]:
    """What the file says; ValueError, TypeError, KeyError or RecursionError where it is damaged."""
    document = json.loads(text)
    programs: list[str] = document["sha256"]
    if (
        len(text) > _FILE_BYTES
        or document["version"] != 1
        or not all(_SHA256.fullmatch(each) for each in programs)
    ):
        raise ValueError("not a list of programs")
    return frozenset(programs)

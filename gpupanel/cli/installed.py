"""Whether gpupanel's own files are those that were installed: by the list that the wheel brought.

The list lies beside the files. It finds a damaged disk, a half update, an edit; whoever may write
both is root, who could change this program too.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path

import gpupanel
from gpupanel.policy.trusted_file import ROOT_ONLY, Trust, safe_identity

_CACHE = "__pycache__"


@dataclass(frozen=True, slots=True)
class Installed:
    """What became of the files of a package.

    Attributes:
        folder: Where it lies.
        count: Files that were compared; 0 where there is nothing to compare with.
        changed: Of other content than was installed.
        missing: Installed, and gone.
        added: In its folder, and not installed; compiled files are not looked at.
        loose: Root's, and somebody else could write to it; none where the package is a user's.
    """

    folder: Path
    count: int
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()


def installed(trust: Trust = ROOT_ONLY) -> Installed:
    """Look at the package that runs here."""
    folder = Path(os.path.normpath(gpupanel.__file__)).parent
    try:
        return compared(distribution(gpupanel.__name__), folder, trust)
    except PackageNotFoundError:
        return Installed(folder, 0)


def compared(package: Distribution, folder: Path, trust: Trust) -> Installed:
    """The files of ``folder`` with what ``package`` says was installed.

    Args:
        package: As its metadata tells.
        folder: Of the code that runs.
        trust: Who may write to the files of root's package.
    """
    files = [one for one in package.files or () if one.hash and one.hash.mode == "sha256"]
    listed = {Path(os.path.normpath(str(one.locate()))): one for one in files}
    paths = {path: one for path, one in listed.items() if folder in path.parents}
    if _is_editable(package) or not paths:
        return Installed(folder, 0)
    there = {path: one for path, one in paths.items() if path.is_file()}
    return Installed(
        folder,
        len(paths),
        changed=_names(path for path, one in there.items() if not _is_same(path, one)),
        missing=_names(paths.keys() - there.keys()),
        added=_names(path for path in _below(folder) if path not in paths),
        loose=_names(_loose(folder, there, trust)),
    )


def _is_editable(package: Distribution) -> bool:
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


def _is_same(path: Path, one: PackagePath) -> bool:
    assert one.hash is not None
    try:
        digest = hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return False
    return urlsafe_b64encode(digest).rstrip(b"=").decode() == one.hash.value


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if _CACHE not in path.parts and not path.is_dir():
            yield path


def _loose(folder: Path, paths: Iterable[Path], trust: Trust) -> list[Path]:
    is_ours = sys.platform != "win32" and os.stat(folder).st_uid == trust.uid
    return [path for path in paths if is_ours and safe_identity(path, trust) is None]


def _names(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(sorted(map(str, paths)))

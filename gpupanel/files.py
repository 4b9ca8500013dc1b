"""Files of ours that are there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step, after it is on the disk; readable by its owner.

    A reader sees what was there before or all of it, and so does whoever comes after a crash.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)  # interrupted right after, it is in its place
        raise
    settle_directory(path.parent)


def settle_directory(directory: Path) -> None:
    """Wait until new names in it are on the disk too; Windows sees to that itself."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Reading the kernel's small files: one number or one line each.

``os.read`` instead of ``Path.read_text``: a tick reads tens of them, and this costs a third.
"""

from __future__ import annotations

import os

from gpupanel.model.gpu import Unavailable


def read_text(path: str) -> str:
    """The file without surrounding white space.

    Raises:
        OSError: It is not there, not ours to read, or its device is gone.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096).decode("utf-8", "replace").strip()
    finally:
        os.close(descriptor)


def read_number(path: str) -> int:
    """The integer that the file holds.

    Raises:
        OSError: As ``read_text``.
        ValueError: The file holds something else.
    """
    return int(read_text(path))


def unreadable(error: OSError | ValueError, path: str) -> Unavailable:
    """Why ``path`` has no reading, for a person."""
    if isinstance(error, PermissionError):
        return Unavailable(f"needs read permission on {error.filename or path}")
    if isinstance(error, OSError):
        return Unavailable(f"{error.filename or path}: {error.strerror}")
    return Unavailable(f"{path} holds no number")

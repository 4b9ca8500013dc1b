"""The light caches of past runs on disk: one takes seconds to make and never changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np  # noqa: TID253 - worker process only

from gpupanel import paths
from gpupanel.files import replace_file
from gpupanel.stress.mining.ethash_reference import (
    ITEM_BYTES,
    Words,
    light_cache_bytes,
    make_light_cache,
    seed_hash,
)

_CHECKSUM_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class LightCache:
    """The light cache of one epoch.

    Attributes:
        lines: Shape (lines, 16).
        notes: Why the disk did not serve, if it did not.
    """

    lines: Words
    notes: tuple[str, ...] = ()


def cache_file(epoch: int) -> Path:
    """SHA-256 of the light cache, then the light cache."""
    return paths.user_cache_dir() / f"ethash-light-cache-{epoch}.bin"


def load_or_make(epoch: int, progress: Callable[[float], None]) -> LightCache:
    """The epoch's light cache from disk, or made and kept there.

    A file that is damaged or of the wrong length is made again.
    """
    path = cache_file(epoch)
    try:
        kept = _intact(path.read_bytes(), light_cache_bytes(epoch))
    except FileNotFoundError:
        kept = None
    except OSError as error:
        return LightCache(
            _made(epoch, progress), (f"the light cache on disk is unreadable: {error}",)
        )
    if kept is not None:
        progress(1.0)
        return LightCache(kept)
    lines = _made(epoch, progress)
    try:
        _write(path, lines.tobytes())
    except OSError as error:
        return LightCache(lines, (f"the light cache was not kept for the next run: {error}",))
    return LightCache(lines)


def _made(epoch: int, progress: Callable[[float], None]) -> Words:
    return make_light_cache(light_cache_bytes(epoch), seed_hash(epoch), progress)


def _intact(content: bytes, size_bytes: int) -> Words | None:
    body = memoryview(content)[_CHECKSUM_BYTES:]
    if len(body) != size_bytes or hashlib.sha256(body).digest() != content[:_CHECKSUM_BYTES]:
        return None
    return np.frombuffer(body, "<u4").reshape(-1, ITEM_BYTES // 4)


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, hashlib.sha256(body).digest() + body)

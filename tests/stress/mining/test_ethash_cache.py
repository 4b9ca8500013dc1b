from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpupanel import paths
from gpupanel.stress.mining import ethash_cache, ethash_reference
from gpupanel.stress.mining.ethash_cache import cache_file, load_or_make


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Light caches of 1 KiB in a directory of our own; the list grows when one is made."""
    calls: list[float] = []
    monkeypatch.setattr(paths, "user_cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(ethash_cache, "light_cache_bytes", lambda _: 1024)
    make = ethash_reference.make_light_cache

    def counted(size_bytes: int, seed: bytes, progress: Callable[[float], None]) -> Any:
        calls.append(size_bytes)
        return make(size_bytes, seed, progress)

    monkeypatch.setattr(ethash_cache, "make_light_cache", counted)
    return calls


def _content(epoch: int) -> str:
    return load_or_make(epoch, lambda _: None).lines.tobytes().hex()


def test_a_light_cache_is_made_once_per_epoch(made: list[float], vectors: dict[str, Any]) -> None:
    published = vectors["small_cache_1024B"]["values"]
    for _ in range(2):
        assert {epoch: _content(int(epoch)) for epoch in ("0", "1")} == published
    assert len(made) == 2


def _flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: _flip(content, 0),
        lambda content: _flip(content, len(content) - 1),
        lambda content: content[:-64],
        lambda content: content + bytes(64),
        lambda _: b"",
    ],
    ids=["checksum", "last byte", "short", "long", "empty"],
)
def test_a_damaged_file_is_made_again(
    made: list[float], vectors: dict[str, Any], damage: Callable[[bytes], bytes]
) -> None:
    published = vectors["small_cache_1024B"]["values"]["0"]
    _content(0)
    whole = cache_file(0).read_bytes()
    cache_file(0).write_bytes(damage(whole))
    assert _content(0) == published
    assert cache_file(0).read_bytes() == whole
    assert len(made) == 2


def test_no_temporary_file_is_left(made: list[float]) -> None:
    _content(0)
    assert [path.name for path in cache_file(0).parent.iterdir()] == [cache_file(0).name]
    assert made


def test_a_light_cache_that_cannot_be_kept_is_used_and_said(
    made: list[float], vectors: dict[str, Any]
) -> None:
    paths.user_cache_dir().write_text("a file where a directory should be")
    cache = load_or_make(0, lambda _: None)
    assert cache.lines.tobytes().hex() == vectors["small_cache_1024B"]["values"]["0"]
    assert len(cache.notes) == 1
    assert str(paths.user_cache_dir()) in cache.notes[0]
    assert made


def test_progress_grows_to_nearly_one(made: list[float]) -> None:
    fractions: list[float] = []
    load_or_make(0, fractions.append)
    assert fractions == sorted(fractions)
    assert 0.9 < fractions[-1] <= 1
    load_or_make(0, fractions.append)
    assert fractions[-1] == 1
    assert len(made) == 1

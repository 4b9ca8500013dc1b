"""Pictures cross from process to process whole, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpupanel
from gpupanel.model.errors import ProtocolError
from gpupanel.stress.frames import FrameMemory

WRITER = """
import sys
from gpupanel.stress.frames import FrameMemory
frames = FrameMemory.attach(sys.argv[1])
width, height = int(sys.argv[2]), int(sys.argv[3])
for number in range(1, int(sys.argv[4]) + 1):
    rows = height - number % 2
    frames.write(width, rows, bytes([number % 251]) * (4 * width * rows))
print("written", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def frames() -> Iterator[FrameMemory]:
    made = FrameMemory.create(64, 48)
    yield made
    made.close()


@contextmanager
def writer_of(
    frames: FrameMemory, width: int, height: int, count: int
) -> Iterator[subprocess.Popen[str]]:
    """A process that writes ``count`` pictures and waits; killed at the end whatever happens."""
    arguments = [frames.reference, str(width), str(height), str(count)]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments],
        pass_fds=frames.pass_fds, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(gpupanel.__file__).parents[1],
    )  # fmt: skip
    try:
        yield writer
    finally:
        writer.kill()
        writer.communicate(timeout=10)


def test_nothing_to_read_before_the_first_picture(frames: FrameMemory) -> None:
    assert frames.read() is None


def test_a_picture_is_read_once(frames: FrameMemory) -> None:
    frames.write(2, 1, b"ABCDEFGH")

    assert frames.read() == (1, 2, 1, b"ABCDEFGH")
    assert frames.read() is None


@given(st.lists(st.tuples(st.integers(0, 64), st.integers(0, 48), st.booleans()), max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_reader_always_gets_the_latest(
    pictures: list[tuple[int, int, bool]],
) -> None:
    frames = FrameMemory.create(64, 48)
    latest = None
    for number, (width, height, look) in enumerate(pictures, start=1):
        rgbx = bytes([number]) * (4 * width * height)
        frames.write(width, height, rgbx)
        latest = (number, width, height, rgbx)
        if look:
            assert frames.read() == latest
            latest = None
    assert frames.read() == latest
    frames.close()


@pytest.mark.parametrize(("width", "height", "length"), [(64, 49, 64 * 49 * 4), (2, 2, 15)])
def test_a_picture_that_does_not_fit_is_refused(
    frames: FrameMemory, width: int, height: int, length: int
) -> None:
    with pytest.raises(ValueError, match="no picture"):
        frames.write(width, height, bytes(length))
    assert frames.read() is None


def test_a_slot_being_written_is_not_read(frames: FrameMemory) -> None:
    frames.write(1, 1, b"old ")
    slot, start = frames._slot(1)
    frames._words[slot] = 0
    frames._bytes[start : start + 4] = b"torn"
    assert frames.read() is None

    frames._words[slot] = 1
    assert frames.read() == (1, 1, 1, b"torn")


def test_a_size_larger_than_the_memory_is_not_believed(frames: FrameMemory) -> None:
    frames.write(1, 1, b"abcd")
    slot, _ = frames._slot(1)
    frames._words[slot + 1] = 1 << 40

    with pytest.raises(ProtocolError, match="larger than agreed"):
        frames.read()


@pytest.mark.parametrize("reference", ["", "fd:", "fd:x", "fd:987654", "tag:a-b-c", "file:/etc"])
def test_a_wrong_reference_is_an_error_of_the_protocol(reference: str) -> None:
    with pytest.raises(ProtocolError, match="start the worker anew"):
        FrameMemory.attach(reference)


def test_no_torn_picture_from_a_second_process() -> None:
    width, height, wanted = 320, 180, 300
    frames = FrameMemory.create(width, height)
    last, seen = 0, 0
    give_up_at = time.monotonic() + 30.0
    with writer_of(frames, width, height, count=10**9) as writer:
        while seen < wanted and time.monotonic() < give_up_at:
            picture = frames.read()
            if picture is None:
                assert writer.poll() is None, "the writer died"
                continue
            sequence, got_width, got_height, rgbx = picture
            assert sequence > last
            assert (got_width, got_height) == (width, height - sequence % 2)
            assert rgbx == bytes([sequence % 251]) * (4 * got_width * got_height)
            last, seen = sequence, seen + 1
    frames.close()
    assert seen == wanted


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and descriptors are of Linux")
def test_the_last_picture_outlives_a_killed_writer_and_the_memory_nobody() -> None:
    shared = Path("/dev/shm")
    before = set(os.listdir(shared))
    descriptors = set(os.listdir("/proc/self/fd"))
    frames = FrameMemory.create(16, 16)
    with writer_of(frames, 16, 16, 5) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
    assert writer.returncode == -signal.SIGKILL

    picture = frames.read()
    assert picture is not None
    assert picture[:3] == (5, 16, 15)
    frames.close()
    assert set(os.listdir(shared)) <= before
    assert set(os.listdir("/proc/self/fd")) <= descriptors


@pytest.mark.skipif(sys.platform == "win32", reason="seals are of Linux")
def test_the_child_cannot_shrink_the_memory(frames: FrameMemory) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(frames.pass_fds[0], 0)

"""The foreign miner and its neighbour: built once by gcc, started by a test, always ended by it.

They count what they do in a board of shared memory, so that a test reads the truth without asking
them. Every process that carries a board's path in its environment belongs to that board, whatever
it did to its parents, its session or its name.
"""

from __future__ import annotations

import atexit
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import IO, Self

import psutil

SOURCES = Path(__file__).parent
WALLET = "0x00112233445566778899aabbccddeeff00112233"
"""Of nobody."""

MINING = ("-a", "ethash", "-o", "stratum+tcp://127.0.0.1:4444", "-u", WALLET, "-w", "rig")
QUIET = (*MINING, "--api-bind-http", "0")

_FIELDS = ("work", "batches", "pid", "starts", "stop")
_BOARD_BYTES = 64
_PATIENCE_S = 60.0
"""PoCL compiles a kernel that it does not know, perhaps beside other tests."""


@cache
def folder() -> Path:
    """Of what is built, with PoCL's cache; removed at exit."""
    made = Path(tempfile.mkdtemp(prefix="gpupanel-programs-"))
    made.chmod(0o755)  # another user's programs are started from it too
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def built(source: str, name: str) -> Path:
    """``source``.c as a program called ``name``."""
    binary = folder() / name
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", binary, SOURCES / f"{source}.c",
         "-ldl", "-lpthread"],
        check=True, timeout=60,
    )  # fmt: skip
    return binary


class Program:
    """One that computes on the processor until the test is done with it. A context manager."""

    def __init__(
        self, binary: Path, *words: str, seconds: float = 120.0, uid: int | None = None
    ) -> None:
        """Start it; ``wait_until_at_work`` when that matters.

        Args:
            binary: From ``built``.
            words: Its switches.
            seconds: After which it ends in any case.
            uid: Whose it is; ours if left out.
        """
        handle, path = tempfile.mkstemp(prefix="board-", dir=folder())
        os.truncate(handle, _BOARD_BYTES)
        os.fchmod(handle, 0o666)
        self._board = mmap.mmap(handle, _BOARD_BYTES)
        os.close(handle)
        self.path = path
        cache = folder() / f"pocl-{os.geteuid() if uid is None else uid}"
        cache.mkdir(exist_ok=True)
        if uid is not None:
            os.chown(cache, uid, uid)
        environment = {**os.environ, "WORK_BOARD": path, "POCL_CACHE_DIR": str(cache)}
        environment.pop("WORK_UNTIL", None)
        self.process = subprocess.Popen(
            [binary, *words, "--seconds", str(seconds)], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, user=uid, group=uid,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def work(self) -> int:
        """Hashes, or steps, so far: of all its processes."""
        return self._field("work")

    @property
    def starts(self) -> int:
        """How many of its processes have begun to compute."""
        return self._field("starts")

    @property
    def pid(self) -> int:
        """Of the process that began to compute last."""
        return self._field("pid")

    def wait_until_at_work(self, starts: int = 1) -> Self:
        """Until so many processes have begun, and the counter moves."""
        while self.starts < starts:
            assert self._output.readline(), f"it ended before: {self._errors.read()}"
        begun = self.work
        self.wait_for_work(begun + 1)
        return self

    def wait_for_work(self, work: int, patience_s: float = _PATIENCE_S) -> None:
        """Until the counter has come so far."""
        give_up_s = time.monotonic() + patience_s
        while self.work < work:
            assert time.monotonic() < give_up_s, f"it came to {self.work} of {work}"
            time.sleep(0.002)  # nothing else tells of shared memory

    def processes(self) -> list[psutil.Process]:
        """All that live, its children, orphans and successors too."""
        mine = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("WORK_BOARD") == self.path:
                    mine.append(process)
            except psutil.Error:
                continue
        return [one for one in mine if _lives(one)]

    def finished(self) -> int:
        """Wait for the end of the process that was started; its exit code."""
        return self.process.wait(_PATIENCE_S)

    def close(self) -> None:
        """End all of it, however often it is started anew."""
        struct.pack_into("Q", self._board, 8 * _FIELDS.index("stop"), 1)
        while alive := self.processes():
            for process in alive:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(alive, timeout=1)
        self.process.communicate()
        self._board.close()
        os.unlink(self.path)

    @property
    def _output(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def _errors(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr

    def _field(self, name: str) -> int:
        (value,) = struct.unpack_from("Q", self._board, 8 * _FIELDS.index(name))
        return int(value)


def miner(
    *words: str, name: str = "miner", seconds: float = 120.0, uid: int | None = None
) -> Program:
    """The foreign miner; without an API unless ``words`` name its port."""
    arguments = (*MINING, *words) if "--api-bind-http" in words else (*QUIET, *words)
    return Program(built("miner", name), *arguments, seconds=seconds, uid=uid)


def neighbour(*words: str, seconds: float = 120.0, uid: int | None = None) -> Program:
    """Honest work, under a name of its kind."""
    return Program(built("neighbour", "heat2d"), *words, seconds=seconds, uid=uid)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

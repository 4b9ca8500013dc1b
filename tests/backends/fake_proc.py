"""A /proc of processes that exist in a test only, with the files that the kernel would have."""

from __future__ import annotations

import shutil
from pathlib import Path


class FakeProc:
    """Processes come with ``start`` and go with ``end``; ``open`` gives them files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def start(self, pid: int, started: int = 1000, comm: str = "game", called: str = "") -> None:
        folder = self.root / str(pid)
        for name in ("fd", "fdinfo"):
            (folder / name).mkdir(parents=True)
        between = " ".join(["0"] * 18)
        (folder / "stat").write_text(f"{pid} ({comm}) S {between} {started} 0 0\n")
        (folder / "cmdline").write_text(f"{called or comm}\0--fast\0")

    def end(self, pid: int) -> None:
        shutil.rmtree(self.root / str(pid))

    def open(self, pid: int, fd: int, target: str, fdinfo: str = "pos:\t0\n") -> None:
        folder = self.root / str(pid)
        (folder / f"fd/{fd}").unlink(missing_ok=True)
        (folder / f"fd/{fd}").symlink_to(target)
        (folder / f"fdinfo/{fd}").write_text(fdinfo)

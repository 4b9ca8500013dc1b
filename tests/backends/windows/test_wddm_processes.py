"""Who uses a GPU on Windows, on doubles of its libraries."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys

import psutil
import pytest

from gpupanel.backends.wddm import WddmBackend
from gpupanel.backends.windows.win32_processes import Identities, filetime
from tests.backends.fake_windows import (
    NVIDIA,
    Clock,
    FakeWindows,
    backend_on,
    looks,
)


class TestProcesses:
    def with_pids(self, windows: FakeWindows, clock: Clock, pids: dict[int, int]) -> WddmBackend:
        """A backend whose second look has the recording's processes under the pids that live."""
        backend = backend_on(windows, clock)
        recorded = looks("laptop.txt")
        for _, arrays in recorded:
            for items in arrays.values():
                for old, new in pids.items():
                    items[:] = [
                        item._replace(name=item.name.replace(f"pid_{old}_", f"pid_{new}_"))
                        for item in items
                    ]
        windows.look(recorded[0][1])
        backend.probe()
        windows.look(recorded[1][1])
        clock.now_s += 1
        return backend

    def test_who_uses_which_gpu(self, windows: FakeWindows, clock: Clock) -> None:
        # The other pids of the recording are beyond this machine's, and so gone.
        pids = {7788: os.getpid(), 4: 2**31 - 4, 1404: 2**31 - 5, 10472: 2**31 - 6}
        backend = self.with_pids(windows, clock, pids)
        (row,) = backend.processes()
        me = psutil.Process()
        assert (row.gpu_id, row.pid, row.name) == (NVIDIA, os.getpid(), me.name())
        assert row.user == getpass.getuser()
        assert row.memory_used_bytes == 333_795_328
        assert row.utilization_percent == pytest.approx(75)
        assert row.engines == pytest.approx({"3D": 60, "Cuda": 75, "VideoEncode": 10})
        assert row.started == filetime(me.create_time())
        assert json.dumps(row.as_json())

    def test_a_process_on_a_sleeping_gpu_is_not_listed(
        self, windows: FakeWindows, clock: Clock
    ) -> None:
        backend = self.with_pids(windows, clock, {7788: os.getpid()})
        windows.cards[1].state = 4
        assert [row for row in backend.processes() if row.gpu_id == NVIDIA] == []

    def test_a_name_is_asked_once_and_not_kept_of_the_dead(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        identities = Identities()
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            first = identities.of(child.pid)
            assert first is not None
            assert identities.of(child.pid) is first
            child.communicate(b"\n", timeout=30)
            assert identities.of(child.pid) is None
        assert identities._known == {}

    def test_rights_that_are_missing_leave_the_pid(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def denied(pid: int) -> None:
            raise psutil.AccessDenied(pid)

        monkeypatch.setattr(psutil, "Process", denied)
        identity = Identities().of(4)
        assert identity is not None
        assert (identity.started, identity.name, identity.user) == (0, "pid 4", None)

    def test_filetime(self) -> None:
        # Microsoft's documented difference of the two epochs in seconds: 11 644 473 600.
        assert filetime(1.0) == 11_644_473_601 * 10_000_000
        assert filetime(0.0) == 0

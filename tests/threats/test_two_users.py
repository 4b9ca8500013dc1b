"""Two users of one machine whose policy says that they do not see each other, and its service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ipc.conftest import SYSTEM_PYTHON, as_user, open_directory, start_service

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can be two users"
)

MARA, BEN = 61_101, 61_102
POLICY = "schema = 1\nmandatory.privacy.show_other_users_processes = false\n"

COMPUTES = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])
ctypes.CDLL(None).prctl(15, sys.argv[2].encode())
print(flush=True)
while True: pass
"""
"""Has PoCL loaded, as every OpenCL program for processors has, and burns processor time."""

WATCH = """
import json, socket, sys
own = int(sys.argv[2])
wire = socket.socket(socket.AF_UNIX)
wire.connect(sys.argv[1])
wire.settimeout(20)
lines = wire.makefile("rw", encoding="utf-8")
for method, params in (
    ("hello", {"protocol": 1}),
    ("subscribe", {"topic": "processes", "interval_s": 0.5}),
    ("subscribe", {"topic": "events"}),
):
    lines.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) + "\\n")
lines.flush()
for line in lines:
    told = json.loads(line).get("params", {})
    seen = [one for one in told.get("processes", ()) if one["name"].startswith("secret")]
    others = [one for one in told.get("hidden", ()) if one.startswith("other users on cpu")]
    if len(seen) == own and (own == 2 or others):
        print(line)
        break
"""
"""What a client is told, as one line, as soon as so many of the programs are in it."""


@pytest.fixture(scope="module")
def socket_path() -> Iterator[str]:
    directory = open_directory()
    service = start_service(directory)
    policy = directory / "policy.d/50.toml"
    policy.write_text(POLICY)
    policy.chmod(0o644)
    pocl = str(next(Path("/usr/lib").glob("*/libpocl.so.*")))
    programs = [
        subprocess.Popen(
            [SYSTEM_PYTHON, "-I", "-S", "-c", COMPUTES, pocl, name],
            user=uid, group=uid, extra_groups=(), stdout=subprocess.PIPE,
        )
        for uid, name in ((MARA, "secret-mara"), (BEN, "secret-ben"))
    ]  # fmt: skip
    for program in programs:
        assert program.stdout is not None
        program.stdout.readline()
    yield str(service.run_dir / "read-only.sock")
    for program in programs:
        program.kill()
        program.communicate()
    service.close()
    shutil.rmtree(directory)


def told(uid: int, socket_path: str, own: int) -> tuple[dict[str, Any], str]:
    line = as_user(uid, WATCH, socket_path, str(own))
    return json.loads(line)["params"], line


@pytest.mark.parametrize(
    ("uid", "own", "other"),
    [(MARA, "secret-mara", "secret-ben"), (BEN, "secret-ben", "secret-mara")],
)
def test_a_user_is_told_of_his_own_and_of_others_a_sum(
    socket_path: str, uid: int, own: str, other: str
) -> None:
    told_now, line = told(uid, socket_path, 1)
    assert [one["name"] for one in told_now["processes"]] == [own]
    assert other not in line
    assert [one for one in told_now["hidden"] if one.startswith("other users on cpu: ")]


def test_the_administrator_is_told_of_both(socket_path: str) -> None:
    told_now, _ = told(0, socket_path, 2)
    assert {one["name"] for one in told_now["processes"]} >= {"secret-mara", "secret-ben"}

"""Every file that the service asks the kernel for, as strace sees it: nothing of any user's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0 or not shutil.which("strace"),
    reason="needs root and strace, which packaging/dev test installs",
)

ROOT = Path(__file__).parents[2]
STEERING = (
    "HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_DATA_DIRS",
    "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "APPDATA", "GPUPANEL_CONFIG",
    "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY", "CONFIGURATION_DIRECTORY",
)  # fmt: skip

IN_THERE = """
for place in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $place; done
mkdir -p /var/lib/gpupanel /var/log/gpupanel
cd "$1"; shift
exec "$@"
"""
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")

ZIP = f"lib/python{sys.version_info.major}{sys.version_info.minor}.zip"
CODE = {
    *sys.path, sys.prefix, sys.base_prefix, sys.executable, str(ROOT),
    # Where an interpreter looks for its library, from its own place upwards.
    *(str(above / ZIP) for above in Path(sys.base_prefix).parents),
}  # fmt: skip
SYSTEM = {
    "/usr", "/lib", "/lib64", "/bin", "/proc", "/sys", "/dev",
    "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/etc/nsswitch.conf",
    "/etc/passwd", "/etc/group", "/etc/userdb", "/etc/ssl",
    "/run/systemd", "/run/userdb", "/run/host/userdb", "/run/dbus", "/var/run/nscd",
}  # fmt: skip
OWN = {
    "/etc/gpupanel", "/run/gpupanel", "/usr/lib/gpupanel", "/var/lib/gpupanel", "/var/log/gpupanel",
}  # fmt: skip
_PATH = re.compile(r'^[0-9]+ +\w+\((?:(?:\w+<(?P<folder>[^>]*)>|[0-9]+), )?"(?P<path>[^"]*)"')


def asked_for(trace: str) -> set[str]:
    """Absolute paths; what is relative belongs to the folder whose descriptor is given."""
    found = set()
    for line in trace.splitlines():
        match = _PATH.match(line)
        if match and match["path"] and "execve(" not in line:
            found.add(os.path.normpath(os.path.join(match["folder"] or ".", match["path"])))
    return found


def test_it_asks_for_nothing_of_a_users(tmp_path: Path) -> None:
    poison, trace = tmp_path / "poison", tmp_path / "trace"
    for name in ("", *STEERING):
        (poison / name / "gpupanel/policy.d").mkdir(parents=True)
        (poison / name / "gpupanel/policy.d/50.toml").write_text("schema = 1\n")
    ours = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    done = subprocess.run(
        [
            *(*NAMESPACES, "sh", "-ec", IN_THERE, "sh", poison),
            *("strace", "-f", "-qq", "-y", "-e", "trace=%file", "-e", "signal=none"),
            *("-o", trace, sys.executable, "-P", "-m", "tests.threats.opened_files"),
        ],
        env={**ours, "PYTHONPATH": str(ROOT), **{one: str(poison / one) for one in STEERING}},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "policy unmanaged, 1 GPU\n" * 2
    asked = asked_for(trace.read_text())
    assert {"/etc/gpupanel/policy.d", "/var/lib/gpupanel/history.db"} <= asked
    allowed = {os.path.normpath(one) for one in CODE | SYSTEM | OWN}
    assert sorted(path for path in asked if not is_allowed(path, allowed)) == []


def is_allowed(path: str, allowed: set[str]) -> bool:
    """It is one of them, below one, or on the way to one."""
    return any(
        path == one or path.startswith(f"{one}/") or one.startswith(f"{path.rstrip('/')}/")
        for one in allowed
    )

"""What a user of the machine tries against the service: each attempt is refused, and it goes on."""

from __future__ import annotations

import pytest

from tests.service.systemd.machine import UNIT, USER_UID, Machine

BUS = "busctl --timeout=5 call org.freedesktop.systemd1"
MANAGER = f"{BUS} /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager"
OBJECT = f"{BUS} /org/freedesktop/systemd1/unit/gpupaneld_2eservice org.freedesktop.systemd1.Unit"
CONNECT = (
    "/usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])'"
)
GROUP = f"/sys/fs/cgroup/system.slice/{UNIT}"

REFUSALS = (
    "access denied", "permission denied", "not permitted", "interactive authentication required",
    "not available on non-delegated units", "only root",
)  # fmt: skip

ATTEMPTS = {
    "stop": f"systemctl stop {UNIT}",
    "restart": f"systemctl restart {UNIT}",
    "reload": f"systemctl reload {UNIT}",
    "kill": f"systemctl kill --signal=KILL {UNIT}",
    "freeze": f"systemctl freeze {UNIT}",
    "mask": f"systemctl mask --runtime {UNIT}",
    "disable": f"systemctl disable {UNIT}",
    "set a property": f"systemctl set-property {UNIT} MemoryMax=1M",
    "set the environment": "systemctl set-environment LD_PRELOAD=/tmp/evil.so",
    "reread all units": "systemctl daemon-reload",
    "isolate": "systemctl isolate rescue.target",
    "clean what it remembers": f"systemctl clean --what=state {UNIT}",
    "a unit that conflicts": f"systemd-run --property=Conflicts={UNIT} true",
    "stop over the bus": f"{MANAGER} StopUnit ss {UNIT} replace",
    "kill over the bus": f"{MANAGER} KillUnit ssi {UNIT} all 9",
    "kill the object": f"{OBJECT} Kill si all 9",
    "stop the object": f"{OBJECT} Stop s replace",
    "mask over the bus": f"{MANAGER} MaskUnitFiles asbb 1 {UNIT} true true",
    "properties over the bus": f"{MANAGER} SetUnitProperties 'sba(sv)' {UNIT} 1 1 MemoryMax t 1",
    "freeze over the bus": f"{MANAGER} FreezeUnit s {UNIT}",
    "move itself in": f"{MANAGER} AttachProcessesToUnit ssau {UNIT} / 1 $$",
    "SIGKILL": "kill -KILL $PID",
    "SIGSTOP": "kill -STOP $PID",
    "SIGTERM": "kill -TERM $PID",
    "SIGHUP": "kill -HUP $PID",
    "limit its processor time": "prlimit --pid $PID --cpu=1",
    "make it wait": "renice -n 19 -p $PID",
    "read its memory": "cat /proc/$PID/mem",
    "read its environment": "cat /proc/$PID/environ",
    "have it die first": "echo 1000 >/proc/$PID/oom_score_adj",
    "enter it": "nsenter --target $PID --net true",
    "freeze its group": f"echo 1 >{GROUP}/cgroup.freeze",
    "kill its group": f"echo 1 >{GROUP}/cgroup.kill",
    "join its group": f"echo $$ >{GROUP}/cgroup.procs",
    "take it out of its group": "echo $PID >/sys/fs/cgroup/cgroup.procs",
    "write its unit": f"echo >/etc/systemd/system/{UNIT}",
    "write a drop-in": f"mkdir /run/systemd/system/{UNIT}.d",
    "write its code": "echo >/opt/gpupanel/lib/evil.py",
    "move its code": "mv /opt/gpupanel /opt/other",
    "write policy": "echo >/etc/gpupanel/policy.d/99-mine.toml",
    "write passing policy": "mkdir /run/gpupanel/policy.d",
    "move its sockets": "mv /run/gpupanel /run/other",
    "take its socket away": "rm /run/gpupanel/read-only.sock",
    "put a socket there": "ln -s /tmp/mine.sock /run/gpupanel/mine.sock",
    "control": f"{CONNECT} /run/gpupanel/control.sock",
    "forge its history": "echo >/var/lib/gpupanel/history.db",
    "read its history": "ls /var/lib/gpupanel",
    "read its log": "ls /var/log/gpupanel",
    "run it": "/opt/gpupanel/bin/python3 -I -m gpupanel service",
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_a_user_is_refused(machine: Machine, attempt: str) -> None:
    pid = machine.show("MainPID")
    command = f"PID={pid}; export LC_ALL=C; {attempt}"
    tried = machine.attempt("sh", "-c", command, user=USER_UID)
    assert tried.returncode != 0
    assert any(word in tried.stdout.lower() for word in REFUSALS), tried.stdout
    assert (machine.show("MainPID"), machine.show("ActiveState")) == (pid, "active")

"""A stand-in for the agent as a real process: speaks the protocol, knows one made-up GPU.

``fake_agent.py MODE [PIDFILE]``: ``good``, ``crash`` (after the first snapshot), ``babble``
(something that is no message), ``old`` (another protocol), ``deaf`` (ignores the end of stdin).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from gpupanel.model.gpu import (
    GpuInfo,
    GpuKind,
    ProcessKind,
    ProcessSample,
    Reading,
    Sample,
    Snapshot,
    Unavailable,
)

GPU = GpuInfo(
    "GPU-1f1e2d3c", "Fake GPU", "nvidia", GpuKind.GPU, "nvml", "1.2.3", "00000000:01:00.0",
    24 << 30, {"power_limit_w": 450.0},
)  # fmt: skip
LOCK = threading.Lock()


def say(message: dict[str, Any]) -> None:
    with LOCK:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def snapshot(tick: int) -> dict[str, Any]:
    readings: dict[str, Reading] = {
        "utilization_gpu_percent": 40.0 + tick % 20,
        "power_draw_w": 250.0,
        "fan_speed_percent": Unavailable("not supported on this board"),
    }
    return Snapshot(1.7e9 + tick, 1000.0 + tick, (Sample(GPU.id, readings),)).as_json()


def process() -> dict[str, Any]:
    kind, unknown = ProcessKind.COMPUTE, Unavailable("not told")
    return ProcessSample(GPU.id, 7, 70, "python3", "mara", kind, unknown, 81.0).as_json()


def hold() -> dict[str, Any]:
    from gpupanel.model.hold import Hold

    return Hold(
        "hold-1-1", -2, "mara", "xmrig", 7, 70, 3,
        (GPU.id,), "throttle", "throttle", 50, 49.0, 10.0, 1.7e9, 1.7e9,
        "mining.action = throttle, set by the built-in default", "cgroup v2 freezer",
    ).as_json()  # fmt: skip


def policy() -> dict[str, Any]:
    from gpupanel.policy.resolve import PolicyState, resolve

    return resolve((), state=PolicyState.UNMANAGED).as_json()


def answer(method: str, protocol: int) -> dict[str, Any]:
    match method:
        case "hello":
            return {"protocol": protocol, "version": "0.0", "scope": "user"}
        case "gpus":
            return {
                "gpus": [GPU.as_json()],
                "backends": [{"name": "nvml", "state": "ok", "reason": ""}],
            }
        case "policy":
            return policy()
        case "holds":
            return {"holds": []}
        case "history":
            return {"snapshots": [snapshot(tick) for tick in range(10)]}
        case _:
            return {"subscription": 1}


def tick_on(mode: str) -> None:
    for tick in range(10, 1000):
        say({"method": "snapshot", "params": {"subscription": 1, "snapshot": snapshot(tick)}})
        if mode == "crash":
            sys.stderr.write("vendor library: boom\n")
            sys.stderr.flush()
            os.kill(os.getpid(), 9)
        time.sleep(0.05)


def follow(request: dict[str, Any], mode: str) -> None:
    """What comes unasked after an answer."""
    if request["method"] == "unsubscribe":
        say({"method": "processes", "params": {"processes": [], "hidden": ["unsubscribed"]}})
    if request["params"].get("topic") == "processes":
        say({"method": "processes", "params": {"processes": [process()], "hidden": ["why"]}})
    if request["method"] == "holds":
        say({"method": "holds", "params": {"subscription": 1, "holds": [hold()]}})
    if request["params"].get("topic") == "snapshots":
        threading.Thread(target=tick_on, args=(mode,), daemon=True).start()


def main() -> None:
    mode = sys.argv[1]
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    for line in sys.stdin:
        request = json.loads(line)
        if mode == "babble":
            sys.stdout.write("hello there\n")
            sys.stdout.flush()
            continue
        if request["method"] == "series":
            say({"id": request["id"], "error": {"code": -32002, "message": "no history here"}})
            continue
        result = answer(request["method"], 99 if mode == "old" else 1)
        say({"id": request["id"], "result": result})
        follow(request, mode)
    if mode == "deaf":
        time.sleep(60)
    os._exit(0)


if __name__ == "__main__":
    main()

"""Holds as the service tells them, of a made-up user's programs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

from gpupanel.model.hold import Hold
from tests.ui.conftest import SITE

GPU_ID = "GPU-0f1e2d3c-1234-5678"
OWN_UID = os.getuid() if hasattr(os, "getuid") else None
CAP = f"mining.max_efficiency_percent = 50, set by the machine policy ({SITE}:4:1)"
ACTION = "mining.action = throttle, set by the built-in default"


def made(**changed: Any) -> Hold:
    """One that is in force since ten minutes; ``acts_in_s`` moves its beginning."""
    now_s = time.time()
    acts_in_s = changed.pop("acts_in_s", -600.0)
    hold = Hold(
        "hold-1-1", OWN_UID, "mara", "xmrig", 7, 1007, 3, (GPU_ID,), "throttle", "throttle", 50,
        49.2, 10.0, now_s - 610, now_s + acts_in_s, f"{CAP}; {ACTION}", "cgroup v2 freezer",
        may_release=True,
    )  # fmt: skip
    return replace(hold, **changed)

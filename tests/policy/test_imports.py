from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"pydantic", "numpy", "psutil", "PySide6", "pyopencl", "pynvml", "rich"}


@pytest.mark.parametrize(
    "module",
    ["policy.keys", "policy.resolve", "policy.decide", "policy.limiter", "policy.generation",
     "policy.validate", "cli.policy"],
)  # fmt: skip
def test_the_window_can_import_policy_without_paying_for_pydantic(module: str) -> None:
    code = f"import sys, gpupanel.{module}; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(answer.stdout.decode().split())
    assert f"gpupanel.{module}" in loaded
    assert not {name.partition(".")[0] for name in loaded} & HEAVY

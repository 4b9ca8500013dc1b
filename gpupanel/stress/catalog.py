"""WORKLOADS, the one list of loads: what the window and the command line show.

Imports nothing of OpenCL; the host sides are named as text and imported by the worker.
"""

from __future__ import annotations

from collections.abc import Mapping

from gpupanel.model.errors import WorkloadError
from gpupanel.model.workload import WorkloadInfo
from gpupanel.stress.ai.loads import LOADS as AI
from gpupanel.stress.diagnostics.loads import LOADS as DIAGNOSTICS
from gpupanel.stress.gaming.loads import LOADS as GAMING
from gpupanel.stress.mining.loads import LOADS as MINING

WORKLOADS: tuple[WorkloadInfo, ...] = (*MINING, *AI, *GAMING, *DIAGNOSTICS)

WORKLOAD_BY_NAME: Mapping[str, WorkloadInfo] = {workload.name: workload for workload in WORKLOADS}


def choose_knobs(info: WorkloadInfo, asked: Mapping[str, int], *, is_cpu: bool) -> dict[str, int]:
    """All knobs of a load: what was asked, else the default of this kind of device.

    Raises:
        WorkloadError: A knob is unknown or out of its bounds.
    """
    known = {knob.name: knob for knob in info.knobs}
    for name, value in asked.items():
        if name not in known:
            raise WorkloadError(f"{info.name} has no knob {name}; it has {', '.join(known)}")
        knob = known[name]
        if not knob.low <= value <= knob.high:
            raise WorkloadError(f"{info.name}: {name}={value} is outside {knob.low} to {knob.high}")
        if knob.choices and value not in knob.choices:
            choices = ", ".join(map(str, knob.choices))
            raise WorkloadError(f"{info.name}: {name}={value} is none of {choices}")
    defaults = {knob.name: knob.default_cpu if is_cpu else knob.default for knob in info.knobs}
    return {**defaults, **asked}

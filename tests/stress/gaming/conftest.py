from __future__ import annotations

import pyopencl as cl
import pytest

from gpupanel.stress.workload import Device


@pytest.fixture(scope="session")
def device() -> Device:
    """The processor through PoCL, with packets of 16."""
    processor = next(
        item
        for platform in cl.get_platforms()
        for item in platform.get_devices()
        if item.type & cl.device_type.CPU
    )
    context = cl.Context([processor])
    profiled = cl.command_queue_properties.PROFILING_ENABLE
    queue = cl.CommandQueue(context, properties=profiled)
    return Device(context, queue, is_cpu=True, lanes=16, memory_bytes=1 << 28)

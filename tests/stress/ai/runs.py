"""Short runs of the AI loads, as the worker does them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyopencl as cl

from gpupanel.stress.workload import Check, Chunk, Device

LANES = (1, 8, 16)


def finish(load: Any, chunk: Chunk) -> None:
    chunk.last.wait()
    load.complete(chunk)


def verified(load: Any) -> list[Check]:
    """What verify() says of all that was launched: one call fetches, the next compares."""
    load.verify()
    checks: list[Check] = load.verify()
    return checks


def run(load: Any, steps: int) -> list[Check]:
    finish(load, load.launch(steps))
    return verified(load)


def failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def detail(checks: list[Check], name: str) -> str:
    return next(check.detail for check in checks if check.name == name)


def overwrite(device: Device, buffer: cl.Buffer, word: int, value: float | np.generic) -> None:
    """What a fault of the device's memory would do to one word."""
    host = np.full(1, value, np.float32) if isinstance(value, float) else np.full(1, value)
    cl.enqueue_copy(device.queue, buffer, host, dst_offset=4 * word)


def flip_bit(device: Device, buffer: cl.Buffer, word: int, bit: int = 0) -> None:
    """Change one bit of one word."""
    host = np.empty(1, np.uint32)
    cl.enqueue_copy(device.queue, host, buffer, src_offset=4 * word)
    cl.enqueue_copy(device.queue, buffer, host ^ np.uint32(1 << bit), dst_offset=4 * word)


def word_of(device: Device, buffer: cl.Buffer, word: int) -> float:
    host = np.empty(1, np.float32)
    cl.enqueue_copy(device.queue, host, buffer, src_offset=4 * word)
    return float(host[0])

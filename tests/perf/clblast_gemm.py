"""CLBlast's product and ours on the same queue, in a process of their own; prints their rates.

python clblast_gemm.py SIZE ROUNDS
"""

from __future__ import annotations

import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import pyopencl as cl

from gpupanel.stress.ai.gemm import Gemm
from gpupanel.stress.device import open_device

ROW_MAJOR, NOT_TRANSPOSED = 101, 111


def rates(size: int, rounds: int) -> dict[str, float]:
    """Median flop per second of both."""
    device = open_device("cpu", None)
    gemm = Gemm(device.with_variant(Gemm.variants(device)[0]), {"size": size}, 1)
    gemm.prepare(lambda step, fraction: None)
    theirs = clblast(device.queue, size)

    def one_pass() -> None:
        gemm.launch(gemm.product.tiles).last.wait()

    ours: list[float] = []
    peer: list[float] = []
    for _ in range(rounds + 1):  # the first compiles
        peer.append(timed(theirs))
        ours.append(timed(one_pass))
    flop = 2 * size**3
    return {
        "clblast": flop / statistics.median(peer[1:]),
        "gpupanel": flop / statistics.median(ours[1:]),
    }


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def clblast(queue: cl.CommandQueue, size: int) -> Callable[[], None]:
    """CLBlastSgemm on random matrices; checked once against NumPy."""
    library = ctypes.CDLL("libclblast.so.1")
    random = np.random.default_rng(1)
    a, b = random.standard_normal((2, size, size), np.float32)
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    buffers = [cl.Buffer(queue.context, flags, hostbuf=one) for one in (a, b, np.zeros_like(a))]
    queue_pointer = ctypes.c_void_p(queue.int_ptr)
    number, zero = ctypes.c_size_t(size), ctypes.c_size_t(0)

    def multiply() -> None:
        at_a, at_b, at_c = (ctypes.c_void_p(buffer.int_ptr) for buffer in buffers)
        status = library.CLBlastSgemm(
            ROW_MAJOR, NOT_TRANSPOSED, NOT_TRANSPOSED, number, number, number,
            ctypes.c_float(1), at_a, zero, number, at_b, zero, number,
            ctypes.c_float(0), at_c, zero, number, ctypes.byref(queue_pointer), None,
        )  # fmt: skip
        assert status == 0, f"CLBlast says {status}"
        queue.finish()

    multiply()
    result = np.empty_like(a)
    cl.enqueue_copy(queue, result, buffers[2])
    np.testing.assert_allclose(result[:8], a[:8] @ b, atol=1e-2)
    return multiply


if __name__ == "__main__":
    print(json.dumps(rates(*map(int, sys.argv[1:]))))

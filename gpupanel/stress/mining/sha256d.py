"""The load ``mining.sha256d``: nothing but 32-bit integer arithmetic."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.mining.known_answers import Vectors, built_in, expected_form
from gpupanel.stress.mining.miner import Miner
from gpupanel.stress.mining.search import (
    HASH_ENTRY,
    Found,
    Search,
    SearchKernel,
    Shape,
    exchange_for,
    group_of,
    macros_of,
)
from gpupanel.stress.mining.sha256d_reference import (
    BLOCK_BYTES,
    HEADER_BYTES,
    INITIAL,
    compressed,
    header_of,
    nonce_of,
    padded,
    sha256d,
)
from gpupanel.stress.program import build
from gpupanel.stress.workload import Check, Device, Report, Variant, lane_variants

_VECTORS_PER_ITEM = 16

# 32-bit operations that a nonce needs at least: a rotation is one, and so is any logic of three
# inputs, as on all of today's GPUs and AVX-512. Counted with two shifts and an or for a rotation
# and two inputs at a time it would be 6303, and a processor that has both would exceed its
# ceiling. The first compression begins after three rounds that no nonce changes, the second ends
# three rounds early, and neither needs the last words of its message schedule.
_ROUND_OPERATIONS = 7 + 6 + 4
_WORD_OPERATIONS = 3 + 6 + 2
_ROUNDS = 61 + 61
_WORDS = 46 + 45
_OPERATIONS = _ROUNDS * _ROUND_OPERATIONS + _WORDS * _WORD_OPERATIONS


class Sha256d(Miner[Found]):
    """Host side of ``mining.sha256d``; it has no knobs."""

    nonces_per_header = 2**32

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        super().__init__(device, HEADER_BYTES, seed)
        assert not knobs
        self._program: cl.Program

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By the number of nonces in a vector, which also hides the latency of an operation."""
        if device.is_cpu:
            return lane_variants(device)
        return tuple(Variant(f"vectors of {width}", width) for width in (1, 2, 4))

    def prepare(self, report: Report) -> None:
        """The kernels; there is nothing to allocate.

        Raises:
            BuildFailed: The kernels do not compile.
        """
        report("kernels", 0.0)
        macros = {"VECTORS": _VECTORS_PER_ITEM, **macros_of(self._device)}
        self._program = build(self._device.context, "mining_sha256d.cl", macros)
        self._searcher = HeaderSearch(self._device, self._program, self._header)
        self._step_nonces = self._searcher.shape.nonces_per_step(self._device)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Blocks of Bitcoin's chain, whose nonces the device has to find."""
        with expected_form("sha256d"):
            checks = list(self._known_answers(built_in("sha256d") if vectors is None else vectors))
        return checks or [Check("vectors", False, "there is no answer for sha256d in them")]

    def cost(self) -> Cost:
        """Additions, rotations, shifts and logic of two compressions."""
        return Cost({Ceiling.INT32: float(_OPERATIONS)})

    def _expected(self, nonces: Sequence[int]) -> Sequence[Found]:
        return [Found(nonce, sha256d(header_of(self._header, nonce))) for nonce in nonces]

    def _known_answers(self, vectors: Vectors) -> Iterator[Check]:
        if "nist" in vectors:
            state = self._compressed_on_device(INITIAL, padded(b"abc"))
            passed = struct.pack(">8I", *state).hex() == vectors["nist"]["sha256_abc"]
            yield Check("SHA-256 of abc", passed, "device")
        for name, case in vectors.items():
            if "header_80B" in case:
                header = bytes.fromhex(case["header_80B"])
                if len(header) != HEADER_BYTES:
                    raise ValueError(f"the header of {name} has {len(header)} bytes")
                yield from self._block(name, header, case)

    def _block(self, name: str, header: bytes, case: Vectors) -> Iterator[Check]:
        if "midstate_u32" in case:
            answer = tuple(int(word, 16) for word in case["midstate_u32"])
            host = compressed(INITIAL, header[:BLOCK_BYTES])
            yield Check(f"midstate of {name}", host == answer, "host")
            made = self._compressed_on_device(INITIAL, header[:BLOCK_BYTES])
            yield Check(f"midstate of {name}", made == answer, "device")
        search = HeaderSearch(self._device, self._program, header)
        nonce, window = nonce_of(header), search.shape.nonces_per_group
        # Only the lower half wraps around: the upper one is the time of the header.
        first = nonce >> 32 << 32 | (nonce - window // 2) % 2**32
        found = search.enqueue(first, window, 2**32).results().found
        expected = Found(nonce, bytes.fromhex(case["block_hash"])[::-1])
        yield Check(f"nonce of {name}", found == (expected,), "device")

    def _compressed_on_device(self, state: Sequence[int], block: bytes) -> tuple[int, ...]:
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        words = np.array(state, np.uint32)
        buffers = [
            cl.Buffer(self._device.context, flags, hostbuf=content)
            for content in (words, np.frombuffer(block, ">u4").astype(np.uint32))
        ]
        queue = self._device.queue
        cl.Kernel(self._program, "compress_block")(queue, (1,), None, *buffers)
        cl.enqueue_copy(queue, words, buffers[0])
        return tuple(map(int, words))


class HeaderSearch(SearchKernel[Found]):
    """Searches headers that differ in their time, the upper half of a nonce, and their nonce."""

    def __init__(self, device: Device, program: cl.Program, template: bytes) -> None:
        self._template = template
        midstate = compressed(INITIAL, template[:BLOCK_BYTES])
        arguments = (
            exchange_for(device),
            cl.cltypes.make_uint8(*midstate),
            cl.cltypes.make_uint4(0, 0, 0, 0),
        )
        shape = Shape(group_of(device), _VECTORS_PER_ITEM * device.lanes)
        super().__init__(device, cl.Kernel(program, "search"), arguments, shape, HASH_ENTRY)

    def enqueue(self, first_nonce: int, nonces: int, target: int) -> Search[Found]:
        """All of one header: lower halves wrap around, the upper half is that of the first."""
        words = struct.unpack(">3I", header_of(self._template, first_nonce)[BLOCK_BYTES:76])
        self._kernel.set_arg(5, cl.cltypes.make_uint4(*words, 0))
        return super().enqueue(first_nonce, nonces, target)

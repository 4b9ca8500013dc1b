"""The load ``mining.kheavyhash``: integer arithmetic, of 64 bits in Keccak, of 16 in a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.mining.kheavyhash_reference import (
    HEAVY_NAME,
    POW_NAME,
    SIZE,
    Matrix,
    heavy_hash,
    kheavyhash,
    matrix_of,
    padded_state,
    pow_hash,
    xoshiro256pp,
)
from gpupanel.stress.mining.known_answers import Vectors, built_in, expected_form
from gpupanel.stress.mining.miner import Miner
from gpupanel.stress.mining.search import (
    HASH_ENTRY,
    Found,
    SearchKernel,
    Shape,
    exchange_for,
    group_of,
    hashes_of,
    macros_of,
)
from gpupanel.stress.program import build
from gpupanel.stress.workload import Check, Device, Report, Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADER_BYTES = 40

# 32-bit operations that a nonce needs at least, counted as in sha256d.py; a 64-bit one is two, a
# multiply-add is one. A round of Keccak: 10 for the parities, 5 rotations of them, 25 times a word
# with two of them, 24 rotations, 25 for chi, the constant.
_KECCAK = 24 * 2 * (10 + 5 + 25 + 24 + 25 + 1)
_MATRIX = SIZE * SIZE // 2
_OPERATIONS = 2 * _KECCAK + _MATRIX


class KHeavyHash(Miner[Found]):
    """Host side of ``mining.kheavyhash``; it has no knobs."""

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        super().__init__(device, _HEADER_BYTES, seed)
        assert not knobs
        self._matrix: Matrix
        self._program: cl.Program

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By the rows of the matrix that are multiplied at once."""
        return tuple(
            Variant(f"{4 * quads} rows at once", device.lanes, {"QUADS": quads})
            for quads in (2, 1, 4)
        )

    def prepare(self, report: Report) -> None:
        """Matrix and kernels.

        Raises:
            BuildFailed: The kernels do not compile.
        """
        report("kernels", 0.0)
        self._matrix = matrix_of(self._header[:32])
        self._program = build(self._device.context, "mining_kheavyhash.cl", macros_of(self._device))
        self._searcher = HeavySearch(self._device, self._program, self._header, self._matrix)
        self._step_nonces = self._searcher.shape.nonces_per_step(self._device)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Answers of the implementations in Go and Rust."""
        with expected_form("kheavyhash"):
            answers = built_in("kheavyhash") if vectors is None else vectors
            checks = [*_generator(answers), *_states(answers), *self._hashes(answers)]
        return checks or [Check("vectors", False, "there is no answer for kheavyhash in them")]

    def cost(self) -> Cost:
        """Two Keccak permutations and 4096 products, two to a multiply-add."""
        return Cost({Ceiling.INT32: float(_OPERATIONS)})

    def _expected(self, nonces: Sequence[int]) -> Sequence[Found]:
        return [Found(nonce, kheavyhash(self._matrix, self._header, nonce)) for nonce in nonces]

    def _hashes(self, vectors: Vectors) -> Iterator[Check]:
        if "heavy_hash_case" in vectors:
            case = vectors["heavy_hash_case"]
            matrix, first = _matrix_in(case["matrix_rows_hex_nibbles"]), bytes.fromhex(
                case["cshake256_ProofOfWorkHash_of_input"]
            )  # fmt: skip
            answer = bytes.fromhex(case["heavy_hash"])
            yield Check("heavy hash", heavy_hash(matrix, first) == answer, "host")
            yield Check("heavy hash", self._heavy_on_device(matrix, first) == answer, "device")
        if "full_case_derived" in vectors:
            yield from self._whole(vectors["full_case_derived"])

    def _whole(self, case: Vectors) -> Iterator[Check]:
        nonce: int = case["nonce"]
        seed = bytes.fromhex(case["pre_pow_hash"])
        header = seed + case["timestamp"].to_bytes(8, "little")
        first = pow_hash(header, nonce).hex() == case["pow_hash_cshake"]
        yield Check("first hash", first, "host")
        search = HeavySearch(self._device, self._program, header, matrix_of(seed))
        found = search.enqueue(nonce, search.shape.nonces_per_group, 2**64 - 1).results().found
        expected = Found(nonce, bytes.fromhex(case["kheavyhash_result_le_bytes"]))
        yield Check("hash of a nonce", expected in found, "device")

    def _heavy_on_device(self, matrix: Matrix, first: bytes) -> bytes:
        count = hashes_of(self._device)
        hashes = np.repeat(np.frombuffer(first, "<u8"), count)
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        buffer = cl.Buffer(self._device.context, flags, hostbuf=hashes)
        queue = self._device.queue
        cl.Kernel(self._program, "heavy_hashes")(
            queue, (1,), None, buffer,
            _constant(self._device, matrix_words(matrix)),
            _constant(self._device, padded_state(HEAVY_NAME, 32)),
        )  # fmt: skip
        cl.enqueue_copy(queue, hashes, buffer)
        return hashes[::count].tobytes()


class HeavySearch(SearchKernel[Found]):
    """Searches nonces of one header."""

    def __init__(self, device: Device, program: cl.Program, header: bytes, matrix: Matrix) -> None:
        state = padded_state(POW_NAME, 80)
        for i, word in enumerate(np.frombuffer(header, "<u8")):
            state[i] ^= int(word)
        arguments = (
            exchange_for(device),
            _constant(device, state),
            _constant(device, padded_state(HEAVY_NAME, 32)),
            _constant(device, matrix_words(matrix)),
        )
        shape = Shape(group_of(device), hashes_of(device))
        super().__init__(device, cl.Kernel(program, "search"), arguments, shape, HASH_ENTRY)


def matrix_words(matrix: Matrix) -> NDArray[np.uint64]:
    """The matrix as the kernel reads it, see there; shape (16, 32, 2)."""
    # Rows as word, row / 4, row % 4; columns as word, half, byte, upper or lower nibble.
    parts = matrix.astype(np.uint16).reshape(4, 4, 4, 4, 2, 4, 2)
    # A nibble's place is its distance from the lowest, a byte's lower half comes first there.
    parts = parts[:, :, [1, 0, 3, 2]][..., ::-1]
    word, four, place, column, half, byte, nibble = range(7)
    # Of the four rows 0 .. 3 of a quad, two are a pair; a ulong holds (half, row of the pair).
    ordered = parts.transpose(word, place, column, byte, nibble, four, half)
    pairs = ordered.reshape(16, 32, 2, 2, 2).swapaxes(-1, -2)
    return np.ascontiguousarray(pairs).reshape(-1).view("<u8").reshape(16, 32, 2)


def _constant(device: Device, words: Sequence[int] | NDArray[np.uint64]) -> cl.Buffer:
    flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
    return cl.Buffer(device.context, flags, hostbuf=np.array(words, np.uint64))


def _matrix_in(rows: Sequence[str]) -> Matrix:
    return np.array([[int(nibble, 16) for nibble in row] for row in rows], np.int64)


def _generator(vectors: Vectors) -> Iterator[Check]:
    if "xoshiro256pp_seed_1_2_3_4" in vectors:
        answer = vectors["xoshiro256pp_seed_1_2_3_4"]
        passed = list(islice(xoshiro256pp((1, 2, 3, 4)), len(answer))) == answer
        yield Check("random numbers", passed, "host")
    if "generate_matrix_from_hash_2a_x32" in vectors:
        answer = _matrix_in(vectors["generate_matrix_from_hash_2a_x32"])
        yield Check("matrix", np.array_equal(matrix_of(b"\x2a" * 32), answer), "host")


def _states(vectors: Vectors) -> Iterator[Check]:
    for key, name, message_bytes in (
        ("pow_initial_state_words", POW_NAME, 80),
        ("heavy_initial_state_words", HEAVY_NAME, 32),
    ):
        state = padded_state(name, message_bytes)
        answers = vectors.get(key, {})
        wrong = [at for at, word in answers.items() if state[int(at.split("_")[0])] != word]
        if answers:
            detail = f"host; words {', '.join(wrong)} differ" if wrong else "host"
            yield Check(f"state before {name.decode()}", not wrong, detail)

"""The load ``mining.autolykos2``: random reads of 32 bytes all over a large table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.mining import table
from gpupanel.stress.mining.autolykos2_reference import (
    ELEMENT_BYTES,
    ELEMENTS_PER_HASH,
    HEADER_BYTES,
    autolykos2,
    choices,
    element,
    elements_at,
    first_choice,
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
from gpupanel.stress.workload import Check, Device, Report, Variant, lane_variants

_KNOB = "table_log2"
_READS_PER_HASH = ELEMENTS_PER_HASH + 1
# A processor reads ahead for the next of so many; a GPU has other work-items to turn to.
_VECTORS_PER_ITEM_CPU = 4


class Autolykos2(Miner[Found]):
    """Host side of ``mining.autolykos2``; the knobs are those of the catalogue."""

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        super().__init__(device, HEADER_BYTES, seed)
        self._height = knobs["height"]
        whole = elements_at(self._height)
        self._elements = min(whole, 2 ** knobs[_KNOB]) if knobs[_KNOB] else whole
        self._table: Table
        if self._elements < whole:
            self.notes = (
                f"reduced table: {self._elements * ELEMENT_BYTES / 2**20:.0f} of"
                f" {whole * ELEMENT_BYTES / 2**20:.0f} MiB at height {self._height}",
            )

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By vector width."""
        return lane_variants(device)

    def prepare(self, report: Report) -> None:
        """Kernels and table.

        Raises:
            WorkloadError: The table does not fit; the knob ``table_log2`` makes it smaller.
            BuildFailed: The kernels do not compile.
        """
        table_bytes = self._elements * ELEMENT_BYTES
        if table_bytes > self._device.memory_bytes:
            usable_mib = self._device.memory_bytes / 2**20
            raise table.no_room(table_bytes, f"it may use {usable_mib:.0f} MiB", _KNOB)
        report("kernels", 0.0)
        most_bytes = self._device.context.devices[0].max_mem_alloc_size
        pieces = table.pieces_for(self._elements, ELEMENT_BYTES, most_bytes, _KNOB)
        try:
            self._table = Table(self._device, pieces, self._height, self._elements)
            self._table.fill(lambda fraction: report("table", fraction))
        except cl.MemoryError as error:
            raise table.no_room(table_bytes, str(error), _KNOB) from error
        self._searcher = TableSearch(self._table, self._header)
        self._step_nonces = self._searcher.shape.nonces_per_step(self._device)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Answers of Ergo's reference client; its block on the device if its table is there."""
        with expected_form("autolykos2"):
            answers = built_in("autolykos2") if vectors is None else vectors
            checks = [*_sizes(answers), *self._case(answers)]
        return checks or [Check("vectors", False, "there is no answer for autolykos2 in them")]

    def cost(self) -> Cost:
        """33 elements of 32 bytes at random places in the table."""
        amounts = {Ceiling.RANDOM_32B: float(_READS_PER_HASH * ELEMENT_BYTES)}
        return Cost(amounts, self._elements * ELEMENT_BYTES)

    def _expected(self, nonces: Sequence[int]) -> Sequence[Found]:
        def hashed(nonce: int) -> bytes:
            return autolykos2(
                self._header, nonce, self._elements, lambda index: element(index, self._height)
            )

        return [Found(nonce, hashed(nonce)) for nonce in nonces]

    def _case(self, vectors: Vectors) -> Iterator[Check]:
        if "case" not in vectors:
            return
        case = vectors["case"]
        height, elements = case["height"], case["N"]
        header, nonce = bytes.fromhex(case["msg"]), int(case["nonce"], 16)

        def made(index: int) -> bytes:
            return self._table.made_aside(index, height)

        yield from _choices(case["derived"], made, header, nonce, elements)
        answer = Found(nonce, bytes.fromhex(case["hit"]))
        if (height, elements) == (self._height, self._elements):
            search = TableSearch(self._table, header)
            found = search.enqueue(nonce, search.shape.nonces_per_group, 2**64 - 1).results().found
            yield Check("hash of a nonce", answer in found, "device, whole table")
        else:
            result = Found(nonce, autolykos2(header, nonce, elements, made))
            how = "elements from the device, added up on the host"
            yield Check("hash of a nonce", result == answer, how)


class Table:
    """The elements of one height on the device.

    Raises:
        cl.MemoryError: The device refuses the memory, now or when ``fill`` first touches it.
    """

    def __init__(self, device: Device, pieces: int, height: int, elements: int) -> None:
        self.device = device
        self.elements = elements
        self.vectors_per_item = _VECTORS_PER_ITEM_CPU if device.is_cpu else 1
        macros = {"PIECES": pieces, "VECTORS": self.vectors_per_item, **macros_of(device)}
        self.program = build(device.context, "mining_autolykos2.cl", macros)
        self.buffers = table.make_buffers(device.context, pieces, elements, ELEMENT_BYTES)
        self._height = height
        self._make = cl.Kernel(self.program, "make_elements")
        self._per_group = group_of(device) * hashes_of(device)

    @property
    def arguments(self) -> Sequence[cl.Buffer]:
        """As the kernels take it."""
        return table.as_arguments(self.buffers)

    def fill(self, progress: Callable[[float], None]) -> None:
        """Make every element."""

        def enqueue(first: int, end: int) -> cl.Event:
            return self._enqueue(first, end, 0, self._height, self.arguments)

        table.fill(self.elements, 16 * self._per_group, enqueue, progress)

    def made_aside(self, index: int, height: int) -> bytes:
        """One element of any height, made now; 31 bytes."""
        made = np.empty(ELEMENT_BYTES, np.uint8)
        aside = cl.Buffer(self.device.context, cl.mem_flags.READ_WRITE, made.nbytes)
        self._enqueue(index, index + 1, index, height, table.as_arguments([aside]))
        cl.enqueue_copy(self.device.queue, made, aside)
        return made[-2::-1].tobytes()

    def _enqueue(
        self, first: int, end: int, origin: int, height: int, into: Sequence[cl.Buffer]
    ) -> cl.Event:
        """Make the elements ``first`` to ``end`` - 1; ``origin`` is the first of ``into``."""
        groups = -(-(end - first) // self._per_group)
        self._make.set_args(*map(np.uint32, (first, end, origin, height)), *into)
        group = group_of(self.device)
        return cl.enqueue_nd_range_kernel(
            self.device.queue, self._make, (groups * group,), (group,)
        )


class TableSearch(SearchKernel[Found]):
    """Searches one table for nonces of one header."""

    def __init__(self, searched: Table, header: bytes) -> None:
        device = searched.device
        arguments = (
            exchange_for(device),
            cl.cltypes.make_ulong4(*np.frombuffer(header, "<u8")),
            np.uint32(searched.elements),
            np.uint64(table.reciprocal_of(searched.elements)),
            *searched.arguments,
        )
        shape = Shape(group_of(device), searched.vectors_per_item * hashes_of(device))
        kernel = cl.Kernel(searched.program, "search")
        super().__init__(device, kernel, arguments, shape, HASH_ENTRY)


def _sizes(vectors: Vectors) -> Iterator[Check]:
    sizes = vectors.get("calcN_v2", {})
    wrong = [height for height, size in sizes.items() if elements_at(int(height)) != size]
    if sizes:
        detail = f"host; heights {', '.join(wrong)} differ" if wrong else "host"
        yield Check("sizes by height", not wrong, detail)


def _choices(
    answers: Vectors, made: Callable[[int], bytes], header: bytes, nonce: int, elements: int
) -> Iterator[Check]:
    """What stands between the nonce and its hash."""
    first = first_choice(header, nonce, elements)
    yield Check("first choice", first == answers["prei8_mod_N"], "host")
    indexes = choices(made(first) + header + nonce.to_bytes(8, "big"), elements)
    yield Check("choices", indexes == answers["indexes"], "first element from the device")
    for index, key in (
        (indexes[0], "element_of_index0_31B"),
        (0, "element_31B_of_j0_at_height614400"),
    ):
        yield Check(f"element {index}", made(index).hex() == answers[key], "device")

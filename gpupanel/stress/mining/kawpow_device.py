"""KawPoW on the device: searches over one table, each with the program of one period."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from threading import Thread

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.stress.mining import table
from gpupanel.stress.mining.ethash_device import HASHED_ENTRY, ItemMaker, Scheme, Table
from gpupanel.stress.mining.ethash_reference import Hashed, Words
from gpupanel.stress.mining.kawpow_program import Program, opencl_source
from gpupanel.stress.mining.kawpow_reference import (
    CACHE_WORDS,
    LANES,
    PAGE_BYTES,
    PARENTS,
    items_of,
)
from gpupanel.stress.mining.search import FOUND_MAX, STRIPES, SearchKernel, Shape
from gpupanel.stress.program import build
from gpupanel.stress.workload import Device

KAWPOW = Scheme("ethash_items.cl", PARENTS, PAGE_BYTES)
_GROUP_GPU = 128
_WORDS_PER_TEAM = 3 * LANES


@dataclass(frozen=True, slots=True)
class Setting:
    """A table as the searches see it.

    Attributes:
        pieces: As in the kernel.
        pages: Of the whole table.
        buffers: Four, with repetitions.
        first_words: The table's first 16 KiB once more, in one piece.
    """

    device: Device
    pieces: int
    pages: int
    buffers: Sequence[cl.Buffer]
    first_words: cl.Buffer

    @classmethod
    def of(cls, whole: Table) -> Setting:
        """A table that is there as a whole."""
        kernels = whole.kernels
        return cls(
            kernels.device, kernels.pieces, whole.pages, whole.arguments, first_words(whole.maker)
        )

    @classmethod
    def of_pages(cls, maker: ItemMaker, pages: int, wanted: Sequence[int]) -> Setting:
        """A table of ``pages`` of which only those ``wanted`` are there."""
        device = maker.kernels.device
        made = maker.items_at(items_of(np.array(wanted, np.uint32)).ravel())
        places = np.zeros(pages, np.uint32)
        places[list(wanted)] = np.arange(len(wanted))
        content, where = _on_device(device, made), _on_device(device, places)
        return cls(device, 0, pages, [content, where, content, where], first_words(maker))

    @property
    def shape(self) -> Shape:
        """One hash takes 16 work-items of a GPU; a processor's work-item takes 16 hashes."""
        return Shape(_GROUP_GPU, 1) if self.device.lanes == 1 else Shape(1, LANES)


def first_words(maker: ItemMaker) -> cl.Buffer:
    """The beginning of a table, which every hash reads from all over."""
    beginning = Table(maker, CACHE_WORDS * 4 // PAGE_BYTES)
    beginning.fill(lambda _: None)
    return _on_device(maker.kernels.device, beginning.content())


def _on_device(device: Device, words: Words) -> cl.Buffer:
    flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
    return cl.Buffer(device.context, flags, hostbuf=words)


class ProgramSearcher(SearchKernel[Hashed]):
    """Searches one table for nonces of one header, with the program of one period.

    Raises:
        BuildFailed: The program does not compile.
    """

    def __init__(self, setting: Setting, header: bytes, program: Program) -> None:
        device, shape = setting.device, setting.shape
        exchange_bytes = 4 * (CACHE_WORDS + _WORDS_PER_TEAM * shape.group // LANES)
        arguments = (
            cl.cltypes.make_ulong4(*np.frombuffer(header, "<u8")),
            np.uint32(setting.pages), np.uint64(table.reciprocal_of(setting.pages)),
            cl.LocalMemory(exchange_bytes if device.lanes == 1 else 8),
            *setting.buffers, setting.first_words,
        )  # fmt: skip
        self.program = program
        built = build(
            device.context,
            "mining_kawpow.cl",
            {
                "LANES": device.lanes,
                "GROUP": shape.group,
                "PIECES": setting.pieces,
                "FOUND_MAX": FOUND_MAX,
                "STRIPES": STRIPES,
                **device.macros,
            },
            {"kawpow_program.cl": opencl_source(program)},
        )
        super().__init__(device, cl.Kernel(built, "search"), arguments, shape, HASHED_ENTRY)

    def warm_up(self) -> None:
        """One small launch beside the others: some drivers compile the rest at the first."""
        aside = cl.CommandQueue(self._device.context)
        device, self._device = self._device, replace(self._device, queue=aside)
        try:
            self.enqueue(0, self.shape.nonces_per_group, 0).event.wait()
        finally:
            self._device = device


class ComingProgram:
    """The searcher of a later program, compiled by a thread of its own.

    Attributes:
        compile_s: How long that took; 0 until it is ready.
    """

    def __init__(self, make: Callable[[], ProgramSearcher]) -> None:
        self.compile_s = 0.0
        self._make = make
        self._made: Future[ProgramSearcher] = Future()
        Thread(target=self._run, name="kawpow compiler", daemon=True).start()

    @property
    def is_ready(self) -> bool:
        """Whether ``searcher`` would not wait."""
        return self._made.done()

    def searcher(self) -> ProgramSearcher:
        """Wait for it.

        Raises:
            BuildFailed: It does not compile.
        """
        return self._made.result()

    def _run(self) -> None:
        began_s = time.monotonic()
        try:
            searcher = self._make()
            searcher.warm_up()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is raised by searcher()
            self._made.set_exception(error)
            return
        self.compile_s = time.monotonic() - began_s
        self._made.set_result(searcher)

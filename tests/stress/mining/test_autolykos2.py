from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.mining.autolykos2 import Autolykos2, Table, TableSearch
from gpupanel.stress.mining.autolykos2_reference import choices, element, first_choice
from gpupanel.stress.mining.search import Found
from gpupanel.stress.workload import Device

DeviceOf = Callable[[int], Device]
WIDTHS = pytest.mark.parametrize("lanes", [1, 8, 16])


@WIDTHS
@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_every_element_is_in_its_piece(device_of: DeviceOf, lanes: int, pieces: int) -> None:
    table = Table(device_of(lanes), pieces, 700000, 1001)
    table.fill(lambda _: None)
    for piece, buffer in enumerate(table.buffers):
        content = np.empty((buffer.size // 32, 32), np.uint8)
        cl.enqueue_copy(table.device.queue, content, buffer)
        for row, index in enumerate(range(piece, 1001, pieces)):
            expected = element(index, 700000)[::-1] + b"\0"
            assert content[row].tobytes() == expected, index


@WIDTHS
def test_the_published_block_of_ergo_is_found(
    device_of: DeviceOf, all_vectors: dict[str, Any], lanes: int
) -> None:
    """In a table of 2 GiB that has only those elements which its nonce reads.

    What else is hashed in the launch reads zeros; memory that nobody touches costs nothing.
    """
    case = all_vectors["autolykos2"]["case"]
    header, nonce, elements = bytes.fromhex(case["msg"]), int(case["nonce"], 16), case["N"]
    table = Table(device_of(lanes), 4, case["height"], elements)
    first = first_choice(header, nonce, elements)
    seed = element(first, case["height"]) + header + nonce.to_bytes(8, "big")
    for index in (first, *choices(seed, elements)):
        content = np.frombuffer(element(index, case["height"])[::-1] + b"\0", np.uint8)
        offset = index // 4 * 32
        cl.enqueue_copy(table.device.queue, table.buffers[index % 4], content, dst_offset=offset)
    search = TableSearch(table, header)
    # The published target, of which the device compares the first 64 bits.
    target = int(case["target_b"]) >> 192
    found = search.enqueue(nonce, search.shape.nonces_per_group, target).results().found
    assert Found(nonce, bytes.fromhex(case["hit"])) in found


def test_a_whole_table_is_asked_for_the_published_block(
    device_of: DeviceOf, all_vectors: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without its elements the answer must be missed: it comes from the table.
    monkeypatch.setattr(Table, "fill", lambda _table, _progress: None)
    load = Autolykos2(device_of(16), {"height": 614400, "table_log2": 0}, 1)
    load._device = replace(load._device, memory_bytes=2**32)
    load.prepare(lambda _step, _fraction: None)
    checks = {check.name: check for check in load.self_test(all_vectors["autolykos2"])}
    assert checks.pop("hash of a nonce").detail == "device, whole table"
    assert all(check.passed for check in checks.values())


def test_preparing_reports_each_step_up_to_its_end(device_of: DeviceOf) -> None:
    reports: list[tuple[str, float]] = []
    load = Autolykos2(device_of(16), {"height": 614400, "table_log2": 14}, 1)
    load.prepare(lambda step, fraction: reports.append((step, fraction)))
    assert list(dict.fromkeys(step for step, _ in reports)) == ["kernels", "table"]
    assert reports[-1] == ("table", 1.0)


def test_a_whole_table_has_no_note(device_of: DeviceOf) -> None:
    assert Autolykos2(device_of(16), {"height": 1, "table_log2": 0}, 1).notes == ()
    # 2^26 elements is all there was before the table began to grow.
    assert Autolykos2(device_of(16), {"height": 1, "table_log2": 26}, 1).notes == ()


def test_a_table_that_does_not_fit_names_the_knob(device_of: DeviceOf) -> None:
    device = replace(device_of(16), memory_bytes=2**30)
    load = Autolykos2(device, {"height": 614400, "table_log2": 0}, 1)
    with pytest.raises(WorkloadError, match=r"no room for 2150 MiB.*1024 MiB.*table_log2"):
        load.prepare(lambda _step, _fraction: None)


def test_memory_that_the_device_refuses_names_the_knob(
    device_of: DeviceOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_table: Table, _progress: Callable[[float], None]) -> None:
        raise cl.MemoryError("MEM_OBJECT_ALLOCATION_FAILURE")

    monkeypatch.setattr(Table, "fill", refuse)
    load = Autolykos2(device_of(16), {"height": 614400, "table_log2": 14}, 1)
    with pytest.raises(WorkloadError, match=r"ALLOCATION_FAILURE.*table_log2"):
        load.prepare(lambda _step, _fraction: None)

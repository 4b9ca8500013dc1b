"""Which OpenCL device is which GPU: as a function over values, and for real with PoCL."""

from __future__ import annotations

import dataclasses

import psutil
import pyopencl as cl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.errors import DeviceNotFound
from gpupanel.stress.device import (
    Candidate,
    PciAddress,
    choose,
    cpu_lanes,
    open_device,
    raw_info,
    usable_bytes,
)

MIB = 1 << 20
GIB = 1 << 30

POCL = Candidate("cpu-skylake", "GenuineIntel", "Portable Computing Language", is_cpu=True)
INTEL_CPU = Candidate("Xeon", "Intel(R) Corporation", "Intel(R) OpenCL", is_cpu=True)
RADEON = Candidate(
    "gfx1100", "Advanced Micro Devices, Inc.", "AMD", is_cpu=False, pci=PciAddress(None, 3, 0, 0)
)
FIRST = Candidate(
    "RTX 3080", "NVIDIA Corporation", "NVIDIA CUDA", is_cpu=False, pci=PciAddress(0, 0x65, 0, 0)
)
SECOND = dataclasses.replace(FIRST, pci=PciAddress(0, 0xB3, 0, 0))
SILENT = dataclasses.replace(FIRST, pci=None)
SILENT_RADEON = dataclasses.replace(RADEON, pci=None)


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 255), st.integers(0, 31), st.integers(0, 7))
def test_an_address_is_read_as_it_is_written(
    domain: int, bus: int, device: int, function: int
) -> None:
    text = f"{domain:08x}:{bus:02x}:{device:02x}.{function}"
    assert PciAddress.parse(text) == PciAddress(domain, bus, device, function)


def test_an_unknown_domain_equals_any_and_a_known_one_only_itself() -> None:
    place = PciAddress(0, 0x65, 0, 0)
    assert place.is_same_place(PciAddress(None, 0x65, 0, 0))
    assert not place.is_same_place(PciAddress(1, 0x65, 0, 0))
    assert not place.is_same_place(PciAddress(None, 0x65, 0, 1))


def test_the_processor_is_pocl_where_there_is_a_choice() -> None:
    assert choose([RADEON, INTEL_CPU, POCL], "cpu", None) == 2
    assert choose([RADEON, INTEL_CPU], "cpu", None) == 1


def test_gpus_are_told_apart_by_their_address() -> None:
    everything = [POCL, RADEON, FIRST, SECOND]
    assert choose(everything, "GPU-b", "00000000:b3:00.0") == 3
    assert choose(everything, "GPU-a", "00000000:65:00.0") == 2
    assert choose(everything, "amd-0", "00000000:03:00.0") == 1


def test_without_addresses_the_only_gpu_of_the_vendor_is_it() -> None:
    assert choose([POCL, RADEON, SILENT], "GPU-a", "00000000:65:00.0") == 2
    assert choose([POCL, SILENT_RADEON, SILENT], "GPU-a", None) == 2
    assert choose([POCL, SILENT_RADEON], "amd-0", "00000000:03:00.0") == 1


@pytest.mark.parametrize(
    ("candidates", "pci_bus_id"),
    [
        ([], "00000000:65:00.0"),
        ([POCL], "00000000:65:00.0"),
        ([SILENT, SILENT], "00000000:65:00.0"),
        ([FIRST, SECOND], None),
        # It tells where it is, and that is elsewhere.
        ([SECOND], "00000000:65:00.0"),
        ([SILENT_RADEON], "00000000:65:00.0"),
    ],
)
def test_another_gpu_is_never_taken_for_it(
    candidates: list[Candidate], pci_bus_id: str | None
) -> None:
    with pytest.raises(DeviceNotFound):
        choose(candidates, "GPU-a", pci_bus_id)


def test_the_error_names_what_was_found_and_what_to_install() -> None:
    with pytest.raises(DeviceNotFound) as gpu:
        choose([POCL], "GPU-a", "00000000:65:00.0", ["Clover (OUT_OF_HOST_MEMORY)"])
    for part in ("GPU-a at 00000000:65:00.0", str(POCL), "Clover", "nvidia-opencl-icd"):
        assert part in str(gpu.value)
    with pytest.raises(DeviceNotFound, match=r"OpenCL finds nothing: .*pocl-opencl-icd"):
        choose([], "cpu", None)


@pytest.mark.parametrize(
    ("width", "version", "lanes"),
    [
        (16, "OpenCL 3.0 PoCL 3.1+debian  Linux, None+Asserts, RELOC, SPIR, LLVM 15.0.6", 16),
        (16, "OpenCL 3.0 PoCL 6.0  Linux, Release, RELOC, LLVM 19", 16),
        (8, "OpenCL 3.0 PoCL 3.1+debian  Linux, None+Asserts, RELOC, SPIR, LLVM 15.0.6", 8),
        (16, "OpenCL 3.0 pocl 3.0-rc2  Linux, Release, RELOC, LLVM 14.0.6", 8),
        (4, "OpenCL 3.0 LINUX", 8),
    ],
)
def test_lanes_are_what_the_compiler_really_can(width: int, version: str, lanes: int) -> None:
    assert cpu_lanes(width, version) == lanes


@pytest.mark.parametrize(
    ("device_bytes", "available_bytes", "usable"),
    [
        (2 * GIB, None, 2 * GIB - 512 * MIB),
        (80 * GIB, None, 72 * GIB),
        (256 * MIB, None, 0),
        (80 * GIB, 20 * GIB, 10 * GIB),
        (4 * GIB, 20 * GIB, 4 * GIB - 512 * MIB),
    ],
)
def test_the_desktop_keeps_memory(
    device_bytes: int, available_bytes: int | None, usable: int
) -> None:
    assert usable_bytes(device_bytes, available_bytes) == usable


def test_the_processor_opens_as_pocl() -> None:
    device = open_device("cpu", None)
    assert device.queue.device.platform.name == "Portable Computing Language"
    assert device.is_cpu
    assert device.lanes == (16 if device.queue.device.native_vector_width_float >= 16 else 8)
    assert 0 < device.memory_bytes <= psutil.virtual_memory().total // 2
    assert device.context.devices == [device.queue.device]
    properties = device.queue.properties
    assert properties & cl.command_queue_properties.PROFILING_ENABLE
    assert not properties & cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE


def test_a_gpu_that_opencl_does_not_know_is_not_found() -> None:
    # The last address of the last domain: no machine has a GPU there.
    with pytest.raises(DeviceNotFound, match=r"GPU-none at ffffffff:ff:1f\.7"):
        open_device("GPU-none", "ffffffff:ff:1f.7")


def test_a_query_without_a_name_in_pyopencl_gives_what_the_driver_says() -> None:
    device = open_device("cpu", None).queue.device
    answer = raw_info(device, cl.device_info.NAME)
    assert answer is not None
    assert answer.rstrip(b"\0").decode() == device.name
    assert raw_info(device, 0xFFFF) is None

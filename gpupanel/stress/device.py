"""Find the OpenCL device that is a given GPU. Worker process only.

A GPU is known to the rest of gpupanel by its driver's id and its PCI address; OpenCL knows
neither ids nor order of other libraries, so the PCI address is what both sides share.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpupanel.model.errors import DeviceNotFound
from gpupanel.model.gpu import CPU_ID, GpuId
from gpupanel.stress.workload import Device

if TYPE_CHECKING:
    import pyopencl as cl

MIB = 1 << 20
POCL = "Portable Computing Language"

CL_DEVICE_PCI_BUS_INFO_KHR = 0x410F
"""Of cl_khr_pci_bus_info; pyopencl has no name for it."""

INSTALL_CPU = "install PoCL (Debian: pocl-opencl-icd)"
INSTALL_GPU = (
    "install the OpenCL driver of the card (Debian: nvidia-opencl-icd for NVIDIA, "
    "mesa-opencl-icd for AMD, intel-opencl-icd for Intel; Windows: the vendor's driver brings it)"
)


@dataclass(frozen=True, slots=True)
class PciAddress:
    """Where a device sits.

    Attributes:
        domain: None where the driver does not tell.
    """

    domain: int | None
    bus: int
    device: int
    function: int

    @classmethod
    def parse(cls, text: str) -> PciAddress:
        """From ``dddddddd:bb:dd.f``, all hexadecimal.

        Raises:
            ValueError: It has another form.
        """
        domain, bus, rest = text.split(":")
        device, function = rest.split(".")
        return cls(*(int(part, 16) for part in (domain, bus, device, function)))

    def is_same_place(self, other: PciAddress) -> bool:
        """Equal, where a domain that is not known equals any."""
        domains = {self.domain, other.domain} - {None}
        return len(domains) <= 1 and self._in_domain == other._in_domain

    @property
    def _in_domain(self) -> tuple[int, int, int]:
        return self.bus, self.device, self.function


@dataclass(frozen=True, slots=True)
class Candidate:
    """One OpenCL device as far as choosing it goes.

    Attributes:
        platform: Name of the OpenCL platform that offers it.
        pci: None where the driver does not tell, and on a processor.
    """

    name: str
    vendor: str
    platform: str
    is_cpu: bool
    pci: PciAddress | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.platform})"


def open_device(gpu_id: GpuId, pci_bus_id: str | None) -> Device:
    """The OpenCL device that is ``gpu_id``, with a context and an in-order profiling queue.

    Args:
        gpu_id: ``cpu``, or the id of a GPU.
        pci_bus_id: Of the GPU, as in GpuInfo; None where it is not known.

    Raises:
        DeviceNotFound: No OpenCL driver, or none for this device; the text says what to install.
    """
    import pyopencl as cl

    devices, faults = _opencl_devices()
    candidates = [_candidate(device) for device in devices]
    device = devices[choose(candidates, gpu_id, pci_bus_id, faults)]
    is_cpu = gpu_id == CPU_ID
    context = cl.Context([device])
    profiling = cl.command_queue_properties.PROFILING_ENABLE
    return Device(
        context=context,
        queue=cl.CommandQueue(context, device, properties=profiling),
        is_cpu=is_cpu,
        lanes=cpu_lanes(device.native_vector_width_float, device.platform.version) if is_cpu else 1,
        memory_bytes=usable_bytes(device.global_mem_size, _available_bytes() if is_cpu else None),
    )


def choose(
    candidates: Sequence[Candidate],
    gpu_id: GpuId,
    pci_bus_id: str | None,
    faults: Sequence[str] = (),
) -> int:
    """Index of the candidate that is ``gpu_id``.

    A GPU is matched by its PCI address. Where the drivers tell none, the only GPU of the id's
    vendor is it.

    Args:
        candidates: In OpenCL's order.
        gpu_id: ``cpu``, or the id of a GPU.
        pci_bus_id: As in GpuInfo; None where it is not known.
        faults: Platforms that could not be asked, for the text of the error.

    Raises:
        DeviceNotFound: None is, or several might be.
    """
    if gpu_id == CPU_ID:
        cpus = [index for index, one in enumerate(candidates) if one.is_cpu]
        by_preference = sorted(cpus, key=lambda index: candidates[index].platform != POCL)
        if by_preference:
            return by_preference[0]
        raise DeviceNotFound(_nothing_found("the processor", candidates, faults, INSTALL_CPU))
    gpus = [index for index, one in enumerate(candidates) if not one.is_cpu]
    address = PciAddress.parse(pci_bus_id) if pci_bus_id else None
    for index in gpus:
        pci = candidates[index].pci
        if address and pci and pci.is_same_place(address):
            return index
    # A device that tells another address is another GPU.
    silent = [index for index in gpus if not (address and candidates[index].pci)]
    same_vendor = [index for index in silent if _is_of_vendor(candidates[index], gpu_id)]
    if len(same_vendor) == 1:
        return same_vendor[0]
    wanted = f"{gpu_id} at {pci_bus_id}" if pci_bus_id else gpu_id
    raise DeviceNotFound(_nothing_found(wanted, candidates, faults, INSTALL_GPU))


def cpu_lanes(native_vector_width_float: int, platform_version: str) -> int:
    """Vector lanes of 32 bits that this processor's kernels should use: 16 or 8.

    The PyPI wheel of PoCL 3.0 says 16 and crashes on code that is 16 wide; the distributions'
    builds are right.
    """
    version = platform_version.lower()
    is_wheel = "pocl 3.0" in version and "debian" not in version
    return 16 if native_vector_width_float >= 16 and not is_wheel else 8


def usable_bytes(device_bytes: int, available_bytes: int | None) -> int:
    """What a load may allocate: a tenth, or at least 512 MiB, stays free for the desktop.

    Args:
        device_bytes: Of the device in all.
        available_bytes: Free memory of the machine, for a processor: half of it at most.
    """
    usable = max(0, device_bytes - max(512 * MIB, device_bytes // 10))
    return usable if available_bytes is None else min(usable, available_bytes // 2)


def _is_of_vendor(candidate: Candidate, gpu_id: GpuId) -> bool:
    """NVML's ids begin with GPU-; an id of another form tells no vendor and fits any."""
    return not gpu_id.startswith("GPU-") or "nvidia" in candidate.vendor.lower()


def _nothing_found(
    wanted: str, candidates: Sequence[Candidate], faults: Sequence[str], remedy: str
) -> str:
    found = ", ".join([*map(str, candidates), *faults]) or "nothing"
    return f"no OpenCL device is {wanted}; OpenCL finds {found}: {remedy}"


def _opencl_devices() -> tuple[list[cl.Device], list[str]]:
    """Devices of all platforms, and what went wrong with platforms that could not be asked."""
    import pyopencl as cl

    try:
        platforms = cl.get_platforms()
    except cl.LogicError as error:
        # The loader says so when no driver is registered: PLATFORM_NOT_FOUND_KHR.
        return [], [str(error)]
    devices: list[cl.Device] = []
    faults = []
    for platform in platforms:
        try:
            devices += platform.get_devices()
        except cl.Error as error:
            # One broken driver must not hide the devices of the others.
            faults.append(f"{platform.name} ({error})")
    return devices, faults


def _candidate(device: cl.Device) -> Candidate:
    import pyopencl as cl

    is_cpu = bool(device.type & cl.device_type.CPU)
    return Candidate(
        name=device.name.strip(),
        vendor=device.vendor,
        platform=device.platform.name,
        is_cpu=is_cpu,
        pci=None if is_cpu else _pci_address(device),
    )


def _pci_address(device: cl.Device) -> PciAddress | None:
    """By whichever extension the driver has; None where it has none of the three."""
    extensions = device.extensions.split()
    if "cl_khr_pci_bus_info" in extensions:
        # Four unsigned ints: domain, bus, device, function.
        answer = raw_info(device, CL_DEVICE_PCI_BUS_INFO_KHR)
        return PciAddress(*struct.unpack("=4I", answer)) if answer else None
    if "cl_nv_device_attribute_query" in extensions:
        # The slot is device and function as PCI packs them; no domain before CUDA 10.2.
        slot = device.pci_slot_id_nv
        return PciAddress(None, device.pci_bus_id_nv, slot >> 3, slot & 7)
    if "cl_amd_device_attribute_query" in extensions:
        place = device.topology_amd
        # Stored in signed bytes.
        return PciAddress(None, place.bus & 0xFF, place.device & 0xFF, place.function & 0xFF)
    return None


def raw_info(device: cl.Device, parameter: int) -> bytes | None:
    """What clGetDeviceInfo writes, for a parameter without a name in pyopencl; None if refused."""
    import ctypes

    from pyopencl import _cl

    # The loader that pyopencl is linked with; on Linux found through pyopencl itself.
    loader = ctypes.CDLL("OpenCL.dll" if sys.platform == "win32" else _cl.__file__)
    ask = loader.clGetDeviceInfo
    size_p = ctypes.POINTER(ctypes.c_size_t)
    ask.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_size_t, ctypes.c_void_p, size_p]
    room = ctypes.create_string_buffer(1024)
    size = ctypes.c_size_t()
    refused = ask(device.int_ptr, parameter, len(room), room, ctypes.byref(size))
    return None if refused else room.raw[: size.value]


def _available_bytes() -> int:
    import psutil

    return psutil.virtual_memory().available

"""AMD GPUs on Linux, from the files of the amdgpu driver: sysfs, hwmon and gpu_metrics.

No render node is opened and no library is loaded, for both wake a sleeping card. ``pcie_bw``,
which counts for a second before it answers, is never read.
"""

from __future__ import annotations

from pathlib import Path

from gpupanel.backends.linux.amdgpu_card import AmdgpuCard
from gpupanel.backends.linux.drm_backend import DrmBackend
from gpupanel.backends.linux.sysfs import read_text
from gpupanel.model.gpu import GpuInfo


class AmdgpuBackend(DrmBackend):
    """The GPUs that the amdgpu driver holds."""

    name = "amdgpu"
    drivers = ("amdgpu",)

    def identify(self, device_dir: Path) -> GpuInfo:
        """See ``DrmBackend.identify``."""
        return AmdgpuCard.identify(device_dir, self.root, _kernel_release(self.root))

    def open_card(self, info: GpuInfo, device_dir: Path) -> AmdgpuCard:
        """See ``DrmBackend.open_card``."""
        return AmdgpuCard(info, device_dir, self.clock_s)


def _kernel_release(root: Path) -> str | None:
    """The version of amdgpu, which is a part of the kernel."""
    try:
        return read_text(f"{root}/proc/sys/kernel/osrelease")
    except OSError:
        return None

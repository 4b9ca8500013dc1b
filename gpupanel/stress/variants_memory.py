"""What was found out about a load's variants, kept in the user's cache directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from gpupanel import __version__, paths
from gpupanel.files import replace_file
from gpupanel.model.workload import WorkloadInfo
from gpupanel.stress.program import source_of
from gpupanel.stress.workload import Device, Variant


@dataclass(frozen=True, slots=True)
class Memory:
    """One file per load, device and knobs.

    Attributes:
        path: Of the file.
        key: Everything that may change which variant is fastest or right. What was kept under
            another key is forgotten.
    """

    path: Path
    key: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        info: WorkloadInfo,
        knobs: Mapping[str, int],
        variants: Sequence[Variant],
        device: Device,
    ) -> Self:
        """Where the answer for this load with these knobs on this device is kept."""
        opencl = device.queue.device
        place = {"device": opencl.name, "platform": opencl.platform.name, "knobs": dict(knobs)}
        key = {
            **place,
            "workload": info.name,
            "driver_version": opencl.driver_version,
            "platform_version": opencl.platform.version,
            "kernel_sha256": hashlib.sha256(source_of(info.kernel).encode()).hexdigest(),
            "gpupanel": __version__,
            "variants": [asdict(variant) for variant in variants],
        }
        name = hashlib.sha256(json.dumps(place, sort_keys=True).encode()).hexdigest()[:16]
        return cls(paths.user_cache_dir() / f"variants-{info.name}-{name}.json", key)

    def recall(self) -> dict[str, Any]:
        """What was kept under the same key, by variant; empty if nothing was.

        Raises:
            OSError, ValueError, TypeError, KeyError: The file is unreadable or damaged.
        """
        try:
            document = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        if document["key"] != json.loads(json.dumps(self.key)):
            return {}
        names = [variant["name"] for variant in self.key["variants"]]
        return {name: document["probed"][name] for name in names}

    def keep(self, probed: Mapping[str, Any]) -> tuple[str, ...]:
        """Write it down; a note if that fails."""
        body = json.dumps({"key": self.key, "probed": probed}, indent=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, body.encode())
        except OSError as error:
            return (f"which variant is fastest was not kept for the next run: {error}",)
        return ()

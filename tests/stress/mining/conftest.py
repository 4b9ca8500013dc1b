"""The processor's OpenCL device, Ethash's public vectors and one light cache for all tests here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyopencl as cl
import pytest

from gpupanel import paths
from gpupanel.stress.mining.ethash_cache import load_or_make
from gpupanel.stress.mining.ethash_reference import Words
from gpupanel.stress.workload import Device

RECORDINGS = Path(__file__).parents[2] / "recordings" / "mining"

DeviceOf = Callable[[int], Device]


@pytest.fixture(scope="session")
def all_vectors() -> dict[str, Any]:
    """The public vectors, a section for each algorithm."""
    document: dict[str, Any] = json.loads((RECORDINGS / "vectors.json").read_text("utf-8"))
    return document


@pytest.fixture(scope="session")
def vectors(all_vectors: dict[str, Any]) -> dict[str, Any]:
    section: dict[str, Any] = all_vectors["ethash"]
    return section


@pytest.fixture(scope="session")
def kawpow_document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RECORDINGS / "kawpow.json").read_text("utf-8"))
    return document


@pytest.fixture(scope="session")
def kawpow_vectors(kawpow_document: dict[str, Any]) -> dict[str, Any]:
    section: dict[str, Any] = kawpow_document["kawpow"]
    return section


@pytest.fixture(scope="session")
def units(kawpow_document: dict[str, Any]) -> dict[str, Any]:
    """Published figures of the parts of ProgPoW."""
    section: dict[str, Any] = kawpow_document["progpow_units"]
    return section


@pytest.fixture(scope="session")
def device_of() -> DeviceOf:
    """The processor, with kernels of so many lanes."""
    processor = next(
        device
        for platform in cl.get_platforms()
        for device in platform.get_devices(cl.device_type.CPU)
    )
    context = cl.Context([processor])
    profiling = cl.command_queue_properties.PROFILING_ENABLE
    queue = cl.CommandQueue(context, properties=profiling)
    return lambda lanes: Device(context, queue, True, lanes, 2**31)


@pytest.fixture(scope="session")
def kept_light_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of our own for light caches."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "user_cache_dir", lambda: directory)
        yield directory


@pytest.fixture(scope="session")
def epoch0_lines(kept_light_caches: Path) -> Words:
    """The light cache of epoch 0, made on the host; some 5 s."""
    assert kept_light_caches.is_dir()
    return load_or_make(0, lambda _: None).lines

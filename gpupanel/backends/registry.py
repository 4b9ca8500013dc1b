"""BACKENDS, the one list of driver stacks, and how they are opened.

Names and not classes: a vendor's library is imported when its stack is probed, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from gpupanel.backends.base import Backend, ProbeResult, ProbeState
from gpupanel.model.errors import BackendError

BACKENDS: tuple[str, ...] = (
    "gpupanel.backends.nvml:NvmlBackend",
    "gpupanel.backends.host:HostBackend",
)
"""``module:Class`` in the order in which their GPUs are listed."""


class Opened(NamedTuple):
    """What looking for driver stacks found.

    Attributes:
        backends: Those that work, in the order of BACKENDS.
        unopened: Those that do not, to be probed again.
        results: One per backend, in the order of BACKENDS.
    """

    backends: tuple[Backend, ...]
    unopened: tuple[Backend, ...]
    results: tuple[ProbeResult, ...]


def open_backends(names: Sequence[str] = BACKENDS) -> Opened:
    """Import and probe each of ``names``; one that fails does not keep the rest from opening."""
    return _sorted([(backend := _made(name), _probed(backend)) for name in names])


def probed_again(opened: Opened) -> Opened:
    """``opened`` after another look for its ``unopened`` backends."""
    working = {backend.name: backend for backend in opened.backends}
    missing = {backend.name: backend for backend in opened.unopened}
    return _sorted(
        [
            (working[last.name], last)
            if last.name in working
            else (missing[last.name], _probed(missing[last.name]))
            for last in opened.results
        ]
    )


def _sorted(found: Sequence[tuple[Backend, ProbeResult]]) -> Opened:
    return Opened(
        backends=tuple(backend for backend, result in found if result.state is ProbeState.OK),
        unopened=tuple(backend for backend, result in found if result.state is not ProbeState.OK),
        results=tuple(result for _, result in found),
    )


def _probed(backend: Backend) -> ProbeResult:
    try:
        return backend.probe()
    except BackendError as error:
        return ProbeResult(backend.name, ProbeState.FAILED, str(error))


def _made(name: str) -> Backend:
    module, _, cls = name.partition(":")
    backend: Backend = getattr(import_module(module), cls)()
    return backend

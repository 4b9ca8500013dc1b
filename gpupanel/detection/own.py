"""gpupanel's own loads: known by who started them, never by what they say of themselves.

A window or a command line starts its agent and its workers. So the agent knows its parent from the
kernel, and takes that parent's word, and no other's, that one of its children is a worker. The word
is checked at every look: the pid is still that child with that start, runs the program and the
command line of a worker, imports from where we do, and holds no connection, because no load opens
one. Whoever fails is judged by the evidence like any other process, and so is a worker against whom
evidence speaks: who started both us and it could have fooled us with all of that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gpupanel import children
from gpupanel.detection.reading.facts import ProcessFacts
from gpupanel.model.verdict import (
    Evidence,
    EvidenceFamily,
    EvidenceSource,
    ProcessClass,
    Standing,
    Verdict,
)
from gpupanel.model.workload import Family

_MOST = 64

_STEERING = (
    "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "PYTHONSTARTUP",
    "PYTHONINSPECT", "PYTHONBREAKPOINT", "PYTHONPYCACHEPREFIX", "PYTHONEXECUTABLE", "HOME",
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH",
)  # fmt: skip
"""What decides which code an interpreter runs, beside its command line."""

CLASSES: Mapping[Family, ProcessClass] = {
    Family.MINING: ProcessClass.MINING,
    Family.AI: ProcessClass.AI,
    Family.GAMING: ProcessClass.GAMING,
    Family.DIAGNOSTICS: ProcessClass.TEST,
}


@dataclass(frozen=True, slots=True)
class _Declared:
    started: int
    family: Family
    since_unix_s: float


class OwnLoads:
    """The workers that were declared."""

    def __init__(
        self,
        spawner: int,
        parent_of: Callable[[int], tuple[int, int] | None],
        environment_of: Callable[[int], Mapping[str, str] | None],
    ) -> None:
        """Nothing declared yet.

        Args:
            spawner: Pid of the only process whose children count, as the kernel tells it.
            parent_of: Pid of a process's parent, and the process's own start.
            environment_of: With which a process was started; None where that cannot be read.
        """
        self._spawner = spawner
        self._parent_of = parent_of
        self._environment_of = environment_of
        self._declared: dict[int, _Declared] = {}

    def declare(self, pid: int, family: Family, now_unix_s: float) -> None:
        """Take the spawner's word that ``pid`` is a worker of its own.

        Raises:
            ValueError: It is no child of the spawner.
        """
        found = self._parent_of(pid)
        if found is None or found[0] != self._spawner:
            raise ValueError(f"process {pid} is no child of the one that declares it")
        if len(self._declared) >= _MOST:
            self._declared.pop(next(iter(self._declared)))
        self._declared[pid] = _Declared(found[1], family, now_unix_s)

    def verdict(self, facts: ProcessFacts) -> Verdict | None:
        """What is certain of a worker; None for every other process."""
        declared = self._declared.get(facts.pid)
        if declared is None or not self._is_worker(facts, declared):
            return None
        is_mining = declared.family is Family.MINING
        text = f"gpupanel started it as a {declared.family.value} load, which obeys policy itself"
        line = Evidence(EvidenceFamily.PROCESS, "own", 0.0, text, EvidenceSource.STARTED)
        return Verdict(
            CLASSES[declared.family], Standing.OWN, float(is_mining), declared.since_unix_s, (line,)
        )

    def _is_worker(self, facts: ProcessFacts, declared: _Declared) -> bool:
        return (
            facts.started == declared.started
            and facts.parent == self._spawner
            and os.path.realpath(facts.program.path) == os.path.realpath(sys.executable)
            and facts.arguments[1:] == tuple(children.command("worker")[1:])
            and not facts.connections
            and not facts.listening_ports
            and self._is_steered_as_we_are(facts.pid)
        )

    def _is_steered_as_we_are(self, pid: int) -> bool:
        """Our parent is its parent too, and started both alike."""
        found = self._environment_of(pid)
        return found is not None and all(
            found.get(name) == os.environ.get(name) for name in _STEERING
        )

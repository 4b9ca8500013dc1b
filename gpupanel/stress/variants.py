"""Which way of compiling a load is fastest here, found by trying each in a process of its own.

What a driver says of itself is often wrong: vectors whose width crashes its compiler, builtins that
are the slow path. So ``probe.py`` builds, checks and times each variant in a child, where a crash
or a hang hurts nobody. What came out is kept for this device, driver and kernel.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, Self

from gpupanel import children
from gpupanel.model.errors import WorkloadError
from gpupanel.model.gpu import GpuId
from gpupanel.model.workload import WorkloadInfo
from gpupanel.stress.variants_memory import Memory
from gpupanel.stress.workload import Device, Report, Variant

TIME_LIMIT_S = 120.0
"""Of one child; most of what it needs is the compiler's, some ten seconds on a busy machine."""

MARGIN = 1.02
"""A variant must be this much faster than a safer one: less is noise."""

STDERR_TAIL_BYTES = 4096

if sys.platform == "win32":
    _CREATION_FLAGS = subprocess.CREATE_NO_WINDOW
else:
    _CREATION_FLAGS = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What a variant is chosen for.

    Attributes:
        pci_bus_id: As in an Assignment.
        knobs: All of the load's, as the run uses them.
    """

    info: WorkloadInfo
    gpu: GpuId
    pci_bus_id: str | None
    knobs: Mapping[str, int]

    @property
    def probe_knobs(self) -> dict[str, int]:
        """The knobs with which variants are compared."""
        return {**self.knobs, **self.info.probe_knobs}


@dataclass(frozen=True, slots=True)
class Probed:
    """What a child found out about one variant.

    Attributes:
        work_per_s: Units of work per second of device time; 0 if the variant is of no use.
        fault: Why it is of no use, for a person.
        lasts: The same would be found the next time; a full memory or a busy machine passes.
    """

    work_per_s: float = 0.0
    fault: str = ""
    lasts: bool = True

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Inverse of ``dataclasses.asdict``.

        Raises:
            ValueError, TypeError, KeyError: It is something else.
        """
        rate = float(document["work_per_s"])
        return cls(rate, str(document["fault"]), bool(document["lasts"]))


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant for a run, and what a person should know of how it was chosen."""

    variant: Variant
    notes: tuple[str, ...] = ()


def choose(
    question: Question, variants: Sequence[Variant], device: Device, report: Report
) -> Choice:
    """The fastest variant that gives right answers; where there is but one, it is not tried.

    Args:
        question: Load, knobs and device.
        variants: Of the load on that device, the safest first.
        device: Opened; the children open it again.
        report: Told what is being tried.

    Raises:
        WorkloadError: None is of use; the text says why, for each.
    """
    if len(variants) == 1:
        return Choice(variants[0])
    memory = Memory.of(question.info, question.probe_knobs, variants, device)
    probed, notes = _recalled(memory)
    if not probed:
        probed = {variant.name: probe(question, variant, report) for variant in variants}
        if all(result.lasts for result in probed.values()):
            notes += memory.keep({name: asdict(result) for name, result in probed.items()})
    return _judged(question.info, variants, probed, notes)


def _recalled(memory: Memory) -> tuple[dict[str, Probed], tuple[str, ...]]:
    """What was found out earlier, if anything; a note if it was damaged."""
    try:
        kept = memory.recall()
        return {name: Probed.from_json(result) for name, result in kept.items()}, ()
    except (OSError, ValueError, TypeError, LookupError) as reason:
        damage = f"{type(reason).__name__}: {reason}"
        return {}, (f"{memory.path} is damaged ({damage}): the variants were tried again",)


def _judged(
    info: WorkloadInfo,
    variants: Sequence[Variant],
    probed: Mapping[str, Probed],
    notes: tuple[str, ...],
) -> Choice:
    useful = [variant for variant in variants if not probed[variant.name].fault]
    faults = [
        f"{variant.name}: left out, {probed[variant.name].fault}"
        for variant in variants
        if variant not in useful
    ]
    if not useful:
        raise WorkloadError(
            f"no way of compiling {info.name} works on this device: {'; '.join(faults)}"
        )
    best = useful[0]
    for variant in useful[1:]:
        if probed[variant.name].work_per_s > MARGIN * probed[best.name].work_per_s:
            best = variant
    how = f"fastest of {len(useful)} that gave right answers"
    if len(useful) == 1:
        how = f"the only one of {len(variants)} that gave right answers"
    return Choice(best, (f"{best.name}: {how}", *faults, *notes))


def probe(question: Question, variant: Variant, report: Report) -> Probed:
    """Try one variant in a child process, which dies with this one."""
    request = {
        "workload": question.info.name,
        "gpu": question.gpu,
        "pci_bus_id": question.pci_bus_id,
        "knobs": question.probe_knobs,
        "variant": asdict(variant),
    }
    with tempfile.TemporaryFile() as stderr:
        # Its stdin stays open for as long as somebody waits for the answer.
        child = subprocess.Popen(
            [*children.command("probe"), json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            creationflags=_CREATION_FLAGS,
        )
        overdue = threading.Timer(TIME_LIMIT_S, child.kill)
        overdue.start()
        with child:
            answer = _answer(child, lambda step, part: report(f"{variant.name}: {step}", part))
            child.kill()
        is_overdue = not overdue.is_alive()
        overdue.cancel()
        overdue.join()
        if answer is not None:
            return answer
        if is_overdue:
            return Probed(fault=f"it gave no answer in {TIME_LIMIT_S:.0f} s", lasts=False)
        return _obituary(child.returncode, stderr)


def _answer(child: subprocess.Popen[bytes], report: Report) -> Probed | None:
    """The last line that the child says; None if it ends without."""
    assert child.stdout is not None
    for line in child.stdout:
        said: dict[str, Any] = json.loads(line)
        if "step" not in said:
            return Probed.from_json(said)
        report(said["step"], said["fraction"])
    child.wait()
    return None


def _obituary(status: int, stderr: IO[bytes]) -> Probed:
    """Of a child that died without an answer; whoever killed it will not do so each time."""
    stderr.seek(0, 2)
    stderr.seek(max(0, stderr.tell() - STDERR_TAIL_BYTES))
    lines = stderr.read().decode(errors="replace").strip().splitlines() or [""]
    name = f"status {status}"
    if status < 0 and sys.platform != "win32":
        name = signal.Signals(-status).name
    fault = f"crashed with {name} {lines[-1]}".strip()
    return Probed(fault=fault, lasts=name != "SIGKILL")

"""Evidence against mining, the class of a process, and who is never held.

What speaks for a process can be feigned: a window that is drawn, a name, a library that is
mapped. So all of it together weighs 8 nats at most, less than what a miner shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from gpupanel.detection.reading.facts import ProcessFacts, Use
from gpupanel.detection.signatures import Signatures, bare_name
from gpupanel.model.verdict import Evidence, EvidenceFamily, EvidenceSource, ProcessClass

_WINDOW_S = 10.0
_DRAWS_PERCENT = 5.0
_ENCODES_PERCENT = 5.0
_COMPUTES_PERCENT = 25.0
_OF_WINDOWS = ("libwayland-client", "libx11.", "libxcb.", "dxgi.dll", "d3d11.dll", "d3d12.dll")
"""Intel's driver computes on the engine that draws: to draw, a process has to show it somewhere."""


WHOSE: Mapping[ProcessClass, str] = {
    ProcessClass.AI: "AI programs",
    ProcessClass.RENDERING: "renderers",
    ProcessClass.COMPUTE: "scientific programs",
    ProcessClass.GAMING: "games",
}
"""In the words of a sentence."""


def evidence(facts: ProcessFacts, known: Signatures) -> Iterator[Evidence]:
    """A known program, and libraries that a miner has no use for."""
    program_class = _program_class(facts, known)
    if program_class is not None:
        is_trusted = facts.program.is_trusted and facts.script is None
        where = "installed where only root can write" if is_trusted else "by name alone"
        kind = "known_program" if is_trusted else "named_like_a_known_program"
        text = f"it is {bare_name(facts.program.name or facts.name)}, {where}"
        yield _line("program", known.weights[kind], text, EvidenceSource.EXECUTABLE)
    framework = _framework(facts, known)
    if framework is not None:
        text = f"it has loaded {framework[1]}, a library of {WHOSE[framework[0]]}"
        yield _line("framework", known.weights["framework"], text, EvidenceSource.FILES)


def evidence_of_use(
    facts: ProcessFacts, uses: Sequence[Use], known: Signatures
) -> Iterator[Evidence]:
    """Drawing and encoding."""
    if _draws(facts, uses):
        text = "it draws, and shows it in a window"
        yield _line("draws", known.weights["draws"], text, EvidenceSource.USE)
    elif not facts.libraries and _draws_percent(uses) >= _DRAWS_PERCENT:
        text = "it uses the engine that draws; whether it has a window cannot be seen"
        yield _line("draws", known.weights["draws_somewhere"], text, EvidenceSource.USE)
    if _encodes(uses):
        text = "it encodes or decodes video"
        yield _line("encodes", known.weights["encodes"], text, EvidenceSource.USE)


def class_of_program(facts: ProcessFacts, known: Signatures) -> ProcessClass | None:
    """What a process that does not mine uses a GPU for, as its files tell; None for untold."""
    if facts.program.name in known.session or facts.name in known.session:
        return ProcessClass.DESKTOP
    program_class = _program_class(facts, known)
    if program_class is not None:
        return program_class
    if any(folder in f"{facts.program.path} {facts.arguments}" for folder in known.game_folders):
        return ProcessClass.GAMING
    framework = _framework(facts, known)
    if framework is not None:
        return framework[0]
    # A project's program is called as the project likes; what runs it is known.
    started_by = (_class_of((one.name,), known) for one in facts.launchers)
    return next((found for found in started_by if found is not None), None)


def class_of_use(facts: ProcessFacts, uses: Sequence[Use]) -> ProcessClass:
    """The same where files tell nothing."""
    if _encodes(uses):
        return ProcessClass.MEDIA
    has_drawn = _has_window(facts) and _draws_percent(uses) > 0
    return ProcessClass.GRAPHICS if has_drawn else ProcessClass.UNKNOWN


def protection(facts: ProcessFacts, known: Signatures) -> str:
    """Why a process is never held; empty for all others.

    By name and place: a program that root did not install gets no protection from its name.
    """
    if facts.pid == 1:
        return "it is the first process of the system"
    if not facts.program.is_trusted:
        return ""
    name = facts.program.name
    if name in known.session:
        return f"{name} belongs to the session, which would hang with it"
    if name in known.browsers and any(
        word.startswith(known.browser_marks) for word in facts.arguments
    ):
        return f"this process draws all windows of {name}"
    return ""


def computes(facts: ProcessFacts, uses: Sequence[Use]) -> bool:
    """Whether computing is what it uses the GPU for: a file browser only draws."""
    busy = [0.0 if use.utilization_percent is None else use.utilization_percent for use in uses]
    percent = _mean(uses, busy)
    drawn = _draws_percent(uses) if _has_window(facts) else 0.0
    return percent >= _COMPUTES_PERCENT and drawn < percent / 2


def _draws(facts: ProcessFacts, uses: Sequence[Use]) -> bool:
    return _has_window(facts) and _draws_percent(uses) >= _DRAWS_PERCENT


def _has_window(facts: ProcessFacts) -> bool:
    return any(name.casefold().startswith(_OF_WINDOWS) for name in facts.libraries)


def _draws_percent(uses: Sequence[Use]) -> float:
    return _mean(uses, [use.graphics_percent for use in uses])


def _encodes(uses: Sequence[Use]) -> bool:
    return _mean(uses, [use.codec_percent for use in uses]) >= _ENCODES_PERCENT


def _program_class(facts: ProcessFacts, known: Signatures) -> ProcessClass | None:
    return _class_of((facts.program.name, facts.name), known)


def _class_of(names: Sequence[str], known: Signatures) -> ProcessClass | None:
    for process_class, programs in known.programs:
        if any(bare_name(name) in programs for name in names if name):
            return process_class
    return None


def _framework(facts: ProcessFacts, known: Signatures) -> tuple[ProcessClass, str] | None:
    for process_class, beginnings in known.frameworks:
        for name in sorted(facts.libraries):
            if name.startswith(beginnings):
                return process_class, name
    return None


def _mean(uses: Sequence[Use], values: Sequence[float]) -> float:
    """Over the last seconds."""
    recent = [
        value
        for use, value in zip(uses, values, strict=True)
        if use.time_s > uses[-1].time_s - _WINDOW_S
    ]
    return fmean(recent) if recent else 0.0


def _line(kind: str, weight: float, text: str, source: EvidenceSource) -> Evidence:
    return Evidence(EvidenceFamily.BENIGN, kind, weight, text, source)

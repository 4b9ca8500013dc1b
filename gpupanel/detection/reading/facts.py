"""What is known of one process, as values that every family of evidence reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """The file that a process runs.

    Attributes:
        path: Empty where it cannot be read.
        sha256: Of its content; None until it was read whole, or where it cannot be.
        markers: Texts of miners that its content holds.
        is_trusted: Only root can write to it and to every folder above.
    """

    path: str = ""
    sha256: str | None = None
    markers: tuple[str, ...] = ()
    is_trusted: bool = False

    @property
    def name(self) -> str:
        """Without folders and without what the kernel adds for a file that was removed."""
        path = self.path.removesuffix(" (deleted)").replace("\\", "/")
        return path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Connection:
    """An established connection to another host, or to a port of this one.

    Attributes:
        host: The other end's address as text.
        port: The other end's.
        age_s: For how long it has been seen.
        is_local: The other end is this host.
        bytes_per_s: Both ways together, since it was seen first; None where nothing tells it yet.
    """

    host: str
    port: int
    age_s: float = 0.0
    is_local: bool = False
    bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Relative:
    """A process of the same account that started the one in question, or was started by it."""

    name: str
    arguments: tuple[str, ...]
    connections: tuple[Connection, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A file that a process was told to read, or that lies where it would read it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One process at one look.

    Attributes:
        name: As the kernel or the driver calls it.
        script: What an interpreter runs; None for other programs.
        arguments: With the program first.
        launchers: The nearest first; none above a shell or a session.
        children: And theirs; none that uses a GPU itself, and none below a shell.
        listening_ports: Of this host.
        open_files: Paths of regular files.
        libraries: Names of mapped files without folders.
        parent: Pid of the parent; 0 where it is not known.
        uid: None where the system has none.
    """

    pid: int
    started: int
    name: str = ""
    program: Program = Program()
    script: Program | None = None
    arguments: tuple[str, ...] = ()
    launchers: tuple[Relative, ...] = ()
    connections: tuple[Connection, ...] = ()
    listening_ports: tuple[int, ...] = ()
    open_files: tuple[str, ...] = ()
    libraries: frozenset[str] = frozenset()
    configs: tuple[Config, ...] = ()
    parent: int = 0
    uid: int | None = None
    children: tuple[Relative, ...] = ()

    @property
    def content_sha256(self) -> str | None:
        """What it is, whatever it is called: of an interpreter, the content of its script."""
        return (self.script or self.program).sha256


@dataclass(frozen=True, slots=True)
class Use:
    """How a process used GPUs over the time before one look.

    Attributes:
        time_s: Monotonic.
        utilization_percent: None where the driver does not count it.
        graphics_percent: Of the engines that draw.
        codec_percent: Of the engines that encode and decode.
        memory_bytes: None where the driver does not count it.
        bus_bytes_per_s: Over PCIe, of the whole GPU; None where that is not measured.
    """

    time_s: float
    utilization_percent: float | None
    graphics_percent: float = 0.0
    codec_percent: float = 0.0
    memory_bytes: float | None = None
    bus_bytes_per_s: float | None = None

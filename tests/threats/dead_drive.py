"""A drive of a user's own (FUSE) from which a program runs, and which then answers nobody any more.

Runs as root in namespaces of its own: ``dead_drive.py WHERE FOLDER`` (see test_dead_drive.py).
WHERE is ``here``, or ``there`` for a drive that only the program's own mount namespace knows; a
link to the drive is put into FOLDER. Prints what was found out about the program without asking
the drive. The protocol: the kernel's include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import stat
import struct
import subprocess
import sys
from pathlib import Path

from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.signatures import built_in
from gpupanel.enforcement.kin import Kin

USER = 65534
MOUNT = "/mnt"
LIFE_S = 20

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS = 0x00020000
_IN, _OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<6Q10I")
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _RELEASE, _INIT = 1, 2, 3, 14, 15, 18, 26
_INTERRUPT, _BATCH_FORGET = 36, 42
_FOLDER, _FILE = 1, 2


def mounted() -> int:
    """The device by which whoever holds it serves the drive."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={USER},group_id={USER},allow_other"
    if _LIBC.mount(b"drive", MOUNT.encode(), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "a drive cannot be mounted here")
    return device


def serve(device: int, content: bytes) -> None:
    """One program under any name, until SIGUSR1: whoever asks from then on waits.

    It ends after some seconds, whatever happens: then the kernel lets everybody go who waits.
    """
    signal.alarm(LIFE_S)
    dead: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: dead.append(number))
    while True:
        message = os.read(device, 1 << 17)
        _, operation, unique, node, *_ = _IN.unpack_from(message)
        if dead or operation in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            continue
        told = answer(operation, node, message[_IN.size :], content)
        error = -errno.ENOSYS if told is None else 0
        told = told or b""
        os.write(device, _OUT.pack(_OUT.size + len(told), error, unique) + told)


def answer(operation: int, node: int, rest: bytes, content: bytes) -> bytes | None:
    """None for what this drive cannot do."""
    if operation == _READ:
        _, offset, size = struct.unpack_from("<QQI", rest)
        return content[offset : offset + size]
    answers = {
        _INIT: struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, 0, 0, 0, 4096, 1, *[0] * 10),
        _LOOKUP: struct.pack("<QQQQII", _FILE, 0, 0, 0, 0, 0) + about(_FILE, content),
        _GETATTR: struct.pack("<QII", 0, 0, 0) + about(node, content),
        _OPEN: struct.pack("<QII", 0, 0, 0),
        _RELEASE: b"",
    }
    return answers.get(operation)


def about(node: int, content: bytes) -> bytes:
    kind, size = (stat.S_IFDIR, 0) if node == _FOLDER else (stat.S_IFREG, len(content))
    return _ATTRIBUTES.pack(
        node, size, 0, 0, 0, 0, 0, 0, 0, kind | 0o755, 1, USER, USER, 0, 4096, 0
    )


def found_out(pid: int) -> dict[str, object]:
    """By detection, and by who looks for more processes of a program that is held."""
    reader, kin = ProcReader(built_in()), Kin()
    reader.begin_look(0.0, [pid])
    facts = reader.read(pid, 0)
    assert facts is not None
    young = [one for one, _ in kin.candidates({USER}, 0.0)]
    return {
        "path": facts.program.path,
        "sha256": facts.program.sha256,
        "arguments": facts.arguments,
        "is_candidate": pid in young,
        "likeness": kin.likeness(pid, by_arguments=False),
    }


def main(where: str, folder: str) -> None:
    link = f"{folder}/config.json"
    os.symlink(f"{MOUNT}/config.json", link)
    back = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    if where == "there":
        _LIBC.unshare(_CLONE_NEWNS)
    device = mounted()
    server = os.fork()
    if server == 0:
        serve(device, Path("/bin/sh").read_bytes())
    os.close(device)
    program = subprocess.Popen(
        ["update", "-c", "read line", "update", "--config", link],
        executable=f"{MOUNT}/update", cwd=MOUNT, user=USER, group=USER, stdin=subprocess.PIPE,
    )  # fmt: skip
    _LIBC.setns(back, _CLONE_NEWNS)
    os.kill(server, signal.SIGUSR1)
    sys.stdout.write(json.dumps(found_out(program.pid)))
    sys.stdout.flush()
    os.kill(server, signal.SIGKILL)
    program.communicate()


if __name__ == "__main__":
    main(*sys.argv[1:])

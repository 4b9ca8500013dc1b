"""Attacks on the service, for a Python without gpupanel: ``python3 -I -c SOURCE SOCKET ATTACK S``.

Attacks for S seconds and prints what it saw. Standard library only: it runs as another user, who
can read nothing of ours.
"""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

ADDRESS, ATTACK, SECONDS = sys.argv[1], sys.argv[2], float(sys.argv[3])
HELLO = b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":1}}\n'


def connected(greet: bool = True) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(ADDRESS)
    made.settimeout(SECONDS)
    if greet:
        made.sendall(HELLO)
        made.recv(65536)
    return made


def request(method: str, **params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": 2, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


def one_line(line: bytes) -> str:
    """Send a line in place of a request; what is answered, and whether the line was closed."""
    with connected() as to_service:
        told = b""
        with contextlib.suppress(BrokenPipeError):
            to_service.sendall(line)
        with contextlib.suppress(ConnectionResetError):
            while chunk := to_service.recv(65536):
                told += chunk
    return told.decode()


def until_over(step: Callable[[], None]) -> str:
    end = time.monotonic() + SECONDS
    count = 0
    while time.monotonic() < end:
        try:
            step()
            count += 1
        except OSError as reason:
            return f"{count} {type(reason).__name__}"
    return str(count)


def flood() -> str:
    """Requests as fast as they go, over as many connections as there are, answers thrown away."""
    made = [connected() for _ in range(8)]
    lines = request("gpus") * 200
    for one in made:
        one.setblocking(False)

    def step() -> None:
        for one in made:
            with contextlib.suppress(BlockingIOError):
                one.send(lines)
            with contextlib.suppress(BlockingIOError):
                one.recv(1 << 20)

    return until_over(step)


def dear() -> str:
    """The dearest question there is, again and again."""
    made = [connected() for _ in range(8)]
    lines = request("history", seconds=3600) * 50
    for one in made:
        one.setblocking(False)

    def step() -> None:
        for one in made:
            with contextlib.suppress(BlockingIOError):
                one.send(lines)
            with contextlib.suppress(BlockingIOError):
                one.recv(1 << 20)

    return until_over(step)


def slow_reader() -> str:
    """Subscribes to all, asks much, reads nothing."""
    made = [connected() for _ in range(8)]
    for one in made:
        one.setblocking(False)
        for topic in ("snapshots", "processes", "events", "gpus", "policy"):
            one.send(request("subscribe", topic=topic, interval_s=0))
    lines = request("history", seconds=60) * 200

    def step() -> None:
        for one in made:
            with contextlib.suppress(BlockingIOError):
                one.send(lines)
        time.sleep(0.01)

    return until_over(step)


def slowloris() -> str:
    """A byte at a time, of a request without an end."""
    made = [connected() for _ in range(8)]

    def step() -> None:
        for one in made:
            one.send(b" ")
        time.sleep(0.05)

    return until_over(step)


def silent() -> str:
    """Connects and says nothing."""
    with connected(greet=False) as one:
        one.settimeout(SECONDS)
        return repr(one.recv(100))


def newlines() -> str:
    with connected() as one:
        blank = b"\n" * 65536
        one.setblocking(False)

        def step() -> None:
            with contextlib.suppress(BlockingIOError):
                one.send(blank)

        return until_over(step)


def knocking() -> str:
    """Connects and leaves, as fast as it goes."""
    return until_over(lambda: connected(greet=False).close())


def many() -> tuple[int, list[str]]:
    """Forty connections; how many are answered, and what the others are told."""
    made = [connected(greet=False) for _ in range(40)]
    answers = []
    for one in made:
        with contextlib.suppress(BrokenPipeError):
            one.sendall(HELLO)
        answers.append(json.loads(one.recv(65536)))
    served = [one for one in answers if "result" in one]
    refused = {one["error"]["message"] for one in answers if "error" in one}
    return len(served), sorted(refused)


def greet() -> None:
    """No attack: when it is answered, whoever came before has been let in or refused."""
    connected().close()


def half_open() -> str:
    """Ends its side in the middle of a line."""

    def step() -> None:
        one = connected()
        one.send(b'{"jsonrpc"')
        one.shutdown(socket.SHUT_WR)
        one.recv(100)
        one.close()

    return until_over(step)


def killed() -> str:
    """Is gone in the middle of a long answer."""

    def step() -> None:
        one = connected()
        one.send(request("history", seconds=3600) * 3)
        one.recv(10)
        one.close()

    return until_over(step)


LINES = {
    "mebibyte": b"x" * (1 << 20),
    "mebibyte_line": b"x" * (1 << 20) + b"\n",
    "deep": b"[" * 30_000 + b"]" * 30_000 + b"\n",
    "wide": b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"a":['
    + b"{}," * 20_000
    + b"{}]}}\n",
    "twice": b'{"jsonrpc":"2.0","id":1,"id":2,"method":"gpus"}\n',
    "not_utf8": b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}\n',
    "utf16": '{"jsonrpc":"2.0","id":1,"method":"gpus"}\n'.encode("utf-16"),
    "nan": b'{"jsonrpc":"2.0","id":NaN,"method":"gpus"}\n',
    "long_integer": b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"gpus"}\n',
    "quotes": b'{"jsonrpc":"2.0","id":1,"method":"' + b'\\"' * 30_000 + b"[" * 100 + b"\n",
}

if __name__ == "__main__":
    saw = one_line(LINES[ATTACK]) if ATTACK in LINES else globals()[ATTACK]()
    sys.stdout.write(json.dumps(saw) + "\n")

"""Who comes in by which door, and whom the kernel says that it is: real users, real namespaces."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

from gpupanel.ipc.limits import Account
from gpupanel.ipc.listening import Listener
from gpupanel.ipc.server import Connection
from gpupanel.ipc.transport import Endpoint, Peer, Stream
from gpupanel.ipc.unix_socket import NAMES, SocketCaller, SocketDoor, open_doors
from gpupanel.model.errors import EndpointFailed, RequestDenied
from tests.ipc.conftest import GID, SYSTEM_PYTHON, as_user, open_directory

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be a second user")

ASK = """
import contextlib, json, socket, sys
made = socket.socket(socket.AF_UNIX)
try:
    made.connect(sys.argv[1])
    with contextlib.suppress(BrokenPipeError):  # who is refused is not listened to
        made.sendall(b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{}}\\n')
    told = json.loads(made.recv(65536))
    print(json.dumps(told["result"] if "result" in told else told["error"]["message"]))
except OSError as reason:
    print(json.dumps(type(reason).__name__))
"""
"""Prints whom the service sees, or why it is not served."""


def tell(stream: Stream, peer: Peer, account: Account) -> None:
    """A service that tells each client who it is."""
    about = {
        "endpoint": peer.endpoint, "uid": peer.uid, "pid": peer.pid, "started": peer.started,
        "is_admin": peer.is_admin, "may_control": peer.may_control,
    }  # fmt: skip
    Connection(stream, peer, {"hello": lambda _: about}, frozenset(), account).serve()


@pytest.fixture
def run_dir() -> Iterator[Path]:
    directory = open_directory()
    with Listener(open_doors(directory, GID if os.geteuid() == 0 else None), tell):
        yield directory
    assert list(directory.iterdir()) == []
    directory.rmdir()


def test_our_own_process_is_known_by_pid_and_start(run_dir: Path) -> None:
    told = json.loads(
        subprocess.run(
            [sys.executable, "-I", "-c", ASK, str(run_dir / NAMES[Endpoint.READ_ONLY])],
            check=True, capture_output=True, text=True,
        ).stdout
    )  # fmt: skip
    assert (told["endpoint"], told["uid"]) == ("read-only", os.geteuid())
    assert told["is_admin"] == (os.geteuid() == 0)
    assert told["may_control"] is False
    assert told["started"] > 0


@needs_root
def test_another_user_gets_in_by_the_open_door_alone(run_dir: Path) -> None:
    told = json.loads(as_user(60_000, ASK, str(run_dir / NAMES[Endpoint.READ_ONLY])))
    assert (told["uid"], told["is_admin"], told["may_control"]) == (60_000, False, False)
    refused = json.loads(as_user(60_000, ASK, str(run_dir / NAMES[Endpoint.CONTROL])))
    assert refused == "PermissionError"


@needs_root
def test_a_member_of_the_group_controls_and_is_no_administrator(run_dir: Path) -> None:
    control = str(run_dir / NAMES[Endpoint.CONTROL])
    told = json.loads(as_user(60_000, ASK, control, groups=str(GID)))
    assert (told["uid"], told["is_admin"], told["may_control"]) == (60_000, False, True)


@needs_root
def test_permissions_that_somebody_loosened_do_not_make_a_member(run_dir: Path) -> None:
    control = run_dir / NAMES[Endpoint.CONTROL]
    control.chmod(0o666)
    refused = json.loads(as_user(60_000, ASK, str(control)))
    assert refused == "you are not in the group gpupanel"


@needs_root
def test_root_of_a_user_namespace_is_the_user_that_it_was(run_dir: Path) -> None:
    """It says of itself that it is user 0."""
    became = (
        "import os, subprocess, sys; assert os.getuid(); subprocess.run(sys.argv[1:], check=True)"
    )
    path = str(run_dir / NAMES[Endpoint.READ_ONLY])
    seen = "import os; assert os.getuid() == 0\n" + ASK
    told = json.loads(
        as_user(60_000, became, "unshare", "-Ur", SYSTEM_PYTHON, "-I", "-c", seen, path)
    )
    assert (told["uid"], told["is_admin"]) == (60_000, False)


CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


@needs_root
@pytest.mark.parametrize(
    ("command", "is_served"),
    [
        ([*CONTAINER], True),
        ([*CONTAINER, "setpriv", "--reuid", "60000", "--clear-groups"], False),
        ([*CONTAINER, "setpriv", "--bounding-set", "-sys_admin"], False),
        (["unshare", "--user", "--map-root-user", *CONTAINER[1:], "--pid"], False),
    ],
    ids=["root of the machine", "a user", "root without its powers", "root of a user namespace"],
)
def test_of_those_in_containers_only_root_of_the_machine_is_served(
    run_dir: Path, command: list[str], is_served: bool
) -> None:
    path = str(run_dir / NAMES[Endpoint.READ_ONLY])
    done = subprocess.run(
        [*command, SYSTEM_PYTHON, "-I", "-c", ASK, path], check=True, capture_output=True, text=True
    )
    told = json.loads(done.stdout)
    if is_served:
        assert told["is_admin"] is True
    else:
        assert told == "processes in containers are not served"


@pytest.mark.parametrize("is_reaped", [True, False])
def test_a_peer_that_has_ended_is_refused(tmp_path: Path, is_reaped: bool) -> None:
    """The number of its process is another one's as soon as its parent has taken leave of it."""
    with socket.socket(socket.AF_UNIX) as listening:
        path = tmp_path / "s"
        listening.bind(os.fspath(path))
        listening.listen()
        source = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        client = subprocess.Popen([sys.executable, "-c", source, str(path)])
        connected, _ = listening.accept()
    os.waitid(os.P_PID, client.pid, os.WEXITED | os.WNOWAIT)
    if is_reaped:
        client.wait()
    caller = SocketCaller(connected, Endpoint.READ_ONLY, None)
    with pytest.raises(RequestDenied, match="has ended"):
        caller.peer()
    caller.close()
    client.wait()


def test_both_doors_have_their_permissions_whatever_the_umask(run_dir: Path) -> None:
    directory = run_dir / "another"
    before = os.umask(0)
    try:
        doors = open_doors(directory, GID if os.geteuid() == 0 else None)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    for door in doors:
        door.shut()
        door.close()
    directory.rmdir()
    assert modes["read-only.sock"] == 0o666
    assert modes["control.sock"] == (0o660 if os.geteuid() == 0 else 0o600)


def test_a_socket_that_a_dead_service_left_is_replaced(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(os.fspath(tmp_path / NAMES[Endpoint.READ_ONLY]))
    dead.close()
    tmp_path.chmod(0o755)
    door = SocketDoor(tmp_path, Endpoint.READ_ONLY, None)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(tmp_path / NAMES[Endpoint.READ_ONLY]))
    door.shut()
    door.close()


def test_a_second_service_does_not_take_the_place_of_a_first_one(run_dir: Path) -> None:
    with pytest.raises(EndpointFailed, match="another service answers"):
        open_doors(run_dir)
    assert (run_dir / NAMES[Endpoint.READ_ONLY]).is_socket()


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_directory_that_others_can_change_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(EndpointFailed, match="that only it can change"):
        open_doors(tmp_path)


def test_a_link_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(EndpointFailed, match="not a directory of the service's own"):
        open_doors(tmp_path / "link")


def test_a_file_in_the_place_of_a_socket_stays(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / NAMES[Endpoint.CONTROL]).write_text("mine")
    with pytest.raises(EndpointFailed, match="is not a socket"):
        open_doors(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[Endpoint.CONTROL]]

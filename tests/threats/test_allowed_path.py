"""A program that policy allows by its path: whoever only looks like it is held all the same."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.signatures import built_in
from gpupanel.enforcement.enforcer import Enforcer, Plan
from gpupanel.model.gpu import ProcessKind, ProcessSample
from gpupanel.model.verdict import ProcessClass, Standing, Verdict
from gpupanel.policy.claims import Claim, Level, Scope
from gpupanel.policy.offender import Treatment
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, resolve
from gpupanel.service.mining.enforcing import Enforcing

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can play another user"
)

USER = 65534
SLEEP = Path("/bin/sleep").resolve()
MINES = Verdict(ProcessClass.MINING, Standing.MINING, 1.0, 1.7e9)
OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")

Start = Callable[..., int]


class Planned(Enforcer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []

    def plan(self, plan: Plan) -> None:
        self.plans.append(plan)


def allowing(path: Path) -> EffectivePolicy:
    said: dict[str, int | str | tuple[str, ...]] = {
        "mining.enforcement": "enforce",
        "mining.max_efficiency_percent": 50,
        "mining.allowed_executables": (str(path),),
    }
    claims = [Claim(key, word, Level.MANDATORY, Scope.MACHINE, None) for key, word in said.items()]
    return resolve(claims, state=PolicyState.MANAGED)


def treated(pid: int, policy: EffectivePolicy) -> Treatment | None:
    """What is done about a process that was found to mine; None for nothing."""
    reader = ProcReader(built_in())
    reader.begin_look(0.0, [pid])
    facts = reader.read(pid, 0)
    assert facts is not None
    key = pid, facts.started
    sample = ProcessSample("cpu", *key, "miner", "nobody", ProcessKind.COMPUTE, 0.0, 90.0, uid=USER)
    enforcer = Planned()
    Enforcing(enforcer, lambda: (), lambda uid: policy, None).judged(
        [sample], {key: MINES}, lambda _: facts
    )
    (plan,) = enforcer.plans
    return plan.targets[0].treatment if plan.targets else None


@pytest.fixture
def start() -> Iterator[Start]:
    """Runs a command as the user, from a shell: nobody is held whom the service itself started."""
    running: list[subprocess.Popen[str]] = []

    def run(command: Sequence[str | Path], program: Path) -> int:
        shell = subprocess.Popen(
            ["sh", "-c", '"$@" & echo $!; wait', "sh", *command],
            user=USER, group=USER, extra_groups=(), cwd="/", start_new_session=True,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        running.append(shell)
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        while os.readlink(f"/proc/{pid}/exe") != str(program):
            select.select([], [], [], 0.005)  # it is on its way to become that
        return pid

    yield run
    for shell in running:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.communicate()


@pytest.fixture
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's program of that name, in the user's folder ``allowed``."""
    home = tmp_path_factory.mktemp("home")
    for folder in (home, home.parent, home.parent.parent):
        folder.chmod(0o755)
    made = home / "allowed" / "sleep"
    made.parent.mkdir()
    made.write_bytes(SLEEP.read_bytes() + b"and mine")
    made.chmod(0o755)
    for path in (made, made.parent, home):
        os.chown(path, USER, USER)
    return made


def test_what_root_alone_can_write_is_allowed_by_its_path(start: Start) -> None:
    assert treated(start([SLEEP, "100"], SLEEP), allowing(SLEEP)) is None


def test_a_path_that_its_user_can_write_allows_nothing(start: Start, copy: Path) -> None:
    treatment = treated(start([copy, "100"], copy), allowing(copy))
    assert treatment is not None
    assert (treatment.action, treatment.cap_percent) == ("throttle", 50)


def test_the_last_part_of_a_path_allows_nothing(start: Start, copy: Path) -> None:
    assert treated(start([copy, "100"], copy), allowing(SLEEP)) is not None


def test_a_file_mounted_over_the_allowed_one_is_another(start: Start, copy: Path) -> None:
    """In a mount namespace of his own a user may do so, and the kernel then tells that path."""
    over = f'mount --bind "{copy}" "{SLEEP}" && exec "{SLEEP}" 100'
    pid = start([*OWN_MOUNTS, over], SLEEP)
    assert os.readlink(f"/proc/{pid}/exe") == str(SLEEP)
    assert treated(pid, allowing(SLEEP)) is not None


def test_a_root_of_his_own_with_that_path_in_it_is_another(start: Start, copy: Path) -> None:
    """As in the image of a container, which may hold anything at ``/usr/bin``."""
    inside = (
        'mount -t tmpfs tmpfs /mnt && cd /mnt && mkdir -p ".$(dirname "$1")" lib lib64 old'
        ' && cp "$2" ".$1" && mount --rbind /lib lib && mount --rbind /lib64 lib64'
        ' && pivot_root . old && exec "$1" 100'
    )
    pid = start([*OWN_MOUNTS, inside, "sh", SLEEP, copy], SLEEP)
    assert treated(pid, allowing(SLEEP)) is not None

"""packaging/dev with its surroundings replaced: a PATH of ours, a Python that only takes notes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX sh; Windows has dev.ps1")

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "cat", "cksum", "dirname", "sed", "tr", "rm", "cp", "mkdir", "env")

# Stands for the system's Python and, copied by "-m venv", for the one of .venv. It notes each call
# but the look at its version, and fails when asked for what the file "broken" names.
NOTING = """#!/bin/sh
case "$*" in *sys.version_info* | --version) exit 0 ;; esac
printf '%s %s\\n' "${0##*/}" "$*" >>'PLACE/calls'
if [ -e 'PLACE/broken' ]; then
    case "$0 $*" in *"$(cat 'PLACE/broken')"*) exit 7 ;; esac
fi
case "$*" in "-m venv --clear "*)
    rm -rf "$4" && mkdir -p "$4/bin"
    for name in python gpupanelctl ruff mypy lint-imports; do cp "$0" "$4/bin/$name"; done ;;
esac
"""


@dataclass
class Machine:
    """A checkout and a PATH on which nothing but the basic tools and our fakes exist."""

    place: Path
    checkout: Path
    environment: dict[str, str] = field(default_factory=dict)

    def fake(self, name: str, script: str = NOTING) -> None:
        program = self.place / "bin" / name
        program.write_text(script.replace("PLACE", str(self.place)))
        program.chmod(0o755)

    def dev(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / "packaging" / "dev", *arguments],
            cwd=cwd or self.place,
            env={"PATH": str(self.place / "bin")} | self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        """What the fakes were asked since the last look, paths shortened."""
        notes = self.place / "calls"
        lines = (
            notes.read_text().replace(str(self.checkout), "~").splitlines()
            if notes.exists()
            else []
        )
        notes.unlink(missing_ok=True)
        return lines

    def break_down(self, part: str) -> None:
        (self.place / "broken").write_text(part)

    def repair(self) -> None:
        (self.place / "broken").unlink()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    checkout = tmp_path / "with a space" / "gpupanel"
    shutil.copytree(
        REPOSITORY / "packaging" / "requirements", checkout / "packaging" / "requirements"
    )
    shutil.copy(REPOSITORY / "packaging" / "dev", checkout / "packaging" / "dev")
    shutil.copy(REPOSITORY / "pyproject.toml", checkout)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    machine = Machine(tmp_path, checkout)
    machine.fake("python3.13")
    machine.fake("xvfb-run")
    return machine


@pytest.fixture
def ready(machine: Machine) -> Machine:
    """A machine after its first start."""
    assert machine.dev("ctl", "gpus").returncode == 0
    machine.calls()
    return machine


PIP = "python -m pip --disable-pip-version-check -q install"
LOCKED = f"{PIP} --require-hashes --only-binary=:all:"
LOCKS = "~/packaging/requirements"
MAKE_VENV = "python3.13 -m venv --clear ~/.venv"
INSTALL_TO_RUN = f"{LOCKED} -r {LOCKS}/runtime.txt -r {LOCKS}/build.txt"
INSTALL_TO_TEST = f"{LOCKED} -r {LOCKS}/dev.txt"
INSTALL_SOURCES = f"{PIP} --no-index --no-deps --no-build-isolation --editable ~"


@pytest.mark.parametrize("arguments", [(), ("start",), ("--help",)])
def test_says_how_it_is_used(machine: Machine, arguments: tuple[str, ...]) -> None:
    result = machine.dev(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("Usage: packaging/dev run")
    assert result.stdout == ""
    assert machine.calls() == []


def test_first_start_makes_everything_from_the_locks(machine: Machine) -> None:
    result = machine.dev("ctl", "gpus", "--json")
    assert result.returncode == 0, result.stderr
    assert machine.calls() == [
        MAKE_VENV,
        INSTALL_TO_RUN,
        INSTALL_SOURCES,
        "gpupanelctl gpus --json",
    ]
    assert result.stdout == "", "standard output belongs to gpupanelctl"


def test_second_start_goes_straight_to_python(ready: Machine) -> None:
    ready.environment["DISPLAY"] = ":7"
    (ready.place / "bin" / "python3.13").unlink()
    result = ready.dev("run", "--page", "stress")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert ready.calls() == ["python -P -m gpupanel --page stress"]


def test_without_a_display_lists_the_gpus(ready: Machine) -> None:
    result = ready.dev("run")
    assert result.returncode == 0
    assert "no display" in result.stderr
    assert ready.calls() == ["gpupanelctl gpus"]


def test_what_needs_no_display_starts_without_one(ready: Machine) -> None:
    ready.dev("run", "--version")
    assert ready.calls() == ["python -P -m gpupanel --version"]


def test_passes_on_status_and_directory(ready: Machine, tmp_path: Path) -> None:
    control = ready.checkout / ".venv" / "bin" / "gpupanelctl"
    control.write_text('#!/bin/sh\necho "$PWD|$#|$2"\nexit 4\n')
    result = ready.dev("ctl", "policy", "a  file.toml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (4, f"{tmp_path}|2|a  file.toml\n")


def test_moved_checkout_gets_a_new_environment(ready: Machine) -> None:
    ready.checkout = ready.checkout.rename(ready.place / "moved")
    ready.dev("ctl")
    assert ready.calls() == [MAKE_VENV, INSTALL_TO_RUN, INSTALL_SOURCES, "gpupanelctl "]


def test_changed_lock_gets_a_new_environment(ready: Machine) -> None:
    with (ready.checkout / "packaging" / "requirements" / "runtime.txt").open("a") as lock:
        lock.write("# changed\n")
    ready.dev("ctl")
    assert ready.calls()[0] == MAKE_VENV
    ready.dev("ctl")
    assert ready.calls() == ["gpupanelctl "]


def test_vanished_python_gets_a_new_environment(ready: Machine) -> None:
    python = ready.checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3.13")
    ready.dev("ctl")
    assert ready.calls()[0] == MAKE_VENV


def test_changed_project_file_is_an_update_in_place(ready: Machine) -> None:
    with (ready.checkout / "pyproject.toml").open("a") as project:
        project.write("# changed\n")
    ready.dev("ctl")
    assert ready.calls() == [INSTALL_TO_RUN, INSTALL_SOURCES, "gpupanelctl "]


@pytest.mark.parametrize("part", ["-m venv", "--require-hashes", "--editable"])
@pytest.mark.parametrize("verb", ["run", "ctl"])
def test_interrupted_first_start_heals(machine: Machine, verb: str, part: str) -> None:
    machine.break_down(part)
    assert machine.dev(verb).returncode == 7
    assert not any(call.startswith("gpupanelctl") for call in machine.calls())
    machine.repair()
    assert machine.dev("ctl").returncode == 0
    assert machine.calls() == [MAKE_VENV, INSTALL_TO_RUN, INSTALL_SOURCES, "gpupanelctl "]


def test_interrupted_update_heals(ready: Machine) -> None:
    ready.break_down("--require-hashes")
    assert ready.dev("test").returncode == 7
    ready.repair()
    ready.calls()
    ready.dev("ctl")
    assert ready.calls()[0] == MAKE_VENV


def test_tests_add_to_the_environment_and_running_keeps_them(ready: Machine) -> None:
    ready.dev("test", "-k", "units")
    assert ready.calls()[:2] == [INSTALL_TO_TEST, INSTALL_SOURCES]
    ready.dev("ctl")
    assert ready.calls() == ["gpupanelctl "]


def test_tests_run_every_check_in_order(ready: Machine) -> None:
    ready.environment["DISPLAY"] = ":7"
    assert ready.dev("test").returncode == 0
    assert ready.calls()[2:] == [
        "ruff check",
        "ruff format --check",
        "mypy ",
        "mypy --platform win32 gpupanel",
        "lint-imports ",
        "python -m pytest",
    ]


@pytest.mark.parametrize(
    "check", ["ruff check", "ruff format", "mypy", "lint-imports", "-m pytest"]
)
def test_a_failing_check_fails_the_tests(ready: Machine, check: str) -> None:
    ready.environment["DISPLAY"] = ":7"
    ready.break_down(check)
    assert ready.dev("test").returncode == 7
    assert check in ready.calls()[-1], "nothing runs after the failure"


def test_arguments_are_pytest_s_and_a_display_is_made(ready: Machine) -> None:
    ready.dev("test", "-m", "long and not perf")
    assert ready.calls()[2:] == ["xvfb-run -a ~/.venv/bin/python -m pytest -m long and not perf"]


def test_tests_run_in_the_checkout(ready: Machine) -> None:
    ready.fake("xvfb-run", '#!/bin/sh\necho "$PWD"\n')
    assert ready.dev("test", "-x").stdout == f"{ready.checkout}\n"


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, "C.UTF-8|"),
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, "C.UTF-8|"),
        ({"LANG": "de_DE.utf8"}, "de_DE.utf8|"),
        ({"LC_ALL": "en_GB.UTF-8"}, "|en_GB.UTF-8"),
    ],
)
def test_locale_is_utf8(ready: Machine, given: dict[str, str], seen: str) -> None:
    (ready.checkout / ".venv" / "bin" / "gpupanelctl").write_text(
        '#!/bin/sh\necho "$LANG|$LC_ALL"\n'
    )
    ready.environment |= given
    assert ready.dev("ctl").stdout.strip() == seen


def test_link_in_place_of_the_environment_is_left_alone(machine: Machine) -> None:
    elsewhere = machine.place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (machine.checkout / ".venv").symlink_to(elsewhere)
    result = machine.dev("ctl")
    assert result.returncode == 1
    assert "symbolic link" in result.stderr
    assert os.listdir(elsewhere) == ["precious"]


def test_without_a_python_says_which_it_needs(machine: Machine) -> None:
    (machine.place / "bin" / "python3.13").unlink()
    machine.fake("python3", "#!/bin/sh\nexit 1\n")
    result = machine.dev("ctl")
    assert result.returncode == 1
    assert "Python 3.11 to 3.14" in result.stderr


def debian(machine: Machine, *, user: int, lacks: str) -> None:
    """Makes the machine a Debian 13 that has every package of dev's table but one."""
    table = (
        (REPOSITORY / "packaging" / "dev").read_text().split("system_packages='")[1].split("'")[0]
    )
    names = [line.split()[1] for line in table.splitlines() if line]
    assert lacks in names
    names.remove("libglib2.0-0")
    lines = [f"ii ,{name}," for name in names if name != lacks]
    lines += ["ii ,libglib2.0-0t64,libglib2.0-0 (= 2.84.4-3)", f"rc ,{lacks},"]
    machine.fake("dpkg-query", "#!/bin/sh\ncat <<'LIST'\n" + "\n".join(lines) + "\nLIST\n")
    machine.fake("id", f"#!/bin/sh\necho {user}\n")
    machine.fake("apt-get")


def test_root_gets_the_missing_package(machine: Machine) -> None:
    debian(machine, user=0, lacks="libegl1")
    result = machine.dev("ctl")
    assert result.returncode == 0, result.stderr
    assert "these system packages are missing: libegl1\n" in result.stderr
    assert machine.calls()[:2] == [
        "apt-get update -qq",
        "apt-get install -qq --no-install-recommends libegl1",
    ]


def test_user_gets_it_through_sudo(machine: Machine) -> None:
    debian(machine, user=1000, lacks="libegl1")
    machine.fake("sudo", '#!/bin/sh\nexec "$@"\n')
    assert machine.dev("ctl").returncode == 0
    assert machine.calls()[1].endswith("install -qq --no-install-recommends libegl1")


def test_user_without_sudo_is_told_the_line(machine: Machine) -> None:
    debian(machine, user=1000, lacks="pocl-opencl-icd")
    result = machine.dev("ctl")
    assert result.returncode == 1
    assert "as root" in result.stderr
    assert result.stderr.endswith("--no-install-recommends pocl-opencl-icd\n")
    assert machine.calls() == []


def test_only_the_tests_need_a_virtual_display(machine: Machine) -> None:
    debian(machine, user=0, lacks="xvfb")
    machine.dev("ctl")
    assert machine.calls()[0] == MAKE_VENV
    machine.dev("test", "-x")
    assert machine.calls()[1].endswith("--no-install-recommends xvfb")


def test_failed_package_installation_stops(machine: Machine) -> None:
    debian(machine, user=0, lacks="libegl1")
    machine.break_down("apt-get update")
    assert machine.dev("ctl").returncode == 7
    assert machine.calls() == ["apt-get update -qq"]

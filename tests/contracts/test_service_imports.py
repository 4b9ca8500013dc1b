"""What may come into the service's process: no face, no OpenCL, no way to the environment."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "gpupanel"

STRANGERS = (
    "PySide6", "shiboken6", "pyopencl", "numpy", "pyqtgraph", "rich", "appdirs", "asyncio",
    "gpupanel.ui", "gpupanel.cli", "gpupanel.stress.worker", "gpupanel.stress.session",
)  # fmt: skip

RUN = """
import sys, threading
from pathlib import Path
from gpupanel.policy.sources import MachineSource, NoUser, Sources, own_uid
from gpupanel.policy.trusted_file import Trust
from gpupanel.sampling.store import Store
from gpupanel.service import serving, system
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import Scope

place = Path(sys.argv[1])
machine = MachineSource((place / "policy.d",), Trust(own_uid() or 0, place))
sources = Sources(machine, NoUser(), place / "state")
scope = Scope(
    "system", sources, place / "history.db", journal_file=place / "held.jsonl", cells="test-imports"
)
daemon = Daemon(scope, Store(scope.history_file))
turned = threading.Event()
daemon.start(turned.set)
turned.wait()
daemon._capping.wait_until_judged()
assert daemon.summary().startswith("policy managed"), daemon.summary()
daemon.stop()
print(*sys.modules)
"""

LOOKS_AT_THE_ENVIRONMENT = {"environ", "environb", "getenv", "expanduser", "expandvars", "home"}
MAY_LOOK = {
    # What systemd set for this very process.
    "service/overseer/systemd.py",
    # What steers a worker, beside what steers the agent that started it; the service has none.
    "detection/own.py", "detection/reading/psutil_reader.py",
    # Processes of a user, who may steer himself.
    "ui", "cli",
}  # fmt: skip


def test_the_running_service_has_loaded_no_stranger(tmp_path: Path) -> None:
    (tmp_path / "policy.d").mkdir(mode=0o755)
    policy = tmp_path / "policy.d" / "50.toml"
    policy.write_text("schema = 1\nmandatory.mining.max_efficiency_percent = 50\n")
    policy.chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-c", RUN, tmp_path],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "gpupanel.detection.detector" in loaded
    assert loaded & set(STRANGERS) == set()


def test_nothing_that_the_service_imports_looks_at_the_environment() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if not MAY_LOOK & {path.relative_to(PACKAGE).as_posix(), path.relative_to(PACKAGE).parts[0]}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in LOOKS_AT_THE_ENVIRONMENT
    ]
    assert found == []


MAKES_OBJECTS = {"pickle", "marshal", "shelve", "dbm", "xmlrpc", "yaml", "dill"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}


def test_nothing_that_is_read_becomes_code_or_objects() -> None:
    """What comes in is JSON, TOML, or bytes of a form that is written down."""
    nodes = [
        (path, node)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)
    ]
    imported = {
        (path.name, name.partition(".")[0])
        for path, node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    assert {one for one in imported if one[1] in MAKES_OBJECTS} == set()
    called = {
        (path.name, node.func.id)
        for path, node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert {one for one in called if one[1] in RUNS_TEXT} == set()

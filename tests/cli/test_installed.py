"""The package's own files: what ``doctor`` says of each thing that may have become of them."""

from __future__ import annotations

import os
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

import gpupanel
from gpupanel.cli.doctor import Level, package_finding
from gpupanel.cli.installed import Installed, compared, installed
from gpupanel.policy.trusted_file import Trust

FILES = ("gpupanel/__init__.py", "gpupanel/kernels/mining.cl", "gpupanel/cli/main.py")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """As pip leaves a package: PyPA's "Recording installed projects" says how."""
    lines = []
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o644)
        path.parent.chmod(0o755)
        digest = urlsafe_b64encode(sha256(name.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(name)}\n")
    metadata = tmp_path / "gpupanel-1.dist-info"
    metadata.mkdir()
    compiled = tmp_path / "gpupanel/__pycache__/x.pyc"
    compiled.parent.mkdir()
    compiled.write_text("made here")
    lines.append("gpupanel/__pycache__/x.pyc,,\ngpupanel-1.dist-info/RECORD,,\n")
    (metadata / "RECORD").write_text("".join(lines))
    return tmp_path


def look(packages: Path) -> Installed:
    trust = Trust(os.geteuid() if sys.platform != "win32" else 0, packages)
    return compared(
        PathDistribution(packages / "gpupanel-1.dist-info"), packages / "gpupanel", trust
    )


def test_untouched_it_is_well(packages: Path) -> None:
    found = look(packages)
    assert found == Installed(packages / "gpupanel", len(FILES))
    finding = package_finding(found)
    assert (finding.level, finding.remedy) == (Level.OK, "")
    assert finding.text == f"{packages / 'gpupanel'}: 3 files as they were installed"


def edit(folder: Path) -> None:
    (folder / "kernels/mining.cl").write_text("another kernel")


def link(folder: Path) -> None:
    (folder / "kernels/mining.cl").unlink()
    (folder / "kernels/mining.cl").symlink_to("../cli/main.py")


def remove(folder: Path) -> None:
    (folder / "kernels/mining.cl").unlink()


def add(folder: Path) -> None:
    (folder / "kernels/evil.cl").touch()


@pytest.mark.parametrize(
    ("change", "field", "name", "text"),
    [
        (edit, "changed", "mining.cl", "mining.cl is not what was installed"),
        (link, "changed", "mining.cl", "mining.cl is not what was installed"),
        (remove, "missing", "mining.cl", "mining.cl is missing"),
        (add, "added", "evil.cl", "evil.cl is not of the package"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_became_of_a_file_is_a_fault(
    packages: Path, change: Callable[[Path], None], field: str, name: str, text: str
) -> None:
    change(packages / "gpupanel")
    found = look(packages)
    assert getattr(found, field) == (str(packages / "gpupanel/kernels" / name),)
    finding = package_finding(found)
    assert (finding.level, finding.remedy) == (Level.FAULT, "install gpupanel again")
    assert finding.text.endswith(text)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_a_file_that_others_may_write_is_a_warning(packages: Path) -> None:
    (packages / "gpupanel/cli").chmod(0o777)
    (packages / "gpupanel/__init__.py").chmod(0o664)
    found = look(packages)
    assert len(found.loose) == 2
    finding = package_finding(found)
    assert finding.level is Level.WARNING
    assert "and 1 more are not safe" in finding.text


def test_a_checkout_has_no_list(packages: Path) -> None:
    origin = packages / "gpupanel-1.dist-info/direct_url.json"
    origin.write_text('{"dir_info": {"editable": true}, "url": "file:///home/mara/gpupanel"}')
    assert look(packages).count == 0
    ours = installed()
    assert ours == Installed(Path(gpupanel.__file__).parent, 0)
    assert "a checkout" in package_finding(ours).text

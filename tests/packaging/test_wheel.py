"""The wheel and the sdist carry everything, and the installed wheel finds its data by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

import gpupanel
from gpupanel.cli.installed import compared
from gpupanel.policy.trusted_file import Trust

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = ("kernels", "resources")
STRANGERS = {"__pycache__"}


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not STRANGERS & set(path.parts)
    }


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dist")
    run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-d",
        place,
        "-t",
        "sdist",
        "-t",
        "wheel",
        cwd=REPOSITORY,
    )
    return place


@pytest.fixture(scope="module")
def wheel(artefacts: Path) -> Path:
    (path,) = artefacts.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q")
    run(*pip, "--no-deps", "--no-index", "--target", place, wheel, cwd=place)
    return place


def test_wheel_has_the_package_and_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = files_below(REPOSITORY / "gpupanel")
    data = {f"gpupanel/{name}" for folder in DATA for name in files_below(REPOSITORY / folder)}
    assert names == package | data


def test_wheel_suits_every_system(wheel: Path) -> None:
    assert wheel.name == f"gpupanel-{gpupanel.__version__}-py3-none-any.whl"


def test_sdist_carries_the_tests_and_builds_the_same_wheel(
    artefacts: Path, wheel: Path, tmp_path: Path
) -> None:
    (path,) = artefacts.glob("*.tar.gz")
    # Debian 12's 3.11.2 lacks the filter argument that 3.12 warns about when it is not given.
    run(sys.executable, "-m", "tarfile", "-e", path, tmp_path, cwd=tmp_path)
    (tree,) = tmp_path.iterdir()
    for folder in ("gpupanel", "packaging", "tests", *DATA):
        assert files_below(tree / folder) == files_below(REPOSITORY / folder)
    assert (tree / "packaging" / "dev").stat().st_mode & 0o111
    run(sys.executable, "-m", "hatchling", "build", "-d", tmp_path, "-t", "wheel", cwd=tree)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_installed_wheel_finds_its_own_data(installed: Path) -> None:
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from gpupanel import paths;"
        f"print(json.dumps([str(paths.data_dir(name)) for name in {DATA}]))"
    )
    # -I -S: neither this directory nor site-packages, where the checkout may be installed.
    printed = run(sys.executable, "-I", "-S", "-c", code, installed, cwd=Path(Path.cwd().anchor))
    found = [Path(folder) for folder in json.loads(printed)]
    assert found == [installed / "gpupanel" / name for name in DATA]
    for name, folder in zip(DATA, found, strict=True):
        assert files_below(folder) == files_below(REPOSITORY / name)


def distribution(installed: Path) -> Distribution:
    (folder,) = installed.glob("gpupanel-*.dist-info")
    return PathDistribution(folder)


def test_entry_points_are_declared_and_exist(installed: Path) -> None:
    points = distribution(installed).entry_points
    commands = {(point.group, point.name) for point in points}
    assert commands == {
        ("console_scripts", "gpupanelctl"),
        ("console_scripts", "gpupaneld"),
        ("gui_scripts", "gpupanel"),
    }
    for point in points:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]);"
            f"import {point.module} as it; print(it.__file__, callable(it.{point.attr}))"
        )
        printed = run(sys.executable, "-I", "-c", code, installed, cwd=installed)
        assert printed.split() == [str(installed / "gpupanel" / "__main__.py"), "True"]


def test_doctor_knows_the_files_that_pip_installed(installed: Path) -> None:
    found = compared(distribution(installed), installed / "gpupanel", Trust(base=installed))
    assert found.count == len(files_below(installed / "gpupanel"))
    assert (found.changed, found.missing, found.added) == ((), (), ())


def test_metadata_carries_licence_and_floors(installed: Path) -> None:
    metadata = distribution(installed).metadata
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Version"] == gpupanel.__version__
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.15"}
    assert len(metadata.get_all("Requires-Dist") or []) == len(project["dependencies"])
    (licence,) = installed.glob("gpupanel-*.dist-info/licenses/LICENSE")
    assert licence.read_bytes() == (REPOSITORY / "LICENSE").read_bytes()

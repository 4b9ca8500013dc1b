"""The locks are complete, hashed, name no package index, and agree with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = REPOSITORY / "packaging" / "requirements"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def locked_lines(name: str) -> list[str]:
    """One line per requirement: continuations joined, comments dropped."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]


def pins(name: str, python: str, platform: str) -> dict[str, str]:
    """What pip would install there: package -> version."""
    where = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform,
        "platform_system": {"linux": "Linux", "win32": "Windows"}[platform],
        "platform_python_implementation": "CPython",
    }
    found: dict[str, str] = {}
    for line in locked_lines(name):
        requirement = Requirement(line.split("--hash", 1)[0])
        if requirement.marker is None or requirement.marker.evaluate(where):
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            assert (
                found.setdefault(canonicalize_name(requirement.name), specifier.version)
                == specifier.version
            )
    return found


def asked(group: str) -> list[Requirement]:
    """The direct dependencies: of the project, or of a dependency group."""
    if group == "runtime":
        return [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    wanted: list[Requirement] = []
    for entry in PROJECT["dependency-groups"][group]:
        wanted += [Requirement(entry)] if isinstance(entry, str) else asked(entry["include-group"])
    return wanted


@pytest.mark.parametrize("name", ["runtime", "dev", "build"])
def test_every_requirement_is_hashed_and_names_no_place(name: str) -> None:
    lines = locked_lines(name)
    assert lines
    for line in lines:
        assert re.fullmatch(
            r"[a-z0-9-]+==[^ ]+( ; [^@]+?)?( +--hash=sha256:[0-9a-f]{64})+ *", line
        ), line
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "index" not in text
    assert "#    packaging/dev lock\n" in text


@pytest.mark.parametrize("platform", ["linux", "win32"])
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("name", "groups"),
    [("runtime", ["runtime"]), ("dev", ["runtime", "dev"]), ("build", ["build"])],
)
def test_direct_dependencies_are_locked(
    name: str, groups: list[str], python: str, platform: str
) -> None:
    locked = pins(name, python, platform)
    for requirement in [wanted for group in groups for wanted in asked(group)]:
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python}):
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), (
                requirement
            )


@pytest.mark.parametrize("platform", ["linux", "win32"])
@pytest.mark.parametrize("python", PYTHONS)
def test_locks_agree(python: str, platform: str) -> None:
    everything = pins("dev", python, platform)
    assert pins("runtime", python, platform).items() <= everything.items()
    assert pins("build", python, platform).items() <= everything.items()
    assert everything["pyside6-essentials"] == everything["shiboken6"] == "6.11.3"


def test_build_backend_is_locked() -> None:
    locked = pins("build", "3.11", "linux")
    for line in PROJECT["build-system"]["requires"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])

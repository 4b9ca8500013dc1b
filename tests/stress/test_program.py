"""Kernels from wherever the product is installed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gpupanel import paths
from gpupanel.model.errors import BuildFailed
from gpupanel.stress import program
from gpupanel.stress.catalog import WORKLOADS
from gpupanel.stress.device import open_device

if TYPE_CHECKING:
    import pyopencl as cl


@pytest.fixture(scope="module")
def context() -> cl.Context:
    return open_device("cpu", None).context


@pytest.mark.parametrize("kernel", [info.kernel for info in WORKLOADS])
def test_a_kernel_compiles_alone_with_its_own_defaults(context: cl.Context, kernel: str) -> None:
    assert program.build(context, kernel, {}).num_kernels > 0


def test_a_path_with_spaces_makes_no_difference(
    context: cl.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "Program Files" / "kernels"
    shutil.copytree(paths.data_dir("kernels"), copy)
    monkeypatch.setattr(paths, "data_dir", lambda name: copy.parent / name)
    assert program.build(context, "mining_ethash.cl", {}).num_kernels > 0


def test_what_the_compiler_says_is_passed_on(
    context: cl.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.cl").write_text("kernel void broken( { not C }\n")
    monkeypatch.setattr(paths, "data_dir", lambda name: tmp_path)
    with pytest.raises(BuildFailed, match=r"broken\.cl did not compile"):
        program.build(context, "broken.cl", {})

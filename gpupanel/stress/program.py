"""Find a kernel file and build it for one device. Worker process only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpupanel import paths
from gpupanel.model.errors import BuildFailed

if TYPE_CHECKING:
    import pyopencl as cl


def build(context: cl.Context, kernel_file: str, knobs: Mapping[str, int]) -> cl.Program:
    """Compile ``kernels/<kernel_file>`` with each knob as a macro.

    Raises:
        BuildFailed: With the compiler's log.
    """
    import pyopencl as cl

    directory = paths.data_dir("kernels")
    source = (directory / kernel_file).read_text(encoding="utf-8")
    options = ["-cl-std=CL1.2", "-I", str(directory)]
    options += [f"-D{name}={value}" for name, value in knobs.items()]
    try:
        return cl.Program(context, source).build(options=options)
    except cl.RuntimeError as error:
        raise BuildFailed(f"{kernel_file} did not compile for this device: {error}") from error

"""Find a kernel file and build it for one device. Worker process only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpupanel import paths
from gpupanel.model.errors import BuildFailed

if TYPE_CHECKING:
    import pyopencl as cl


_INCLUDE = re.compile(r'^#include "([a-z_]+\.cl)"$', re.MULTILINE)


def build(
    context: cl.Context,
    kernel_file: str,
    knobs: Mapping[str, int],
    generated: Mapping[str, str] | None = None,
) -> cl.Program:
    """Compile ``kernels/<kernel_file>`` with each knob as a macro.

    Args:
        context: Of the device.
        kernel_file: Its name.
        knobs: Macros by name.
        generated: Source that takes the place of included files, by their names.

    Raises:
        BuildFailed: With the compiler's log.
    """
    import pyopencl as cl

    options = ["-cl-std=CL1.2", *(f"-D{name}={value}" for name, value in knobs.items())]
    try:
        return cl.Program(context, source_of(kernel_file, generated)).build(options=options)
    except cl.RuntimeError as error:
        raise BuildFailed(f"{kernel_file} did not compile for this device: {error}") from error


def source_of(kernel_file: str, generated: Mapping[str, str] | None = None) -> str:
    """The kernel with what it includes, or what was generated for that, put in its place.

    Not through ``-I``: drivers split build options at spaces, and paths have some.
    """
    if generated and kernel_file in generated:
        return generated[kernel_file]
    directory = paths.data_dir("kernels")
    source = (directory / kernel_file).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda include: source_of(include[1], generated), source)

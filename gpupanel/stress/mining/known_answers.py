"""Where the built-in test vectors of the mining loads are, and what to say of strange ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gpupanel import paths
from gpupanel.model.errors import WorkloadError

Vectors = Mapping[str, Any]


def built_in(algorithm: str) -> Vectors:
    """The section ``algorithm`` of the public vectors, as it comes with the program."""
    path = paths.data_dir("resources") / "vectors" / f"{algorithm}.json"
    vectors: Vectors = json.loads(path.read_text(encoding="utf-8"))
    return vectors


@contextmanager
def expected_form(algorithm: str) -> Iterator[None]:
    """Turn the errors of reading vectors into one that a person understands.

    Raises:
        WorkloadError: The vectors that were read inside are not of the expected form.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise WorkloadError(
            f"the test vectors of {algorithm} are not of the expected form: {error!r}"
        ) from error

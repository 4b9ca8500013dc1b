"""Writes what ``gpupanel.backends.replay`` plays: a line on the GPUs, then one per snapshot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpupanel.backends.replay import FORMAT, VERSION
from gpupanel.model.closing import Closing
from gpupanel.model.gpu import GpuInfo, Snapshot


class RecordingWriter(Closing):
    """One file; every snapshot is in it when ``append`` returns."""

    def __init__(self, path: Path, gpus: Sequence[GpuInfo], *, overwrite: bool = False) -> None:
        """Begin the file.

        Raises:
            FileExistsError: It is there, and is not to be overwritten.
            OSError: It cannot be written.
        """
        try:
            self._file = path.open("w" if overwrite else "x", encoding="utf-8", newline="\n")
        except FileExistsError as error:
            raise FileExistsError(f"{path} exists: --force overwrites it") from error
        self._write({"format": FORMAT, "version": VERSION, "gpus": [gpu.as_json() for gpu in gpus]})

    def append(self, snapshot: Snapshot) -> None:
        """Add ``snapshot``.

        Raises:
            OSError: The disk is full.
        """
        self._write(snapshot.as_json())

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _write(self, document: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(document, separators=(",", ":")) + "\n")
        self._file.flush()

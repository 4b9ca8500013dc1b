"""What others measured on cards of the same name, and what NVIDIA's limiter left of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from gpupanel import paths

_VENDORS = re.compile(r"nvidia|amd|geforce|radeon|\(.*?\)|[^a-z0-9]")


@dataclass(frozen=True, slots=True)
class Published:
    """Rates of one card model.

    Attributes:
        card: As the source names it.
        hash_per_s: Of the load that was asked for; None if the source does not tell.
        lhr_hash_per_s: With NVIDIA's limiter of 2021 in force; None if it never applied.
        bandwidth_bytes_per_s: From the data sheet; None if not known.
        source: Of the rates.
    """

    card: str
    hash_per_s: float | None
    lhr_hash_per_s: float | None
    bandwidth_bytes_per_s: float | None
    source: str


def published_for(gpu_name: str, workload: str) -> Published | None:
    """What is published of a card; None if nothing is.

    Args:
        gpu_name: As its driver names it.
        workload: Name of a load.
    """
    table = _table()
    for card, facts in table["gpus"].items():
        if _key(card) == _key(gpu_name):
            return _facts(card, facts, workload, table["source"])
    return None


def _facts(card: str, facts: Mapping[str, Any], workload: str, source: str) -> Published:
    limiter = facts.get("lhr", {})
    is_limited = limiter.get("workload") == workload
    return Published(
        card=card,
        hash_per_s=facts["hash_per_s"].get(workload),
        lhr_hash_per_s=limiter["hash_per_s"] if is_limited else None,
        bandwidth_bytes_per_s=facts.get("bandwidth_bytes_per_s"),
        source=f"{source}; limiter: {limiter['source']}" if is_limited else source,
    )


def _key(name: str) -> str:
    """Drivers and sources write the same card in different ways."""
    return _VENDORS.sub("", name.lower())


@cache
def _table() -> dict[str, Any]:
    path = paths.data_dir("resources") / "published_rates.json"
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return table

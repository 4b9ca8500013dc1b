#!/usr/bin/env python3
"""Writes what is made from tables: schema, group policy templates, reference, completion.

    packaging/generate.py            write what is not as it should be
    packaging/generate.py --check    only tell; exit with 1 if something is stale

The output depends on nothing but the tables, the texts beside this file, and pydantic.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXTS = Path(__file__).resolve().parent / "policy_texts"

sys.path.insert(0, str(ROOT))
# The folder of this file is named like the package "packaging", which others import.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != TEXTS.parent]

from gpupanel.cli import completion  # noqa: E402
from gpupanel.policy.export import admx, reference, schema  # noqa: E402
from gpupanel.policy.keys import POLICY_KEYS  # noqa: E402


def outputs() -> dict[str, str]:
    """Path below the root of the repository to content."""
    policy = "resources/policy"
    made = {
        f"{policy}/schema.json": json.dumps(schema.json_schema(), indent=2) + "\n",
        f"{policy}/gpupanel.admx": admx.admx(),
        "resources/help/policy-reference.md": reference.reference(),
        "resources/completions/gpupanelctl.bash": completion.bash(),
    }
    for path in sorted(TEXTS.glob("*.toml")):
        made[f"{policy}/{path.stem}/gpupanel.adml"] = admx.adml(texts_of(path))
    return made


def texts_of(path: Path) -> admx.Texts:
    """One language; English has its labels and explanations from the table itself."""
    said = tomllib.loads(path.read_text(encoding="utf-8"))
    labels: Mapping[str, str] = said.get("labels", {key.name: key.label for key in POLICY_KEYS})
    helps: Mapping[str, str] = said.get("helps", {key.name: key.help for key in POLICY_KEYS})
    return admx.Texts(said["product"], said["groups"], said["words"], labels, helps)


def main() -> int:
    """Exit status: 0 all is as it should be, or is now; 1 something is stale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    is_check = parser.parse_args().check
    stale = {name: text for name, text in outputs().items() if not is_current(ROOT / name, text)}
    for name, text in stale.items():
        told = f"{name} is stale: run packaging/generate.py" if is_check else f"wrote {name}"
        sys.stdout.write(f"{told}\n")
        if not is_check:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_bytes(text.encode())
    return 1 if is_check and stale else 0


def is_current(path: Path, text: str) -> bool:
    """Line ends are a matter of the checkout."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())

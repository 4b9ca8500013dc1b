"""What a file says in vain is told with its place; what it says with effect is not."""

from __future__ import annotations

import pytest

from gpupanel.policy.lint import warnings_about
from gpupanel.policy.parse import parse_machine


def warned(body: str) -> list[tuple[int, int, str, str]]:
    statements = parse_machine(f"schema = 1\n{body}".encode(), "p.toml")
    found = warnings_about(statements, "p.toml")
    assert all(one.severity == "warning" for one in found)
    return [(one.line, one.column, one.code, one.text) for one in found]


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        ("", (0, 0), "says nothing about any key"),
        ('final = ["mining.*"]', (0, 0), "says nothing about any key"),
        (
            '[mandatory.mining]\nenforcement = "off"\nmax_efficiency_percent = 50',
            (4, 26), "max_efficiency_percent = 50 has no effect: mining.enforcement is off",
        ),
        (
            "[mandatory.controls]\npower_limit_min_percent = 80\npower_limit_max_percent = 70",
            (3, 27), "power_limit_max_percent is 70",
        ),
        (
            "mandatory.ui.show_tray = true\nrecommended.ui.show_tray = false",
            (3, 28), "p.toml:2:26 mandates the key",
        ),
        (
            "mandatory.mining.grace_seconds = 5\n[[scope]]\nusers = ['al']\n"
            "mandatory.mining.grace_seconds = 9",
            (5, 34), "mandates no less for everybody",
        ),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_told(body: str, place: tuple[int, int], words: str) -> None:
    [(line, column, code, text)] = warned(body)
    assert (line, column) == place
    assert code == ("GP041" if place == (0, 0) else "GP040")
    assert words in text


@pytest.mark.parametrize(
    "body",
    [
        "mandatory.mining.max_efficiency_percent = 50",
        'mandatory.mining.enforcement = "audit"\nmandatory.mining.max_efficiency_percent = 50',
        "recommended.ui.show_tray = false",
        "mandatory.mining.grace_seconds = 5\n[[scope]]\nusers = ['al']\n"
        "mandatory.mining.grace_seconds = 1",
        "[mandatory.controls]\npower_limit_min_percent = 70\npower_limit_max_percent = 70",
    ],
)
def test_what_has_an_effect_is_not(body: str) -> None:
    assert warned(body) == []

"""What passes, what fails, and the order of reasons."""

from __future__ import annotations

import pytest

from gpupanel.model.workload import Failed
from gpupanel.stress.report.verdict import Word, judge
from tests.stress.report.builders import finished, record


@pytest.mark.parametrize(
    ("changes", "word", "reason"),
    [
        ({}, Word.PASSED, "140 results"),
        ({"work": 0.0}, Word.FAILED, "No work"),
        ({"errors": 1, "faults": ("nonce 7: wrong",)}, Word.FAILED, "nonce 7: wrong"),
        ({"checks": 0}, Word.FAILED, "Nothing was compared"),
        ({"errors": 1, "stability_percent": 50.0}, Word.FAILED, "1 of 140"),
        ({"stop_reason": "temperature"}, Word.INCOMPLETE, "too hot"),
        ({"stop_reason": "stopped"}, Word.INCOMPLETE, "it was stopped"),
        ({"stability_percent": 96.9}, Word.UNSTEADY, "96.9 %"),
        ({"stability_percent": 97.0}, Word.PASSED, "97.0 %"),
        ({"seconds": 10.0, "stability_percent": None}, Word.PASSED, "less than a minute"),
    ],
)
def test_the_verdict_follows_the_run(changes: dict[str, object], word: Word, reason: str) -> None:
    verdict = judge(record(finished(**changes)))
    assert verdict.word is word
    assert any(reason in text for text in verdict.reasons)


def test_a_run_that_never_was_fails_with_its_reason() -> None:
    verdict = judge(record(Failed("mining.ethash", "GPU-1", "BuildFailed", "no compiler")))
    assert verdict.word is Word.FAILED
    assert "no compiler" in verdict.reasons[0]

"""The sentence above the cards: why there is no GPU, or what is wrong although there is one."""

from __future__ import annotations

from typing import Any

import pytest

from gpupanel.ui.widgets.text import Text

OK = {"name": "host", "state": "ok", "reason": ""}
ABSENT = {"name": "nvml", "state": "absent", "reason": "no NVIDIA driver on this machine"}
FAILED = {"name": "nvml", "state": "failed", "reason": "the NVIDIA driver was updated; reboot"}
PARTLY = {"name": "nvml", "state": "ok", "reason": "GPU 3: the GPU fell off the bus"}
FULL = {"name": "history", "state": "failed", "reason": "history.db: the disk is full"}


def overview(bench: Any) -> Any:
    bench.window.open_named("overview")
    return bench.window.page


@pytest.mark.parametrize(
    ("has_gpu", "backends", "expected"),
    [
        (False, [OK, ABSENT], "No GPU was found: showing the processor – no NVIDIA driver on this"),
        (False, [OK], "no driver reports one"),
        (True, [OK, ABSENT], ""),
        (True, [OK, FAILED], "The NVIDIA driver was updated; reboot."),
        (True, [PARTLY], "GPU 3: the GPU fell off the bus."),
        (True, [OK, FULL], "history.db: the disk is full."),
    ],
)
def test_it_says_what_a_person_has_to_know(
    bench: Any, has_gpu: bool, backends: list[dict[str, str]], expected: str
) -> None:
    gpu = bench.gpu() if has_gpu else bench.cpu()
    bench.feed([gpu])
    bench.store.set_gpus([gpu], backends)
    page = overview(bench)
    page.refresh()
    said = page._notice.findChild(Text).text() if page._notice.isVisibleTo(page) else ""
    assert expected in said if expected else said == ""


def test_it_goes_when_the_trouble_goes(bench: Any) -> None:
    bench.feed([bench.gpu()])
    page = overview(bench)
    for backends, shown in (([OK, FULL], True), ([OK], False)):
        bench.store.set_gpus([bench.gpu()], backends)
        page.refresh()
        assert page._notice.isVisibleTo(page) is shown

from __future__ import annotations

import pytest

from gpupanel.paths import data_dir
from gpupanel.ui.pages import PAGE_NAMES, PAGES, PageInfo, load
from gpupanel.ui.pages.base import Page


def test_names_are_unique_and_each_has_a_number_key() -> None:
    assert len(set(PAGE_NAMES)) == len(PAGES) <= 9


@pytest.mark.parametrize("page", PAGES, ids=PAGE_NAMES)
def test_row_leads_to_a_page(page: PageInfo) -> None:
    found = load(page)
    assert issubclass(found, Page)
    assert found is not Page
    assert page.title
    icon = data_dir("resources") / "icons" / f"{page.icon}.svg"
    assert "currentColor" in icon.read_text(encoding="utf-8")

"""PAGES, the one list of pages: what the navigation shows and how each is found when opened."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from gpupanel.model.metrics import QT_TRANSLATE_NOOP

if TYPE_CHECKING:
    from gpupanel.ui.pages.base import Page


@dataclass(frozen=True, slots=True)
class PageInfo:
    """One page.

    Attributes:
        name: For ``--page``.
        title: Marked for translation; see ``title_of``.
        icon: File name in ``resources/icons`` without its ending.
        page: ``module:Class``, imported when the page is first opened.
    """

    name: str
    title: str
    icon: str
    page: str


PAGES: tuple[PageInfo, ...] = (
    PageInfo(
        "overview",
        QT_TRANSLATE_NOOP("Pages", "Overview"),
        "overview",
        "gpupanel.ui.pages.overview:OverviewPage",
    ),
    PageInfo(
        "processes",
        QT_TRANSLATE_NOOP("Pages", "Processes"),
        "processes",
        "gpupanel.ui.pages.processes:ProcessesPage",
    ),
    PageInfo(
        "stress",
        QT_TRANSLATE_NOOP("Pages", "Stress test"),
        "stress",
        "gpupanel.ui.pages.stress:StressPage",
    ),
    PageInfo(
        "policy",
        QT_TRANSLATE_NOOP("Pages", "Policy"),
        "policy",
        "gpupanel.ui.pages.policy:PolicyPage",
    ),
    PageInfo(
        "history",
        QT_TRANSLATE_NOOP("Pages", "History"),
        "history",
        "gpupanel.ui.pages.history:HistoryPage",
    ),
)

PAGE_NAMES = tuple(page.name for page in PAGES)


def title_of(page: PageInfo) -> str:
    """The title in the reader's language."""
    return QCoreApplication.translate("Pages", page.title)


def load(page: PageInfo) -> type[Page]:
    """Import the class of ``page``."""
    module, _, name = page.page.partition(":")
    found: type[Page] = getattr(import_module(module), name)
    return found

"""
The views of `isotherm report`, one file each, and the place where further ones are registered.

A program of its own may add views before it calls `isotherm.cli.main`: they have every format,
their options are in the help, and what they print is escaped like everything else.
"""

from __future__ import annotations

from typing import Any

from isotherm.errors import BadValueError, quoted
from isotherm.report.view import View
from isotherm.report.views.cold import ColdView
from isotherm.report.views.diff import DiffView
from isotherm.report.views.heatmap import HeatmapView
from isotherm.report.views.html import HtmlView
from isotherm.report.views.info import InfoView
from isotherm.report.views.regions import RegionsView
from isotherm.report.views.summary import SummaryView
from isotherm.report.views.tree import TreeView
from isotherm.report.views.wss import WssView

#: What is shown where no view is named.
DEFAULT = SummaryView.name
#: Options that the command itself has.
RESERVED = ("--format", "--width", "--output", "--force", "--help")

_VIEWS: dict[str, View[Any]] = {}


def register(view: View[Any]) -> None:
    """
    Make a view known; one of the same name is replaced.

    Raises `BadValueError` for an option that the command has for all views.
    """
    if taken := [option.name for option in view.options if option.name in RESERVED]:
        raise BadValueError(
            f"the view {quoted(view.name)} cannot have the option {taken[0]}",
            hint="every view has it from the command",
        )
    _VIEWS[view.name] = view


def unregister(name: str) -> None:
    """Forget a view; of no effect if there is none."""
    _VIEWS.pop(name, None)


def views() -> dict[str, View[Any]]:
    """Return all views by name, in the order of their registration."""
    return dict(_VIEWS)


for _view in (
    SummaryView(), RegionsView(), HeatmapView(), WssView(), ColdView(), TreeView(), InfoView(),
    DiffView(), HtmlView(),
):  # fmt: skip
    register(_view)

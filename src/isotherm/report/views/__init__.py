"""
The views of `isotherm report`, one file each, and the place where further ones are registered.

A program of its own may add views before it calls `isotherm.cli.main`: they have every format,
their options are in the help, and what they print is escaped like everything else.
"""

from __future__ import annotations

from typing import Any

from isotherm.report.view import View
from isotherm.report.views.heatmap import HeatmapView
from isotherm.report.views.info import InfoView
from isotherm.report.views.regions import RegionsView
from isotherm.report.views.summary import SummaryView
from isotherm.report.views.wss import WssView

#: What is shown where no view is named.
DEFAULT = SummaryView.name
#: Options that the command itself has.
RESERVED = ("--format", "--width", "--help")

_VIEWS: dict[str, View[Any]] = {}


def register(view: View[Any]) -> None:
    """Add a view; raises `ValueError` for a name that is taken, or an option of the command."""
    if view.name in _VIEWS:
        raise ValueError(f"there is a view {view.name!r} already")
    if taken := [option.name for option in view.options if option.name in RESERVED]:
        raise ValueError(f"{taken[0]} is an option of every view")
    _VIEWS[view.name] = view


def forget(name: str) -> None:
    """Take a view away; raises `KeyError` if there is none of this name."""
    del _VIEWS[name]


def views() -> dict[str, View[Any]]:
    """Return all views by name, in the order of their registration."""
    return dict(_VIEWS)


for _view in (SummaryView(), RegionsView(), HeatmapView(), WssView(), InfoView()):
    register(_view)

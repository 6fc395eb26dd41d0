"""How small a hot spot may be for a recording to show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isotherm.model.page_use import PageUse
from isotherm.model.ranges import PAGE
from isotherm.model.snapshot import Snapshot

#: -ln(1 - 95 %): so many draws are to be expected in a spot for one of them to be in it.
_DRAWS = 3.0
#: Where more of what is resident was not looked at, single pages may be missed.
_UNCOVERED = 0.05


@dataclass(frozen=True, slots=True)
class Smallest:
    """
    Bytes of the smallest spot, hot all the time, that is found in 95 of 100 cases.

    by: because all "pages" were looked at, because so many "places" were drawn, or as it is what a
    "region" holds on average.
    """

    bytes: int
    by: Literal["pages", "places", "regions"]


def smallest_hot(last: Snapshot | None, use: PageUse | None) -> Smallest | None:
    """
    Return what a recording would have found, None where that cannot be said.

    last: its last snapshot with regions; use: the last word of its map of pages. Where regions are
    whole mappings nothing within one is found.
    """
    if use is not None and use.resident and use.uncovered <= _UNCOVERED * use.resident:
        return Smallest(PAGE, "pages")
    if last is None or last.shares or not last.monitored_bytes:
        return None
    if last.explored is not None:
        if not last.explored:
            return None
        size = round(_DRAWS * last.monitored_bytes / last.explored)
        return Smallest(min(max(PAGE, size), last.monitored_bytes), "places")
    return Smallest(max(PAGE, last.monitored_bytes // len(last.columns)), "regions")

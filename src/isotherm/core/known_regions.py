"""
Regions as a map of pages knows them: what is not in memory is in none, shared memory has a rate.

A policy samples addresses. Where no page is, it finds no access, and where a page's accesses
cannot be seen it knows nothing. A map of pages knows which pages there are and, of more of them,
how they were used.
"""

from __future__ import annotations

from array import array
from typing import Final

from isotherm import _core
from isotherm.model.ranges import PAGE
from isotherm.model.snapshot import Columns

#: A map tells of no shorter time; what is less is told as if uses came at random.
SHORTEST_NS: Final = 100_000_000
#: Addresses without a page are left out from this size on.
_LEAST: Final = 16 * PAGE


def least_gap(columns: Columns, most: int) -> int:
    """Return from which size on addresses without a page are left out of `most` regions."""
    size = sum(columns.end) - sum(columns.start)
    return max(_LEAST, size // max(1, most) // PAGE * PAGE)


class KnownRegions:
    """
    Tells of regions what a map knows, and for how long rates that are the map's were so.

    Its twin, to be read, is `core.reference.known_regions.KnownRegions`.
    """

    def __init__(self) -> None:
        self._core = _core.KnownRegions()

    def columns(self, columns: Columns, words: array[int], most: int, soon_ns: int) -> Columns:
        """
        Return the regions, cut to what is in memory, with `share` and `used`.

        words: what is known of their addresses, as `RunMap.parts` gives it, of these regions or of
        earlier ones; most: samples of a window; soon_ns: between two of them.
        """
        places, target, start, end, count, age, unseen, used, share = self._core.tell(
            columns.target,
            columns.start,
            columns.end,
            columns.nr_accesses,
            columns.age,
            columns.unobservable,
            words,
            most,
            soon_ns,
        )

        def taken(told: array[float] | None) -> array[float] | None:
            return None if told is None else array("d", [told[place] for place in places])

        return Columns(
            target=target,
            start=start,
            end=end,
            nr_accesses=count,
            age=age,
            unobservable=unseen,
            used=used,
            rate=taken(columns.rate),
            low=taken(columns.low),
            high=taken(columns.high),
            share=share,
        )

"""A snapshot now and then, of all that a session gives: for recordings of days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isotherm.model.page_use import PageUse
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Cost, Snapshot
from isotherm.model.target import Mapping


class Thinning:
    """
    Lets the last window of each `every_ns` through, as it was monitored.

    With it goes what is told once, or adds up: the costs of those left out, the newest that a map
    of pages said, address maps that changed, and what schemes tried. Windows are counted anew.
    """

    def __init__(self, every_ns: int) -> None:
        self._every_ns = every_ns
        self._begin_ns: int | None = None
        self._left_out: Snapshot | None = None
        self._index = 0
        self._cost = Cost()
        self._maps: dict[int, Sequence[Mapping]] = {}
        self._use: PageUse | None = None
        self._ids: tuple[int, ...] = ()
        self._tried: tuple[SchemeState, ...] = ()

    def take(self, snapshot: Snapshot) -> Snapshot | None:
        """Return what is to be kept by the end of this window, None for nothing yet."""
        if self._begin_ns is None:
            self._begin_ns = snapshot.start_ns
        self._cost = _sum(self._cost, snapshot.cost)
        self._maps.update(snapshot.mappings or {})
        ids = tuple(target.id for target in snapshot.targets)
        if ids != self._ids:  # what speaks of targets by their places is of no use any more
            self._ids, self._use, self._tried = ids, None, ()
        self._use = snapshot.page_use or self._use
        self._tried = _joined(self._tried, snapshot.schemes)
        self._left_out = snapshot
        # A clock that was set back begins anew.
        if 0 <= snapshot.end_ns - self._begin_ns < self._every_ns:
            return None
        self._begin_ns = snapshot.end_ns
        return self.rest()

    def rest(self) -> Snapshot | None:
        """Return the last window, if it was left out so far."""
        last = self._left_out
        if last is None:
            return None
        kept = replace(
            last,
            index=self._index,
            cost=self._cost,
            mappings=self._maps or None,
            page_use=self._use,
            schemes=self._tried,
        )
        self._index += 1
        self._left_out, self._cost, self._maps, self._use = None, Cost(), {}, None
        self._tried = ()
        return kept


def _sum(before: Cost, after: Cost) -> Cost:
    """Return both costs together; what is not known of one is not known of both."""

    def known(one: int | None, other: int | None) -> int | None:
        return None if one is None or other is None else one + other

    return Cost(
        cpu_ns=before.cpu_ns + after.cpu_ns,
        ticks=before.ticks + after.ticks,
        checks=known(before.checks, after.checks),
        missed=before.missed + after.missed,
        cleared=known(before.cleared, after.cleared),
        late_ns=known(before.late_ns, after.late_ns),
    )


def _joined(
    before: tuple[SchemeState, ...], after: tuple[SchemeState, ...]
) -> tuple[SchemeState, ...]:
    """Return the newest states, with what was tried since the last one that was kept."""
    if len(before) != len(after):
        return after
    return tuple(
        replace(new, tried=(*old.tried, *new.tried))
        for old, new in zip(before, after, strict=True)
    )

"""
How long single pages were idle: what the filter `idle` asks.

Accessed bits are cleared for a stretch of memory at a time, which is noted here; a page that
reads old when the time asked for has passed was not accessed since. That is page-exact where
regions only know a mean, and a clear of 2 MiB costs 45 µs, however many pages of it are in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from isotherm.actions.memory import Piece
from isotherm.model.ranges import Range

#: Memory whose bits are cleared together.
UNIT_BYTES = 2 << 20


class Judged(Enum):
    """What may be said of a piece of memory."""

    #: Long enough after a clear: what is old now was idle so long.
    DUE = 1
    #: Never cleared: nothing is known.
    FIRST = 2
    #: Cleared not long enough ago.
    EARLY = 3


class IdleLedger:
    """
    When the accessed bits of which memory were cleared, by target id and place, in ns.

    Fresh memory is young, so a place that was unmapped and mapped again does not seem idle.
    """

    def __init__(self) -> None:
        self._cleared: dict[tuple[int, int], int] = {}

    def parts(
        self, target_id: int, piece: Piece, region: Range, idle_ns: int, now_ns: int
    ) -> Iterator[tuple[Piece, Judged]]:
        """
        Cut a piece by what may be said of it.

        A unit belongs to the region that holds its middle, and is judged with it alone; the piece
        reaches as far as the units on the region's borders do.
        """
        found: list[tuple[Piece, Judged]] = []
        for start, end in _units(piece):
            if not region.start <= (start + end) // 2 < region.end:
                continue
            judged = self._judge(target_id, start, idle_ns, now_ns)
            if found and found[-1][1] is judged and found[-1][0].end == start:
                found[-1] = (found[-1][0]._replace(end=end), judged)
            else:
                found.append((piece._replace(start=start, end=end), judged))
        yield from found

    def _judge(self, target_id: int, at: int, idle_ns: int, now_ns: int) -> Judged:
        cleared = self._cleared.get((target_id, at))
        if cleared is None:
            return Judged.FIRST
        return Judged.DUE if now_ns - cleared >= idle_ns else Judged.EARLY

    def note(self, target_id: int, piece: Piece, now_ns: int) -> None:
        """Note that all bits of a piece are clear now."""
        for start, _ in _units(piece):
            self._cleared[target_id, start] = now_ns


def _units(piece: Piece) -> Iterator[Range]:
    at = piece.start
    while at < piece.end:
        end = min(piece.end, at - at % UNIT_BYTES + UNIT_BYTES)
        yield Range(at, end)
        at = end

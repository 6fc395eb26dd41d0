"""
How long single pages were idle: what the filter `idle` asks.

Accessed bits are cleared for a stretch of memory at a time, which is noted here; a page that
reads old when the time asked for has passed was not accessed since. That is page-exact where
regions only know a mean, and a clear of 2 MiB costs 45 µs, however many pages of it are in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from isotherm.actions.memory import Piece
from isotherm.model.ranges import Range, Span, parts
from isotherm.targets.processes import Process

#: Memory whose bits are cleared together.
UNIT_BYTES = 2 << 20
#: Below so many units of a process nothing is looked through to be forgotten.
_FEW_UNITS = 1024


class Judged(Enum):
    """What may be said of a piece of memory."""

    #: Long enough after a clear: what is old now was idle so long.
    DUE = 1
    #: Never cleared: nothing is known.
    FIRST = 2
    #: Cleared not long enough ago.
    EARLY = 3


@dataclass(slots=True)
class _Known:
    """cleared: when, by the first address of a unit; most: units at which to look for old ones."""

    process: Process
    cleared: dict[int, int] = field(default_factory=dict)
    most: int = _FEW_UNITS

    def judge(self, at: int, idle_ns: int, now_ns: int) -> Judged:
        cleared_ns = self.cleared.get(at)
        if cleared_ns is None:
            return Judged.FIRST
        return Judged.DUE if now_ns - cleared_ns >= idle_ns else Judged.EARLY


class IdleLedger:
    """
    When the accessed bits of which memory were cleared, by process and place, in ns.

    Fresh memory is young, so a place that was unmapped and mapped again does not seem idle. What
    is known of processes that ended is forgotten when another one comes; of memory that is not
    mapped any more, whenever twice as much is known as there was the last time (`is_crowded`).
    """

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def __len__(self) -> int:
        return sum(len(known.cleared) for known in self._known.values())

    def parts(
        self, process: Process, piece: Piece, region: Range, idle_ns: int, now_ns: int
    ) -> Iterator[tuple[Piece, Judged]]:
        """
        Cut a piece by what may be said of it.

        A unit belongs to the region that holds its middle, and is judged with it alone; the piece
        reaches as far as the units on the region's borders do.
        """
        known = self._known.get(process.target_id)
        found: list[tuple[Piece, Judged]] = []
        for start, end in _units(piece):
            if not region.start <= (start + end) // 2 < region.end:
                continue
            judged = known.judge(start, idle_ns, now_ns) if known else Judged.FIRST
            if found and found[-1][1] is judged and found[-1][0].end == start:
                found[-1] = (found[-1][0]._replace(end=end), judged)
            else:
                found.append((piece._replace(start=start, end=end), judged))
        yield from found

    def note(self, process: Process, piece: Piece, now_ns: int) -> None:
        """Note that all bits of a piece are clear now."""
        known = self._known.get(process.target_id)
        if known is None:
            self._forget_ended()
            known = self._known[process.target_id] = _Known(process)
        for start, _ in _units(piece):
            known.cleared[start] = now_ns

    def is_crowded(self, process: Process) -> bool:
        """Tell whether it is time to `keep` only what is still mapped."""
        known = self._known.get(process.target_id)
        return known is not None and len(known.cleared) > known.most

    def keep(self, process: Process, mappings: Sequence[Span]) -> None:
        """Forget what is in none of `mappings`, which are in order and apart."""
        known = self._known.get(process.target_id)
        if known is not None:
            known.cleared = {
                start: at_ns
                for start, at_ns in known.cleared.items()
                if any(parts(mappings, start, start + 1))
            }
            known.most = max(_FEW_UNITS, 2 * len(known.cleared))

    def _forget_ended(self) -> None:
        ended = [key for key, known in self._known.items() if known.process.pidfd < 0]
        for key in ended:
            del self._known[key]


def _units(piece: Piece) -> Iterator[Range]:
    at = piece.start
    while at < piece.end:
        end = min(piece.end, at - at % UNIT_BYTES + UNIT_BYTES)
        yield Range(at, end)
        at = end

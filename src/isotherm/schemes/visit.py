"""Going over regions while they are cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isotherm.core.table import Table


class Visit:
    """A region under a visitor's hands; `place` is where it stands, cut or not."""

    def __init__(self, table: Table, target: int, place: int, last: int) -> None:
        self.target = target
        self.place = place
        self._table = table
        self._last = last
        self._nr = len(table)

    @property
    def cuts(self) -> int:
        """How many pieces were cut off so far."""
        return len(self._table) - self._nr

    @property
    def is_last(self) -> bool:
        """Whether it is the last region of its target."""
        return self.place == self._last + self.cuts


def visit(table: Table, places: Sequence[int]) -> Iterator[Visit]:
    """
    Visit the regions at `places` (ascending), target by target.

    The visitor may cut the region that it visits; the pieces are visited next, in their order.
    """
    moved = 0
    at = 0
    for target, (first, end) in enumerate(table.spans()):
        while at < len(places) and first <= places[at] < end:
            place, pieces = places[at] + moved, 1
            while pieces:
                visited = Visit(table, target, place, end - 1 + moved)
                yield visited
                moved += visited.cuts
                pieces += visited.cuts - 1
                place += 1
            at += 1

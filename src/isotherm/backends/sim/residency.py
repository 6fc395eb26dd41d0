"""Which memory of a simulated space is paged out, and what comes back by being touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from isotherm.backends.sim.world import Area, Space
from isotherm.model.ranges import Range, aligned, meets, subtract, union


class _Out(NamedTuple):
    """Addresses [start, end), paged out at a time."""

    start: int
    end: int
    since_ns: int


class Residency:
    """
    The memory of one space that is not there; all of it is at first.

    Pages are those of the space's areas: a touch of any byte brings its page back, and counts as
    `refaulted_bytes`. Memory of areas that vanished is forgotten.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._out: list[_Out] = []
        self.refaulted_bytes = 0

    def page_out(self, start: int, end: int, used_since_ns: int, now_ns: int) -> int:
        """
        Page out what is resident of [start, end), but for pages in use; returns its bytes.

        In use: touched after `used_since_ns`. A page belongs to the range that holds its middle.
        """
        self._bring_back(now_ns)
        out = [Range(absent.start, absent.end) for absent in self._out]
        gone = 0
        for area in self._areas(now_ns):
            used = self._touched(area, used_since_ns, now_ns)
            for piece in subtract([_whole_pages(area, start, end)], [*out, *used]):
                self._out.append(_Out(*piece, now_ns))
                gone += piece.size
        self._out.sort()
        return gone

    def bring_in(self, start: int, end: int, now_ns: int) -> int:
        """Read back what is paged out of [start, end); returns its bytes."""
        self._bring_back(now_ns)
        wanted = [_whole_pages(area, start, end) for area in self._areas(now_ns)]
        before = self.out_bytes
        self._keep([(absent, wanted) for absent in self._out])
        return before - self.out_bytes

    def absent_bytes(self, now_ns: int) -> int:
        """Return how much is paged out at a time."""
        self._bring_back(now_ns)
        return self.out_bytes

    @property
    def out_bytes(self) -> int:
        """What was paged out as of the last call."""
        return sum(absent.end - absent.start for absent in self._out)

    def out_since(self, address: int) -> int | None:
        """Return when the page at `address` was paged out, if it was not touched since then."""
        return next(
            (absent.since_ns for absent in self._out if absent.start <= address < absent.end), None
        )

    def _areas(self, now_ns: int) -> list[Area]:
        return [
            area
            for area in self._space.areas
            if area.from_ns <= now_ns < area.until_ns and not area.hidden
        ]

    def _touched(self, area: Area, since_ns: int, now_ns: int) -> tuple[Range, ...]:
        """Return the pages of an area that were touched in the time (since, now]."""
        size = area.page_bytes
        return union(
            aligned(max(area.start, touched.start), min(area.end, touched.end), size)
            for touched in self._space.truth(since_ns, now_ns)
            if meets(touched, area.start, area.end)
        )

    def _bring_back(self, now_ns: int) -> None:
        areas = self._areas(now_ns)
        mapped = [Range(area.start, area.end) for area in areas]
        self._keep(
            [(absent, subtract([Range(absent.start, absent.end)], mapped)) for absent in self._out]
        )
        before = self.out_bytes
        touched = {
            since: [page for area in areas for page in self._touched(area, since, now_ns)]
            for since in {absent.since_ns for absent in self._out}
        }
        self._keep([(absent, touched[absent.since_ns]) for absent in self._out])
        self.refaulted_bytes += before - self.out_bytes

    def _keep(self, less: Sequence[tuple[_Out, Iterable[Range]]]) -> None:
        """Go on with each of what is out, less some ranges."""
        self._out = [
            _Out(*piece, absent.since_ns)
            for absent, holes in less
            for piece in subtract([Range(absent.start, absent.end)], holes)
        ]


def _whole_pages(area: Area, start: int, end: int) -> Range:
    """Return the pages of `area` whose middle is in [start, end)."""
    size, count = area.page_bytes, (area.end - area.start) // area.page_bytes

    def first(address: int) -> int:
        return min(max(-((area.start + size // 2 - address) // size), 0), count)

    return Range(area.start + first(start) * size, area.start + first(end) * size)

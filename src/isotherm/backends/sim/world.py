"""
A world of memory whose every access is known: address spaces, areas, and hot parts of them.

Nothing is stored per page: when a page is touched follows from the schedule of its hot area, so a
world of terabytes costs nothing, any moment can be asked for in any order, and the truth is exact.
Times are nanoseconds of the simulated clock; intervals of time are (since, until].
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from isotherm.errors import BadValueError
from isotherm.model.ranges import PAGE, Range, aligned, intersect, union

#: Above every address.
_BEYOND = 1 << 63

HUGE_PAGE = 2 << 20
FOREVER = 2**63 - 1

Order = Literal["sequential", "together", "random"]


@dataclass(frozen=True, slots=True)
class HotArea:
    """
    Pages [start, end) that are touched once per period, from `from_ns` until before `until_ns`.

    order: "sequential" sweeps evenly through the area, "together" touches all pages at the
    beginning of each period, "random" each page at a moment of its own, another in every period.
    phase_ns shifts the beginning of the periods.
    """

    start: int
    end: int
    period_ns: int
    order: Order = "sequential"
    phase_ns: int = 0
    from_ns: int = 0
    until_ns: int = FOREVER

    def __post_init__(self) -> None:
        if self.start % PAGE or self.end % PAGE or self.start >= self.end:
            raise BadValueError(f"hot area {self.start:#x}-{self.end:#x} is not made of pages")
        if self.period_ns < 1:
            raise BadValueError(f"a period of {self.period_ns} ns")

    @property
    def pages(self) -> int:
        return (self.end - self.start) // PAGE

    def touched(self, start: int, end: int, since_ns: int, until_ns: int) -> bool:
        """Tell whether any page of [start, end) was touched in the time (since, until]."""
        first = max(0, (start - self.start) // PAGE)
        last = min(self.pages, -((self.start - end) // PAGE))
        since, until = self._active(since_ns, until_ns)
        if first >= last or since >= until:
            return False
        if self.order == "random":
            return any(self._random(page, since, until) for page in range(first, last))
        if self.order == "together":
            return self._sweeps(until) > self._sweeps(since)
        return any(begin < last and first < end for begin, end in self._swept(since, until))

    def truth(self, since_ns: int, until_ns: int) -> Iterator[Range]:
        """Yield the addresses touched in the time (since, until], in any order, none twice."""
        since, until = self._active(since_ns, until_ns)
        if since >= until:
            return
        if self.order == "sequential":
            pieces = self._swept(since, until)
        elif self.order == "together":
            pieces = [(0, self.pages)] if self._sweeps(until) > self._sweeps(since) else []
        else:
            pieces = [
                (page, page + 1) for page in range(self.pages) if self._random(page, since, until)
            ]
        for first, last in pieces:
            yield Range(self.start + first * PAGE, self.start + last * PAGE)

    def _active(self, since_ns: int, until_ns: int) -> tuple[int, int]:
        """Cut the time to what the area is active, relative to the beginning of its periods."""
        since = max(since_ns, self.from_ns - 1) - self.phase_ns
        until = min(until_ns, self.until_ns - 1) - self.phase_ns
        return since, until

    def _sweeps(self, at_ns: int) -> int:
        """Periods begun until `at_ns`, inclusive."""
        return at_ns // self.period_ns + 1

    def _steps(self, at_ns: int) -> int:
        """Touches of a sequential sweep until `at_ns`, inclusive: page i at ⌊i·period/pages⌋."""
        sweeps, rest = divmod(at_ns, self.period_ns)
        return sweeps * self.pages + ((rest + 1) * self.pages - 1) // self.period_ns + 1

    def _swept(self, since: int, until: int) -> list[tuple[int, int]]:
        """Page intervals that a sequential sweep went over; at most two, disjoint."""
        before, after = self._steps(since), self._steps(until)
        count = min(after - before, self.pages)
        first = before % self.pages
        pieces = [(first, min(first + count, self.pages)), (0, first + count - self.pages)]
        return [(begin, end) for begin, end in pieces if begin < end]

    def _random(self, page: int, since: int, until: int) -> bool:
        """Tell whether one page was touched; its moment in period k is a hash of both."""
        for period in range(since // self.period_ns, until // self.period_ns + 1):
            moment = _hash(page, period) * self.period_ns >> 32
            if since < period * self.period_ns + moment <= until:
                return True
        return False


def _hash(page: int, period: int) -> int:
    """32 bits of splitmix64 of the pair: the same in every run and on every machine."""
    z = (page * 0x9E3779B97F4A7C15 + period * 0xD1B54A32D192ED03 + 1) & (2**64 - 1)
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (z ^ (z >> 31)) >> 32


@dataclass(frozen=True, slots=True)
class Area:
    """
    A mapping of a space, there from `from_ns` until before `until_ns`.

    page_bytes: how much memory shares one accessed bit, `PAGE` or `HUGE_PAGE`; hidden: accesses
    cannot be seen, for this short reason.
    """

    start: int
    end: int
    name: str = ""
    page_bytes: int = PAGE
    hidden: str = ""
    from_ns: int = 0
    until_ns: int = FOREVER

    def __post_init__(self) -> None:
        if self.start % self.page_bytes or self.end % self.page_bytes or self.start >= self.end:
            raise BadValueError(f"area {self.start:#x}-{self.end:#x} is not made of whole pages")


@dataclass(frozen=True)
class Space:
    """
    An address space, as a process has one: it ends at `until_ns`.

    Areas must not overlap, whatever their time. Hot areas may, and lie where they like: outside
    of an area nothing is mapped, so nothing is touched.
    """

    name: str
    areas: tuple[Area, ...]
    hot: tuple[HotArea, ...] = ()
    until_ns: int = FOREVER

    def __post_init__(self) -> None:
        in_order = sorted(self.areas, key=lambda area: area.start)
        object.__setattr__(self, "areas", tuple(in_order))
        for before, after in pairwise(in_order):
            if before.end > after.start:
                raise BadValueError(f"areas overlap at {after.start:#x}")

    def area_at(self, address: int, at_ns: int) -> Area | None:
        """Return the area that maps `address` at a time, or None."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        area = self.areas[index]
        there = address < area.end and area.from_ns <= at_ns < area.until_ns
        return area if there else None

    def hole_at(self, address: int) -> Range:
        """Return the rest of a hole in the address space: whole pages up to the next area."""
        index = bisect_right(self._starts, address)
        end = self._starts[index] if index < len(self._starts) else _BEYOND
        return aligned(address, end)

    def touched(self, start: int, end: int, since_ns: int, until_ns: int) -> bool:
        """Tell whether any byte of [start, end), one page of an area, was touched in the time."""
        borders, hot = self._segments
        first = max(0, bisect_right(borders, start) - 1)
        for index in range(first, len(hot)):
            if borders[index] >= end:
                break
            if any(area.touched(start, end, since_ns, until_ns) for area in hot[index]):
                return True
        return False

    def truth(self, since_ns: int, until_ns: int) -> list[Range]:
        """
        Return exactly the mapped addresses touched in the time (since, until].

        In address order, disjoint. An area counts if it is mapped at `until_ns`.
        """
        mapped = [a for a in self.areas if a.from_ns <= until_ns < a.until_ns]
        touched = union(piece for hot in self.hot for piece in hot.truth(since_ns, until_ns))
        return intersect(touched, union((area.start, area.end) for area in mapped))

    @cached_property
    def _starts(self) -> list[int]:
        return [area.start for area in self.areas]

    @cached_property
    def _segments(self) -> tuple[list[int], list[tuple[HotArea, ...]]]:
        """Addresses where the set of hot areas changes, and the hot areas after each."""
        borders = sorted({border for hot in self.hot for border in (hot.start, hot.end)})
        return borders, [
            tuple(hot for hot in self.hot if hot.start <= border < hot.end) for border in borders
        ]


@dataclass(frozen=True, slots=True)
class World:
    """Address spaces, in the order of their target ids."""

    spaces: tuple[Space, ...]

    def alive(self, at_ns: int) -> list[int]:
        """Return the indexes of the spaces that exist at a time."""
        return [index for index, space in enumerate(self.spaces) if at_ns < space.until_ns]

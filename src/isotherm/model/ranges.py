"""Addresses [start, end), and all arithmetic with them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

#: Bytes of a page: what one accessed bit stands for at the least, and the unit of regions.
PAGE = 4096


class Span(Protocol):
    """Whatever lies at addresses [start, end): a mapping, a region, a simulated area."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


_SpanT = TypeVar("_SpanT", bound=Span)


class Range(NamedTuple):
    """Addresses [start, end), in bytes."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


def total(ranges: Iterable[Range]) -> int:
    """Return the bytes of ranges that do not overlap."""
    return sum(piece.size for piece in ranges)


def meets(span: Span, start: int, end: int) -> bool:
    """Tell whether any byte of `span` is in [start, end)."""
    return span.start < end and start < span.end


def aligned(start: int, end: int, unit: int = PAGE) -> Range:
    """Return [start, end) aligned outwards to multiples of `unit`."""
    return Range(start // unit * unit, -(-end // unit) * unit)


def union(ranges: Iterable[tuple[int, int]], max_gap: int = 0) -> tuple[Range, ...]:
    """
    Sort ranges, and join those that overlap or touch; empty ones vanish.

    max_gap: gaps of at most so many bytes are filled.
    """
    joined: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if joined and start - joined[-1].end <= max_gap:
            joined[-1] = Range(joined[-1].start, max(joined[-1].end, end))
        else:
            joined.append(Range(start, end))
    return tuple(joined)


def join_adjacent(ranges: Iterable[tuple[int, int]]) -> list[Range]:
    """Join each range that begins where the one before ends; order and overlaps stay."""
    joined: list[Range] = []
    for start, end in ranges:
        if joined and joined[-1].end == start:
            joined[-1] = Range(joined[-1].start, end)
        else:
            joined.append(Range(start, end))
    return joined


def intersect(left: Sequence[Range], right: Sequence[Range]) -> list[Range]:
    """Return what is in both; both in order and apart, as `union` gives them."""
    common, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        start, end = max(left[i].start, right[j].start), min(left[i].end, right[j].end)
        if start < end:
            common.append(Range(start, end))
        if left[i].end < right[j].end:
            i += 1
        else:
            j += 1
    return common


def subtract(ranges: Iterable[Range], holes: Iterable[tuple[int, int]]) -> Iterator[Range]:
    """Yield what of each of `ranges`, in their order, is in none of `holes` (any order)."""
    apart = union(holes)
    for whole in ranges:
        at = whole.start
        for hole in apart[bisect_right(apart, at, key=lambda hole: hole.end) :]:
            if hole.start >= whole.end:
                break
            if at < hole.start:
                yield Range(at, hole.start)
            at = hole.end
        if at < whole.end:
            yield Range(at, whole.end)


def parts(spans: Sequence[_SpanT], start: int, end: int) -> Iterator[tuple[_SpanT, Range]]:
    """Yield each of `spans` (in order and apart) that [start, end) meets, with the part in it."""
    first = bisect_right(spans, start, key=lambda span: span.end)
    for index in range(first, len(spans)):
        span = spans[index]
        if span.start >= end:
            return
        low, high = max(start, span.start), min(end, span.end)
        if low < high:
            yield span, Range(low, high)


class RangeSet:
    """Addresses, each counted once."""

    def __init__(self) -> None:
        self._ranges: list[Range] = []  # in order, and apart

    def add(self, start: int, end: int) -> None:
        """Add [start, end)."""
        known = self._ranges
        first = bisect_left(known, start, key=lambda piece: piece.end)
        last = bisect_right(known, end, key=lambda piece: piece.start)
        if first < last:
            start, end = min(start, known[first].start), max(end, known[last - 1].end)
        known[first:last] = [Range(start, end)]

    @property
    def size(self) -> int:
        return total(self._ranges)

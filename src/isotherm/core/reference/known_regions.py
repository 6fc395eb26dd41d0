"""
Regions as a map of pages knows them, as _native/map/known.c tells of them.

Addresses where no page is are in no region. Where samples cannot see memory that the map can, the
rate is what the map knows, and its age for how many windows it has been so.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from isotherm.core.known_regions import SHORTEST_NS
from isotherm.core.page_map import Part
from isotherm.model.snapshot import Columns, is_blind

#: A rate is what it was as long as it changes by no more than this share of the possible.
_ALIKE: Final = 0.1
#: Samples find so much more than there is by chance.
_CHANCE: Final = 1.25
_WIDTH: Final = len(Part._fields)
#: The fields of a `Told`.
_Row = tuple[int, int, int, int, int, int, float]


class Sampled(NamedTuple):
    """
    A region as samples know it: see `model.snapshot.Region`.

    share: of samples that found an access, though none could where no
    page is.
    """

    target: int
    start: int
    end: int
    accesses: int
    age: int
    unobservable: int
    share: float

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(slots=True)
class Told:
    """A region as it is told: see `Sampled`; share: of the memory that is there and seen."""

    start: int
    end: int
    count: int
    age: int
    unobservable: int
    used: int
    share: float


def within(share: float, ns: int) -> float:
    """Return which share is used within `ns`, of pages of which `share` is in `SHORTEST_NS`."""
    if ns >= SHORTEST_NS or share >= 1:
        return min(1.0, share)
    return -math.expm1(math.log1p(-share) * ns / SHORTEST_NS)


class KnownRegions:
    """Tells of regions what a map knows, and for how long rates that are the map's were so."""

    def __init__(self) -> None:
        #: In order of targets and addresses, as regions are.
        self._before: list[tuple[int, Told]] = []

    def columns(self, columns: Columns, words: array[int], most: int, soon_ns: int) -> Columns:
        """
        Return the regions, cut to what is in memory, with `share` and `used`.

        words: what is known of their addresses, as `RunMap.parts` gives it, of these regions or of
        earlier ones; most: samples of a window; soon_ns: between two of them.
        """
        made = _Made(columns)
        by_map: list[tuple[int, Told]] = []
        at, end_at = 0, len(words)
        rows = zip(
            columns.target,
            columns.start,
            columns.end,
            columns.nr_accesses,
            columns.age,
            columns.unobservable,
            strict=True,
        )
        for place, (target, start, end, count, age, hidden) in enumerate(rows):
            known: list[Part] = []
            if at < end_at:
                one_part = words[at : at + _WIDTH]
                whose, low, high, present, unread, unknown, soon, used = one_part
                if low == start and high == end and whose == target:
                    # Nearly all are of this kind.
                    at += _WIDTH
                    if not (hidden or unread):
                        if present or count:
                            size = end - start
                            share = min(1.0, count / most * (size / (present or size)))
                            if used and not count:
                                share = within(soon / max(1, present - unknown), soon_ns)
                            made.add(place, (start, end, count, age, 0, used, share))
                        continue
                    known = [Part(*one_part)]
            region = Sampled(target, start, end, count, age, hidden, count / most)
            if not known:
                at = _passed(region, words, at)
                known = list(_inside(region, words, at))
            for told, is_map in self._parts(region, known, most, soon_ns):
                made.add(place, _fields(told))
                if is_map:
                    by_map.append((target, told))
        self._before = by_map
        return made.columns()

    def _parts(
        self, region: Sampled, known: list[Part], most: int, soon_ns: int
    ) -> Iterator[tuple[Told, bool]]:
        """Yield what is told of a region, and whether it is what the map knows."""
        whole = known[0] if len(known) == 1 else _sum_of(region, known)
        there, hidden = whole.present + whole.unread, region.unobservable
        accessed = region.share * (region.size - min(region.size, hidden))
        if accessed > _CHANCE * there or (hidden and not there):
            # Samples saw what the map does not know yet.
            all_there = whole._replace(present=region.size, unread=0)
            yield _sampled(region, all_there, all_there), False
            return
        for part in known:
            if not (part.present or part.unread):
                continue
            if hidden and not part.unread and 2 * part.unknown <= part.present:
                yield self._by_map(region, part, most, soon_ns), True
            else:
                told = _sampled(region, part, whole)
                if told.used and not told.count and not is_blind(region.size, region.unobservable):
                    # Samples are few: what the map saw used a little is not idle.
                    told.share = within(part.soon / max(1, part.present - part.unknown), soon_ns)
                yield told, False

    def _by_map(self, region: Sampled, part: Part, most: int, soon_ns: int) -> Told:
        share = within(part.soon / max(1, part.present - part.unknown), soon_ns)
        count = min(most, max(1, round(share * most))) if part.used else 0
        size = part.end - part.start
        unseen = size * part.unknown // part.present
        age = self._age(region.target, (part.start + part.end) // 2, count, most)
        used = min(part.used, size)
        return Told(part.start, part.end, count, age, unseen, used, share if count else 0.0)

    def _age(self, target: int, address: int, count: int, most: int) -> int:
        """Return for how many windows a rate has been what it is, by what was told before."""
        place = bisect_right(self._before, (target, address), key=_begin) - 1
        if place < 0:
            return 0
        other, told = self._before[place]
        if other != target or address >= told.end:
            return 0
        same = abs(count - told.count) <= _ALIKE * most
        return told.age + 1 if same and bool(count) == bool(told.count) else 0


def _begin(of_target: tuple[int, Told]) -> tuple[int, int]:
    target, told = of_target
    return target, told.start


def _sampled(region: Sampled, part: Part, whole: Part) -> Told:
    """Return a part of a region as samples know it, of the pages that are there."""
    size, hidden = part.end - part.start, region.unobservable
    there = max(whole.present + whole.unread, hidden) or region.size
    used = min(part.used, size)
    if is_blind(there, hidden):
        return Told(part.start, part.end, region.accesses, region.age, size, used, 0.0)
    unseen = min(size, hidden * (part.present + part.unread) // there)
    if not region.accesses:
        unseen = max(unseen, part.unread)
    seen = max(1, min(there, region.size) - hidden)
    share = min(1.0, region.share * (region.size - hidden) / seen)
    return Told(part.start, part.end, region.accesses, region.age, unseen, used, share)


def _passed(region: Sampled, words: array[int], at: int) -> int:
    """Return where the words begin that may be of a region."""
    before = region.target, region.start
    while at < len(words) and (words[at], words[at + 2] - 1) < before:
        at += _WIDTH
    return at


def _inside(region: Sampled, words: array[int], at: int) -> Iterator[Part]:
    """Yield what is known of the addresses of a region; of some nobody asked."""
    address = region.start
    while at < len(words) and words[at] == region.target and words[at + 1] < region.end:
        part = Part(*words[at : at + _WIDTH])
        at += _WIDTH
        if part.start > address:
            yield _unread(region.target, address, part.start)
        low, high = max(part.start, region.start), min(part.end, region.end)
        if low < high:
            yield _cut(part, low, high)
            address = high
    if address < region.end:
        yield _unread(region.target, address, region.end)


def _unread(target: int, start: int, end: int) -> Part:
    return Part(target, start, end, 0, end - start, 0, 0, 0)


def _cut(part: Part, low: int, high: int) -> Part:
    """Return [low, high) of a part, in proportion."""
    size = part.end - part.start
    if high - low == size:
        return part
    return Part(part.target, low, high, *(one * (high - low) // size for one in part[3:]))


def _sum_of(region: Sampled, known: list[Part]) -> Part:
    sums = (sum(column) for column in list(zip(*known, strict=True))[3:])
    return Part(region.target, region.start, region.end, *sums)


def _fields(told: Told) -> _Row:
    return told.start, told.end, told.count, told.age, told.unobservable, told.used, told.share


class _Made:
    """Columns of regions in the making."""

    def __init__(self, columns: Columns) -> None:
        self._from = columns
        self._places: list[int] = []
        self._rows: list[_Row] = []

    def add(self, place: int, row: _Row) -> None:
        self._places.append(place)
        self._rows.append(row)

    def columns(self) -> Columns:
        old, places = self._from, self._places
        start, end, count, age, unseen, used, share = (
            zip(*self._rows, strict=True) if self._rows else [()] * 7
        )

        def taken(told: array[float] | None) -> array[float] | None:
            return None if told is None else array("d", [told[place] for place in places])

        return Columns(
            target=array("I", [old.target[place] for place in places]),
            start=array("Q", start),
            end=array("Q", end),
            nr_accesses=array("I", count),
            age=array("I", age),
            unobservable=array("Q", unseen),
            used=array("Q", used),
            rate=taken(old.rate),
            low=taken(old.low),
            high=taken(old.high),
            share=array("d", share),
        )

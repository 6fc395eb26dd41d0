"""The Snapshot: the only thing that leaves the monitoring loop."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from isotherm.model.page_use import PageUse
from isotherm.model.scheme_state import SchemeState
from isotherm.model.target import Mapping, Target, Unobservable

#: `Region.used` is of a window, or of so much time if that is more.
LEAST_USED_US = 1_000_000


def is_blind(size: int, unobservable: int) -> bool:
    """
    Tell whether a region has no rate: of most of it nothing is known.

    size, unobservable: in bytes.
    """
    return 2 * unobservable > size or not size


class Region(NamedTuple):
    """
    A range of like access frequency in one aggregation window.

    target: index into `Snapshot.targets`; start, end: addresses [start, end) in bytes;
    nr_accesses: samples of the window that found an access, 0..`Snapshot.max_nr_accesses`, or
    None where most of the region could not be observed; age: windows since its rate last changed;
    unobservable: estimated bytes of it that could not be observed; used: bytes of its pages that
    were used within the last window, or second if that is longer; None where nobody knows. rate,
    low, high: accesses of one of its pages per second, and the ends of the 95 % credible interval
    of that; None where nobody tells. share: of the pages of it that are in memory and observable,
    those that were used within one sampling interval, 0..1 on average; None where nobody knows
    which are in memory, so that `nr_accesses` is all there is.
    """

    target: int
    start: int
    end: int
    nr_accesses: int | None
    age: int
    unobservable: int = 0
    used: int | None = None
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    share: float | None = None

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Columns:
    """
    Regions as columns of equal length, in target and address order.

    target u32, start u64, end u64, nr_accesses u32, age u32, unobservable u64 (bytes); used u64
    (bytes), None where no map of pages was asked; rate, low, high float64 (per second), all or
    none of them None; share float64 (0..1) or None. With `share` no region is of addresses of
    which nothing is in memory. Readers must not change them.
    """

    target: array[int] = field(default_factory=lambda: array("I"))
    start: array[int] = field(default_factory=lambda: array("Q"))
    end: array[int] = field(default_factory=lambda: array("Q"))
    nr_accesses: array[int] = field(default_factory=lambda: array("I"))
    age: array[int] = field(default_factory=lambda: array("I"))
    unobservable: array[int] = field(default_factory=lambda: array("Q"))
    used: array[int] | None = None
    rate: array[float] | None = None
    low: array[float] | None = None
    high: array[float] | None = None
    share: array[float] | None = None

    def __len__(self) -> int:
        return len(self.start)

    def __iter__(self) -> Iterator[Region]:
        nobody = [None] * len(self)
        for target, start, end, count, age, unseen, *known in zip(
            self.target,
            self.start,
            self.end,
            self.nr_accesses,
            self.age,
            self.unobservable,
            *(
                nobody if told is None else told
                for told in (self.used, self.rate, self.low, self.high, self.share)
            ),
            strict=True,
        ):
            blind = is_blind(end - start, unseen)
            yield Region(target, start, end, None if blind else count, age, unseen, *known)


@dataclass(frozen=True, slots=True)
class Cost:
    """
    What the window cost the monitor.

    cpu_ns: CPU time of the monitoring thread; ticks: sampling intervals done; checks: samples
    asked for; missed: samples left unchecked for lack of budget (imputed); cleared: accessed bits
    cleared; late_ns: sum of how late the ticks began. The last two and checks are None where the
    kernel does the work and does not tell.
    """

    cpu_ns: int = 0
    ticks: int = 0
    checks: int | None = 0
    missed: int = 0
    cleared: int | None = 0
    late_ns: int | None = 0


def _expected(size: int, uses: float, most: int | None) -> int:
    """Of `size` bytes, those of pages that are used at all, `uses` times each on average."""
    expected = round(size * -math.expm1(-uses))
    return expected if most is None else min(expected, most)


@dataclass(frozen=True)
class Snapshot:
    """
    One aggregation window's result; immutable.

    index counts from 0; start_ns, end_ns: time of day in ns; sample_us, aggr_us: the intervals
    that nr_accesses and age are counted in (those in force after the window, where tuning or a
    commit changed them). `mappings` maps a target's id to its address map, of those whose map is
    another one than in the previous snapshot, and is None when there are none. `schemes`: what
    came of each scheme so far.
    monotonic_ns: CLOCK_MONOTONIC at the end; page_use: what a map of pages knows by then, in some
    snapshots only; running_ns: how long of the time that it watched they had been running, rather
    than stopped or frozen, of several the one that did so least. These three are None where nobody
    looked. shares: the regions are whole mappings, and `nr_accesses` of `max_nr_accesses` is the
    share of their bytes that was used, rather than how often. explored: places, drawn evenly from
    all memory, that were looked at so far, by policies that explore; None: by others.
    """

    index: int
    start_ns: int
    end_ns: int
    sample_us: int
    aggr_us: int
    targets: tuple[Target, ...]
    columns: Columns
    unobservable: tuple[Unobservable, ...] = ()
    cost: Cost = Cost()
    mappings: dict[int, Sequence[Mapping]] | None = None
    schemes: tuple[SchemeState, ...] = ()
    monotonic_ns: int | None = None
    running_ns: int | None = None
    page_use: PageUse | None = None
    shares: bool = False
    explored: int | None = None

    @property
    def max_nr_accesses(self) -> int:
        """The highest possible nr_accesses: samples per window."""
        return max(1, self.aggr_us // max(1, self.sample_us))

    def heats(self) -> array[float]:
        """Return the heat of each region, 0..1: the share of samples that found an access."""
        if self.columns.share is not None:
            return self.columns.share
        most = self.max_nr_accesses
        counts = self.columns.nr_accesses
        return array("d", [count / most if count < most else 1.0 for count in counts])

    def used_bytes(self, size: int, nr_accesses: int) -> int:
        """Return how many of the `size` bytes of a region that was accessed were used."""
        return size * nr_accesses // self.max_nr_accesses if self.shares else size

    def expected_bytes(self) -> list[int]:
        """
        Return how many bytes of each region were used in this window, as its rate makes expect.

        No more than `used`, which is of a longer time. Of regions without a rate 0, as of those of
        which most is unknown.
        """
        seconds = self.aggr_us / 1e6
        return [
            0
            if region.nr_accesses is None or not region.rate
            else _expected(region.size - region.unobservable, region.rate * seconds, region.used)
            for region in self.columns
        ]

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The regions as rows; use `columns` where there are many snapshots."""
        return tuple(self.columns)

    @cached_property
    def monitored_bytes(self) -> int:
        """Size of all regions, holes inside them included."""
        return sum(self.columns.end) - sum(self.columns.start)

    @cached_property
    def working_set_bytes(self) -> int:
        """
        Bytes of regions accessed in this window, less what could not be observed in them.

        Where it is known which pages of the regions were used in it, those only; where rates are,
        as many pages as they make expect.
        """
        if self.columns.used is not None and self.aggr_us >= LEAST_USED_US:
            return sum(self.columns.used)
        if self.columns.rate is not None:
            return sum(self.expected_bytes())
        return sum(
            self.used_bytes(region.size - region.unobservable, region.nr_accesses)
            for region in self.columns
            if region.nr_accesses
        )

    @cached_property
    def unobservable_bytes(self) -> int:
        """Bytes that could not be observed: known ranges, and the estimate inside regions."""
        return sum(u.size for u in self.unobservable) + sum(self.columns.unobservable)

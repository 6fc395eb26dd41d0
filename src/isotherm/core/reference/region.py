"""A region and its arithmetic: counting, imputing, splitting, merging, rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from isotherm.core.damon.arithmetic import mult_frac
from isotherm.core.look import WAS_YOUNG, Check
from isotherm.model.attrs import UINT_MAX

MAX_PROBES = 4


class WindowCounts(NamedTuple):
    """
    What the ticks of the running window found in a region (struct region_window).

    old: samples that were old when chosen; old_hits: of those, accessed after it; young_cleared:
    samples that were young and cleared; young_hits: of those, accessed again; missed: samples that
    were young and left so, or not looked at; unobservable: samples whose accesses cannot be seen.
    """

    old: int = 0
    old_hits: int = 0
    young_cleared: int = 0
    young_hits: int = 0
    missed: int = 0
    unobservable: int = 0


@dataclass(slots=True)
class RegionState:
    """
    A range [start, end) and what is known of it.

    nr_accesses: hits of the running window; last_nr_accesses: the window's before; age: windows
    since the rate changed; unobservable: bytes of which the ended window knows nothing; moving_bp:
    hits of the last window's time in 1/10,000, of profiles that store them (u32); waits: windows
    since the last one that taught something, which are part of no age yet.
    """

    start: int
    end: int
    nr_accesses: int = 0
    last_nr_accesses: int = 0
    age: int = 0
    probe_hits: list[int] = field(default_factory=lambda: [0] * MAX_PROBES)
    last_probe_hits: list[int] = field(default_factory=lambda: [0] * MAX_PROBES)
    window: list[int] = field(default_factory=lambda: [0] * len(WindowCounts._fields))
    unobservable: int = 0
    moving_bp: int = 0
    waits: int = 0

    @classmethod
    def fresh(cls, start: int, end: int) -> RegionState:
        """Return a region of which nothing is known yet."""
        return cls(start, end, unobservable=end - start)

    @property
    def size(self) -> int:
        return self.end - self.start

    def cut(self, size: int) -> RegionState:
        """Split: keep the left `size` bytes, return the rest; both have the same history."""
        right = replace(
            self,
            start=self.start + size,
            probe_hits=self.probe_hits.copy(),
            last_probe_hits=self.last_probe_hits.copy(),
            window=self.window.copy(),
        )
        left_part = self.unobservable * size // self.size
        right.unobservable -= left_part
        self.unobservable = left_part
        self.end = right.start
        return right

    def absorb(self, right: RegionState) -> None:
        """Merge the adjacent `right` into this region (damon_merge_two_regions)."""
        left_size, right_size = self.size, right.size

        def mean(left_value: int, right_value: int) -> int:
            weighted = left_value * left_size + right_value * right_size
            return weighted // (left_size + right_size)

        self.nr_accesses = mean(self.nr_accesses, right.nr_accesses)
        self.age = mean(self.age, right.age)
        self.waits = min(self.waits, right.waits)
        self.probe_hits = list(map(mean, self.probe_hits, right.probe_hits))
        self.unobservable += right.unobservable
        self.end = right.end

    def count(self, result: int) -> None:
        """Count one check: a `Check`, possibly with `WAS_YOUNG`."""
        window = self.window
        kind = result & ~WAS_YOUNG
        if kind in (Check.MISSED, Check.RESTING):
            window[4] += 1
        elif kind == Check.UNOBSERVABLE:
            window[5] += 1
        else:
            at = 2 if result & WAS_YOUNG else 0
            window[at] += 1
            window[at + 1] += kind == Check.ACCESSED
            self.nr_accesses += kind == Check.ACCESSED

    def move(self, samples: int, *, accessed: bool) -> None:
        """Take a check of one of `samples` into the moving sum."""
        new = 10_000 if accessed else 0
        self.moving_bp = moving_sum(
            self.moving_bp, self.last_nr_accesses * 10_000 & UINT_MAX, samples, new
        )

    def set_moving_sum(self, hits: int) -> None:
        """Have the moving sum be `hits` of a whole window."""
        self.moving_bp = hits * 10_000 & UINT_MAX

    def count_age(self, *, changed: bool) -> None:
        """
        Grow older by the window, or begin anew.

        A window that taught nothing waits for the next that does: whether the rate is still the
        same is not known before.
        """
        seen = WindowCounts(*self.window)
        if seen.missed and not (seen.old or seen.young_cleared or seen.unobservable):
            self.waits = min(self.waits + 1, UINT_MAX)
            return
        self.age = 0 if changed else min(self.age + self.waits + 1, UINT_MAX)
        self.waits = 0

    def end_window(self, samples: int) -> None:
        """
        Finish `nr_accesses` and `unobservable` for a window of `samples`.

        Exactly the hits if all was seen, as DAMON. Otherwise the hits are scaled to the whole
        window; a missed sample counts with the hit rate of the young ones that were cleared, or
        with the last window's rate where none was. Where the window taught nothing at all, neither
        by an old page nor by a cleared one, what the window before knew, and did not know, stands.
        """
        seen = WindowCounts(*self.window)
        total = seen.old + seen.young_cleared + seen.missed
        asked = total + seen.unobservable
        if asked:
            unseen = self.size * seen.unobservable // asked
            learned = seen.old or seen.young_cleared
            self.unobservable = unseen if learned else max(unseen, self.unobservable)
        if not total or not (seen.missed or seen.unobservable):
            return
        hits, of = seen.young_hits, seen.young_cleared
        if not of:
            hits, of = min(self.last_nr_accesses, samples), samples
        numerator = (seen.old_hits * of + (seen.young_cleared + seen.missed) * hits) * samples
        denominator = of * total
        self.nr_accesses = (2 * numerator + denominator) // (2 * denominator)


def weighted(hits: Sequence[int], weights: Sequence[int]) -> int:
    """Sum of probe hits, weighted."""
    return sum(hit * weight for hit, weight in zip(hits, weights, strict=False))


def moving_sum(current: int, last: int, samples: int, new: int) -> int:
    """
    Return a moving sum after another sample (damon_moving_sum of 6.7 to 7.2), u32.

    last: the last window's sum, of whose `samples` one goes as one of value `new` comes.
    """
    return (current - last // samples + new) & UINT_MAX


def mvsum(current: int, last: int, left_bp: int) -> int:
    """
    Blend two windows into one that ends now (damon_mvsum of 7.3).

    left_bp: share of the running window still to come, in 1/10,000.
    """
    return current + mult_frac(last, left_bp, 10_000)


def probe_weights_valid(samples: int, weights: Sequence[int]) -> bool:
    """Tell whether weighted hits of a window of `samples` fit their types (8 and 32 bits)."""
    return not any(weights) or (samples <= 255 and samples * sum(weights) <= UINT_MAX)

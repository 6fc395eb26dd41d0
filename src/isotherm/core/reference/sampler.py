"""The tick loop, readable: what `_core.Sampler` (table/sampler.c) does for a whole window."""

from __future__ import annotations

from array import array
from typing import NamedTuple, Protocol

from isotherm.clock import Clock
from isotherm.core.look import WAS_YOUNG, Check, Look, Samples
from isotherm.core.reference.regions import RegionTable
from isotherm.core.reference.regions_split import RandomRange
from isotherm.model.attrs import UINT_MAX


class Tally(NamedTuple):
    """What ticks cost; the fields are those of `model.snapshot.Cost`."""

    ticks: int = 0
    checks: int = 0
    missed: int = 0
    cleared: int = 0
    late_ns: int = 0


class Sampler(Protocol):
    """Runs sampling intervals over a region table."""

    def run(self, ticks: int, sample_ns: int, /) -> int:
        """
        Do `ticks` sampling intervals and return how many were completed, fewer after `stop`.

        Deadlines are absolute, so that the work does not shift them; a tick that is late by more
        than an interval starts a new schedule instead of a burst. Raises `TargetGoneError` when
        every target is gone.
        """

    def stop(self) -> None:
        """Have the run return early: the running one, or the next. From any thread."""

    def take(self) -> tuple[int, int, int, int, int]:
        """Return what the ticks since the last call cost: a `Tally`'s fields."""


def sampled_end(start: int, end: int) -> int:
    """
    Return where sampling of [start, end) ends if spans have 32 bits (damon_rand of 6.12).

    Of a region of 4 GiB and more, the first size mod 4 GiB bytes; the first 4 GiB if that is 0.
    """
    return start + ((end - start - 1) & UINT_MAX) + 1


class PySampler:
    """Reference of `Sampler`, for any Ops and clock."""

    def __init__(self, table: RegionTable, rng: RandomRange, ops: Look, clock: Clock) -> None:
        self._table = table
        self._rng = rng
        self._ops = ops
        self._clock = clock
        self._deadline_ns = 0
        self._stop = False
        self._ticks = self._checks = self._missed = self._late_ns = 0

    def run(self, ticks: int, sample_ns: int, /) -> int:
        done = 0
        watched = bool(len(self._table))
        if ticks and watched and not self._stop:
            self._ops.prepare(self._choose())
        while done < ticks and not self._stop:
            self._next_tick(sample_ns)
            if self._stop:
                break
            if watched:
                self._turn(prepare=done + 1 < ticks)
            self._ticks += 1
            done += 1
        if done < ticks:
            self._stop = False
        return done

    def stop(self) -> None:
        self._stop = True

    def take(self) -> tuple[int, int, int, int, int]:
        cost = Tally(self._ticks, self._checks, self._missed, self._ops.cleared(), self._late_ns)
        self._ticks = self._checks = self._missed = self._late_ns = 0
        return cost

    def _next_tick(self, sample_ns: int) -> None:
        now = self._clock.now_ns()
        self._deadline_ns += sample_ns
        # The first tick ever, one that is overdue, or one after a tick that was given up.
        if not now <= self._deadline_ns <= now + sample_ns:
            if sample_ns < self._deadline_ns < now:
                self._late_ns += now - self._deadline_ns
            self._deadline_ns = now + sample_ns
        self._late_ns += self._clock.sleep_until(self._deadline_ns)

    def _choose(self) -> Samples:
        """Pick a byte of each region, uniformly."""
        addresses, targets, checked = array("Q"), array("I"), array("I")
        whole = self._table.profile.samples_whole_regions
        for index, regions in enumerate(self._table.by_target()):
            for region in regions:
                end = region.end if whole else sampled_end(region.start, region.end)
                addresses.append(self._rng.range(region.start, end))
                targets.append(index)
                checked.append(region.window[2])  # young_cleared
        return Samples(addresses, targets, checked)

    def _turn(self, *, prepare: bool) -> None:
        """Check what was prepared, and prepare the next batch, chosen before the check."""
        batch = self._choose() if prepare else None
        results = memoryview(self._ops.check()).cast("B")
        if len(results) != len(self._table):
            raise ValueError(f"check() gave {len(results)} results for {len(self._table)} samples")
        if batch is not None:
            self._ops.prepare(batch)
        moves = self._table.profile.stores_moving_sum
        for region, result in zip(self._table.regions(), results, strict=True):
            region.count(result)
            if moves:
                accessed = result & ~WAS_YOUNG == Check.ACCESSED
                region.move(self._table.samples, accessed=accessed)
            self._missed += result == Check.MISSED
        self._checks += len(results)

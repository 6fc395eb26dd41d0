"""The tick loop, readable: what `_core.Sampler` (table/sampler.c) does for a whole window."""

from __future__ import annotations

from array import array

from isotherm.clock import Clock
from isotherm.core.look import WAS_YOUNG, Check, Look, Samples
from isotherm.core.reference.regions import RegionTable
from isotherm.core.reference.regions_split import RandomRange
from isotherm.core.ticks import Ticks
from isotherm.model.attrs import UINT_MAX


def sampled_end(start: int, end: int) -> int:
    """
    Return where sampling of [start, end) ends if spans have 32 bits (damon_rand of 6.12).

    Of a region of 4 GiB and more, the first size mod 4 GiB bytes; the first 4 GiB if that is 0.
    """
    return start + ((end - start - 1) & UINT_MAX) + 1


class PySampler(Ticks):
    """Samples a page of each region per tick, for any Look and clock."""

    def __init__(self, table: RegionTable, rng: RandomRange, look: Look, clock: Clock) -> None:
        super().__init__(look, clock, self._choose_pages, self._count_accesses)
        self._table = table
        self._rng = rng

    def _choose_pages(self) -> Samples:
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

    def _count_accesses(self, results: bytes) -> None:
        moves = self._table.profile.stores_moving_sum
        for region, result in zip(self._table.regions(), results, strict=True):
            region.count(result)
            if moves:
                accessed = result & ~WAS_YOUNG == Check.ACCESSED
                region.move(self._table.samples, accessed=accessed)

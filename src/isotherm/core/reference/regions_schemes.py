"""What schemes do with a region table: find regions, cut them, renew ages, undo the cuts."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from isotherm.core.damon.profile import Profile
from isotherm.core.reference.region import RegionState, mvsum
from isotherm.model.scheme import Limits


class SchemeTable:
    """
    The part of `core.reference.regions.RegionTable` that the scheme engine works through.

    Regions are named by their place among the regions of all targets. A cut moves those behind it
    by one; nothing else here moves any, but for `rejoin`.
    """

    profile: Profile
    _targets: dict[int, list[RegionState]]

    def spans(self) -> list[tuple[int, int]]:
        """Return per target the places [first, end) of its regions."""
        spans, first = [], 0
        for regions in self._targets.values():
            spans.append((first, first + len(regions)))
            first += len(regions)
        return spans

    def matching(self, limits: Limits, left_bp: int, *, known: bool) -> array[int]:
        """
        Return the places of regions that match a pattern (damos_valid_target), u64.

        left_bp: as for `mvsum`; known: leave out regions of which nothing could be observed.
        """
        found = array("Q")
        for place, region in enumerate(self._all()):
            rate = self._rate(region, left_bp)
            if (
                limits.min_size <= region.size <= limits.max_size
                and limits.min_accesses <= rate <= limits.max_accesses
                and limits.min_age <= region.age <= limits.max_age
                and not (known and region.unobservable >= region.size)
            ):
                found.append(place)
        return found

    def region(self, place: int, left_bp: int) -> tuple[int, int, int, int, int]:
        """Return start, end, rate over a whole window, age, and unobservable bytes of a region."""
        region = self._at(place)[0]
        rate = self._rate(region, left_bp)
        return region.start, region.end, rate, region.age, region.unobservable

    def cut(self, place: int, size: int) -> None:
        """Split a region after its first `size` bytes, fewer than all (damon_split_region_at)."""
        region, regions, index = self._at(place)
        if not 0 < size < region.size:
            raise ValueError(f"cannot cut {size} bytes off a region of {region.size}")
        regions.insert(index + 1, region.cut(size))

    def renew(self, place: int) -> None:
        """Set the age of a region to 0: something was done to it."""
        region = self._at(place)[0]
        region.age = region.waits = 0

    def rejoin(self, size_limit: int) -> None:
        """
        Merge neighbours of equal age and counters that are together below `size_limit` bytes.

        Undoes the cuts of quotas and filters, as kdamond_apply_schemes() after each region.
        """
        for target_id, regions in self._targets.items():
            kept: list[RegionState] = []
            for region in regions:
                if kept and _same(kept[-1], region) and region.end - kept[-1].start < size_limit:
                    kept[-1].absorb(region)
                else:
                    kept.append(region)
            self._targets[target_id] = kept

    def _all(self) -> Iterator[RegionState]:
        for regions in self._targets.values():
            yield from regions

    def _at(self, place: int) -> tuple[RegionState, list[RegionState], int]:
        index = place
        for regions in self._targets.values():
            if 0 <= index < len(regions):
                return regions[index], regions, index
            index -= len(regions)
        raise IndexError(f"there is no region {place}")

    def _rate(self, region: RegionState, left_bp: int) -> int:
        if self.profile.stores_moving_sum:
            return region.moving_bp // 10_000
        if left_bp == 10_000:
            return region.last_nr_accesses
        return mvsum(region.nr_accesses, region.last_nr_accesses, left_bp)


def _same(left: RegionState, right: RegionState) -> bool:
    return (
        left.end == right.start
        and left.age == right.age
        and left.nr_accesses == right.nr_accesses
        and left.last_nr_accesses == right.last_nr_accesses
    )

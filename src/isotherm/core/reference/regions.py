"""
The region table, readable: what `_core.RegionTable` (the fast twin, table/regions.c) also does.

Rules and constants are those of mm/damon/core.c of Linux, by default of 7.3
(`core.damon.profile` has what differs before); the docstrings name its functions.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from isotherm.core.damon.arithmetic import mult_frac
from isotherm.core.damon.profile import NEWEST, Profile
from isotherm.core.reference.region import MAX_PROBES, RegionState, WindowCounts, weighted
from isotherm.core.reference.regions_schemes import SchemeTable
from isotherm.core.reference.regions_split import SplitTable
from isotherm.errors import BadValueError
from isotherm.model.attrs import UINT_MAX
from isotherm.model.ranges import Range, aligned, meets
from isotherm.model.snapshot import Columns

#: Addresses end here, so that sums and products of sizes fit 128 bits in C.
MAX_ADDRESS = 2**62

Row = tuple[int, int, int, int, int, tuple[int, ...], tuple[int, ...]]


def three_regions(mappings: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """
    Cover sorted mappings with three ranges that leave the two biggest gaps out.

    As __damon_va_three_regions(); raises `BadValueError` with less than two gaps. Of equal gaps
    the earlier found stays first.
    """
    first = second = (0, 0)
    lowest = previous = None
    for start, end in mappings:
        if previous is None:
            lowest = start
        else:
            gap = (previous, start)
            if gap[1] - gap[0] > second[1] - second[0]:
                second = gap
            if second[1] - second[0] > first[1] - first[0]:
                first, second = second, first
        previous = end
    if lowest is None or previous is None or first[0] == first[1] or second[0] == second[1]:
        raise BadValueError("the address space has fewer than two gaps between its mappings")
    low, high = sorted((first, second))
    return [(lowest, low[0]), (low[1], high[0]), (high[1], previous)]


class RegionTable(SchemeTable, SplitTable):
    """
    Ordered targets, each with its ordered regions.

    profile: whose rules hold; samples: of a window, for a moving sum that is stored; `rescale`
    changes it.

    Invariants, which hold between any two calls:

    1. A target's regions are in address order, not empty, and do not overlap.
    2. Borders are multiples of `min_region_bytes`, if those of loaded regions were.
    3. merge, enforce_min, split, cut and rejoin change no address's membership: the union of a
       target's regions stays, and set_regions makes it exactly the aligned ranges.
    4. After enforce_min no region is bigger than the limit that it returns, if the profile
       enforces it, and the limit is a multiple of `min_region_bytes`.
    5. After end_window a region that was not fully seen has nr_accesses <= samples (one that was
       has exactly its hits), and unobservable <= its size; merge and split keep the sum of
       unobservable.
    6. After merge_to, more than max_nr regions are left only if none can be merged within the size
       limit (provided that no count exceeds `samples`).
    7. split makes no more than max_nr regions, and none from max_nr on.
    """

    def __init__(
        self, min_region_bytes: int = 4096, profile: Profile = NEWEST, samples: int = 1
    ) -> None:
        if not 0 < min_region_bytes <= MAX_ADDRESS:
            raise BadValueError(f"{min_region_bytes} bytes cannot be the smallest region")
        self.min_region_bytes = min_region_bytes
        self.profile = profile
        self.samples = max(1, samples)
        self._targets: dict[int, list[RegionState]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._targets.values()))

    def regions(self) -> Iterator[RegionState]:
        """Iterate over all regions, in target and address order."""
        for regions in self._targets.values():
            yield from regions

    def by_target(self) -> Iterator[list[RegionState]]:
        """Iterate over the targets' region lists, in order."""
        return iter(self._targets.values())

    # Targets and their ranges.

    def target_ids(self) -> list[int]:
        """Return the ids of the targets, in order."""
        return list(self._targets)

    def set_targets(self, ids: Sequence[int]) -> None:
        """Have exactly these targets in this order; kept ones keep their regions."""
        if len(set(ids)) != len(ids):
            raise BadValueError("a target is listed twice")
        self._targets = {key: self._targets.get(key, []) for key in ids}

    def set_regions(self, target_id: int, ranges: Sequence[tuple[int, int]]) -> None:
        """
        Make the target's regions cover exactly `ranges`, aligned outwards (damon_set_regions).

        Regions that intersect a range keep what they know and are fitted to it; the rest of a
        range gets fresh regions. Raises `BadValueError`, and changes nothing, if a range is empty,
        not sorted, or overlaps another.
        """
        regions = self._targets[target_id]
        whole = self._align(ranges)
        old = [r for r in regions if any(meets(r, start, end) for start, end in whole)]
        new: list[RegionState] = []
        at = 0
        for start, end in whole:
            inside: list[RegionState] = []
            while at < len(old) and old[at].start < end:
                if old[at].end > start:
                    inside.append(old[at])
                at += 1
            if not inside:
                new.append(RegionState.fresh(start, end))
                continue
            inside[0].start = start
            inside[-1].end = end
            for region in inside:
                if region is not inside[0] and new[-1].end != region.start:
                    new.append(RegionState.fresh(new[-1].end, region.start))
                new.append(region)
        for region in new:
            region.unobservable = min(region.unobservable, region.size)
        self._targets[target_id] = new

    def _align(self, ranges: Sequence[tuple[int, int]]) -> list[Range]:
        whole = [aligned(start, end, self.min_region_bytes) for start, end in ranges]
        previous = 0
        for start, end in whole:
            if not previous <= start < end <= MAX_ADDRESS:
                raise BadValueError(
                    f"range {start:#x}..{end:#x} is empty, out of order or overlaps the one before"
                )
            previous = end
        return whole

    # The end of a window.

    def end_window(self, samples: int) -> int:
        """Finish the counters of a window of `samples`; return the highest nr_accesses."""
        for region in self.regions():
            region.end_window(samples)
            region.set_moving_sum(region.nr_accesses)
        return max((region.nr_accesses for region in self.regions()), default=0)

    def merge(
        self,
        threshold: int,
        size_limit: int,
        *,
        count_age: bool = True,
        weights: Sequence[int] = (),
    ) -> None:
        """
        One pass of ageing and merging (damon_merge_regions_of).

        threshold: rates that differ by no more are alike; size_limit: biggest merged region in
        bytes; weights: of the probes; any not zero compares weighted probe hits in place of
        access counts.
        """
        by_probes = any(weights)

        def rate(region: RegionState) -> int:
            return weighted(region.probe_hits, weights) if by_probes else region.nr_accesses

        def last_rate(region: RegionState) -> int:
            if by_probes:
                return weighted(region.last_probe_hits, weights)
            return region.last_nr_accesses

        for target_id, regions in self._targets.items():
            kept: list[RegionState] = []
            for region in regions:
                now, last = rate(region), last_rate(region)
                if count_age:
                    changed = abs(now - last) > threshold
                    if self.profile.age_resets_at_zero:
                        changed |= bool(now) != bool(last)
                    region.count_age(changed=changed)
                if (
                    kept
                    and kept[-1].end == region.start
                    and abs(rate(kept[-1]) - now) <= threshold
                    and region.end - kept[-1].start <= size_limit
                ):
                    kept[-1].absorb(region)
                    kept[-1].set_moving_sum(kept[-1].nr_accesses)
                else:
                    kept.append(region)
            self._targets[target_id] = kept

    def merge_to(
        self,
        max_nr: int,
        threshold: int,
        size_limit: int,
        samples: int,
        weights: Sequence[int] = (),
    ) -> None:
        """
        Age and merge, with a growing threshold while there are too many (kdamond_merge_regions).

        samples: of a window, the threshold above which everything is alike.
        """
        self.merge(threshold, size_limit, weights=weights)
        while len(self) > max_nr and threshold < samples:
            threshold = max(1, 2 * threshold) if threshold < samples // 2 else samples
            self.merge(threshold, size_limit, count_age=False, weights=weights)

    def enforce_min(self, min_nr: int) -> int:
        """
        Cut what is too big for `min_nr` regions (damon_apply_min_nr_regions), if the profile says.

        Returns the size limit in bytes, for the cutting and for the next merge.
        """
        unit = self.min_region_bytes
        total = sum(region.size for region in self.regions())
        limit = -(-max(total // max(1, min_nr), unit) // unit) * unit
        if not self.profile.enforces_min_regions:
            return limit
        for target_id, regions in self._targets.items():
            pieces: list[RegionState] = []
            for region in regions:
                pieces.append(region)
                while pieces[-1].size > limit:
                    pieces.append(pieces[-1].cut(limit))
            self._targets[target_id] = pieces
        return limit

    def reset(self) -> None:
        """Begin a window: remember the counters as the last window's, and clear them."""
        for region in self.regions():
            region.last_nr_accesses, region.nr_accesses = region.nr_accesses, 0
            region.last_probe_hits, region.probe_hits = region.probe_hits, [0] * MAX_PROBES
            region.window = [0] * len(WindowCounts._fields)

    # Attributes.

    def rescale(
        self,
        old_samples: int,
        new_samples: int,
        old_aggr_us: int,
        new_aggr_us: int,
        *,
        aggregating: bool,
    ) -> None:
        """
        Convert counters and ages to new intervals (damon_update_monitoring_results).

        samples: per window; aggregating: inside a window, whose counts so far are then dropped.
        """

        def convert(count: int) -> int:
            return min(UINT_MAX, mult_frac(count, 10_000, old_samples) * new_samples // 10_000)

        self.samples = max(1, new_samples)
        for region in self.regions():
            region.last_nr_accesses = convert(region.last_nr_accesses)
            if aggregating:
                region.nr_accesses = 0
                region.window = [0] * len(WindowCounts._fields)
                region.set_moving_sum(region.last_nr_accesses)
            else:
                region.nr_accesses = convert(region.nr_accesses)
                region.set_moving_sum(region.nr_accesses)
            region.age = min(UINT_MAX, region.age * old_aggr_us // max(1, new_aggr_us))
            region.waits = min(UINT_MAX, region.waits * old_aggr_us // max(1, new_aggr_us))

    def access_events(self) -> tuple[int, int]:
        """Return Σ size * nr_accesses, and Σ size: what interval tuning looks at."""
        regions = list(self.regions())
        return sum(r.size * r.nr_accesses for r in regions), sum(r.size for r in regions)

    # Out.

    def mvsum(self, left_bp: int) -> array[int]:
        """
        Return each region's access rate over a whole window that ends now, u64.

        As damon_nr_accesses_mvsum(): nothing of the running window counts while all is to come.
        A sum that is stored knows by itself how much is.
        """
        return array("Q", [self._rate(region, left_bp) for region in self.regions()])

    def moving_sums(self) -> array[int]:
        """Return the stored moving sums, in 1/10,000 of an access, u32."""
        return array("I", [region.moving_bp for region in self.regions()])

    def columns(self) -> Columns:
        """Return the regions as a snapshot's columns."""
        targets = [i for i, rs in enumerate(self._targets.values()) for _ in rs]
        regions = list(self.regions())
        return Columns(
            array("I", targets),
            array("Q", [r.start for r in regions]),
            array("Q", [r.end for r in regions]),
            array("I", [r.nr_accesses for r in regions]),
            array("I", [r.age for r in regions]),
            array("Q", [r.unobservable for r in regions]),
        )

    def rows(self) -> list[list[Row]]:
        """Return all that is known, per target: start, end, counters, age, probe counters."""
        return [
            [
                (
                    r.start,
                    r.end,
                    r.nr_accesses,
                    r.last_nr_accesses,
                    r.age,
                    tuple(r.probe_hits),
                    tuple(r.last_probe_hits),
                )
                for r in regions
            ]
            for regions in self._targets.values()
        ]

    def windows(self) -> list[WindowCounts]:
        """Return what the running window found, per region."""
        return [WindowCounts(*region.window) for region in self.regions()]

    def load(self, targets: Sequence[Sequence[Sequence[Any]]]) -> None:
        """
        Replace everything by rows as `rows` gives them (counters, age and probes may be left out).

        Targets get the ids 0, 1, ... Moving sums are those of a window's end. Raises
        `BadValueError` if regions are empty or overlap.
        """
        table: dict[int, list[RegionState]] = {}
        for target_id, rows in enumerate(targets):
            table[target_id] = [RegionState(*row[:5], *map(list, row[5:7])) for row in rows]
            for region in table[target_id]:
                region.set_moving_sum(region.nr_accesses)
            end = 0
            for region in table[target_id]:
                if not end <= region.start < region.end <= MAX_ADDRESS:
                    raise BadValueError("regions are empty, out of order or overlap")
                end = region.end
        self._targets = table


if TYPE_CHECKING:
    from isotherm.core.table import Table

    def _is_a_table(table: RegionTable) -> Table:
        return table

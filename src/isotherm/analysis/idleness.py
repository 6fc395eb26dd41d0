"""For how long memory has been idle."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from isotherm.analysis.page_use import Ages, Idle
from isotherm.model.snapshot import Region, Snapshot

#: Bounds of `idle_ages`, in ns.
IDLE_BOUNDS_NS = tuple(s * 1_000_000_000 for s in (1, 3, 10, 30, 60, 180, 600, 3600))
#: Idle times worth a headline, the longest first.
HEADLINES_NS = tuple(ms * 1_000_000 for ms in (10_000, 5_000, 2_000, 1_000, 500, 200, 100))


def idle_ns(region: Region, aggr_us: int) -> int:
    """Return for how long a region has not been accessed; 0 where it was, or is not known."""
    if region.nr_accesses != 0 or region.share:
        return 0
    return region.age * aggr_us * 1000


def is_reached(age_ns: int, watched_ns: int) -> bool:
    """Tell whether memory watched for so long can have been idle for `age_ns`."""
    return 6 * age_ns <= 5 * watched_ns


def headline_ns(watched_ns: int) -> int:
    """
    Return an idle time that memory watched for so long can have reached: five sixths of it.

    Ages count whole windows and begin with the first one or later, as regions are still being
    found, so that none is as old as the recording is long.
    """
    return next((ns for ns in HEADLINES_NS if is_reached(ns, watched_ns)), HEADLINES_NS[-1])


def idle_ages(
    snapshot: Snapshot, bounds_ns: Sequence[int] = IDLE_BOUNDS_NS
) -> list[tuple[int, int]]:
    """
    Return a histogram of idle time: (lower bound in ns, bytes), the first bound being 0.

    Only observed bytes not accessed in this window are counted; their idle time is age times
    the aggregation interval, so it never exceeds the time they were monitored.
    """
    sizes = [0] * (len(bounds_ns) + 1)
    for region in snapshot.columns:
        if region.nr_accesses == 0:
            bucket = bisect_right(bounds_ns, idle_ns(region, snapshot.aggr_us))
            sizes[bucket] += max(0, region.size - region.unobservable)
    return list(zip((0, *bounds_ns), sizes, strict=True))


def ages_of_regions(snapshot: Snapshot | None) -> Ages:
    """
    Return what was monitored by how long its regions were not accessed.

    snapshot: the last one, None without any. What could not be observed is unknown.
    """
    if snapshot is None:
        return Ages(0, 0, ())
    bars = idle_ages(snapshot)
    left, ages = 0, []
    for age, size in reversed(bars[1:]):
        left += size
        ages.append(Idle(age, left, size, left, left))
    unknown = snapshot.unobservable_bytes
    inside = sum(snapshot.columns.unobservable)
    return Ages(max(0, snapshot.monitored_bytes - inside - left), unknown, tuple(reversed(ages)))

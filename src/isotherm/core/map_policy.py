"""
The policy "map": no samples at all; regions are what the map of pages knows.

A region is a run of blocks of 2 MiB of which like shares of pages were used, as far as there are
pages: what is not in memory is in no region. `nr_accesses` is what DAMON would have counted on
average: of so many random pages of the region, each watched for one sampling interval, those that
were used. The map knows the share of pages that were used within such an interval; that share, in
parts of the samples of a window, is `nr_accesses`. It is 0 where nothing was used in the whole
window, or within a second if that is longer, and only there, so that schemes for idle memory match
no region that was used a little. Intervals below 100 ms are shorter than what the map can tell
apart.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from isotherm.core.look import TargetRanges
from isotherm.core.page_map import Run, RunMap
from isotherm.core.policy import Setting
from isotherm.core.region_list import ListedRegion, RegionList, columns_of, cut_after
from isotherm.core.ticks import Tally
from isotherm.errors import NotSupportedError
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import PAGE
from isotherm.model.snapshot import LEAST_USED_US, Columns

NAME = "map"
#: A rate that changes by no more than this share of the possible stays what it is.
_ALIKE = 0.1
#: The longest sleep: whoever stops the policy waits so long at most.
_REST_NS = 200_000_000


def recommended(attrs: Attrs) -> Attrs:
    """Return intervals that a map can tell apart, with the bounds of regions that suit it."""
    return replace(attrs, sample_us=100_000, aggr_us=1_000_000, min_nr_regions=10)


class MapPolicy:
    """
    The policy; see the module. Raises `NotSupportedError` where there is no map of single pages.

    While it waits for the end of a window it steps the map, whenever that has something due.
    """

    def __init__(self, setting: Setting) -> None:
        if not isinstance(setting.page_map, RunMap):
            raise NotSupportedError(
                f"the backend {setting.look.name} has no map of pages",
                hint="`isotherm doctor` says what keeps the backend bpf from being used",
            )
        self._map = setting.page_map
        self._look = setting.look
        self._clock = setting.clock
        self.table = RegionList[ListedRegion]()
        self.size_limit = 0
        self._deadline_ns = self._due_ns = 0
        self._stop = False
        self._ticks = self._late_ns = 0

    def begin(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        self.update(targets, attrs)

    def update(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        del attrs
        ids = [known.target.id for known in targets]
        if ids == self.table.ids:
            return
        places = {target_id: place for place, target_id in enumerate(ids)}
        old = [(self.table.ids[region.target], region) for region in self.table.regions]
        self.table.regions = [
            replace(region, target=places[target_id])
            for target_id, region in sorted(old, key=lambda pair: places.get(pair[0], -1))
            if target_id in places
        ]
        self.table.ids = ids

    def sample(self, ticks: int, sample_us: int) -> int:
        done, sample_ns = 0, sample_us * 1000
        while done < ticks and not self._stop:
            now_ns = self._clock.now_ns()
            self._deadline_ns += sample_ns
            if not now_ns <= self._deadline_ns <= now_ns + sample_ns:
                self._deadline_ns = now_ns + sample_ns
            self._wait()
            if not self._stop:
                done += 1
        self._ticks += done
        if done < ticks:
            self._stop = False
        return done

    def stop(self) -> None:
        self._stop = True

    def end_window(self, attrs: Attrs) -> None:
        soon_ns = attrs.sample_us * 1000
        used_ns = 1000 * max(LEAST_USED_US, attrs.aggr_us)
        before = _Before(self.table)
        samples = attrs.samples_per_aggr
        most = max(1, attrs.max_nr_regions // max(1, len(self.table.ids)))
        found = [
            _region(target, run, samples, before)
            for target in range(len(self.table.ids))
            for run in self._map.runs(target, soon_ns, used_ns, most)
        ]
        self.table.regions = _at_least(found, attrs.min_nr_regions)
        self.size_limit = max([PAGE, *(region.size for region in found)])

    def begin_window(self, attrs: Attrs) -> None:
        del attrs
        for region in self.table.regions:
            region.last = region.count

    def rescale(self, old: Attrs, new: Attrs, *, aggregating: bool) -> None:
        del aggregating
        self.table.rescale(old, new)

    def access_events(self) -> tuple[int, int]:
        regions = self.table.regions
        return sum(r.size * r.count for r in regions), sum(r.size for r in regions)

    def columns(self) -> Columns:
        return columns_of(self.table)

    def take_cost(self) -> Tally:
        cost = Tally(self._ticks, 0, 0, self._look.cleared(), self._late_ns)
        self._ticks = self._late_ns = 0
        return cost

    def _wait(self) -> None:
        """Wait for the end of an interval, and let the map work meanwhile."""
        while not self._stop:
            if self._clock.now_ns() >= self._due_ns:
                self._due_ns = self._map.step()
            if self._clock.now_ns() >= self._deadline_ns:
                break
            wake_ns = min(self._deadline_ns, self._due_ns, self._clock.now_ns() + _REST_NS)
            late_ns = self._clock.sleep_until(wake_ns)
            self._late_ns += late_ns if wake_ns == self._deadline_ns else 0


class _Before:
    """What was known of places in the window before."""

    def __init__(self, table: RegionList[ListedRegion]) -> None:
        self._regions = table.regions
        self._starts = [(region.target, region.start) for region in table.regions]

    def at(self, target: int, address: int) -> ListedRegion | None:
        place = bisect_right(self._starts, (target, address)) - 1
        region = self._regions[place] if place >= 0 else None
        inside = region and region.target == target and region.start <= address < region.end
        return region if inside else None


def _region(target: int, run: Run, samples: int, before: _Before) -> ListedRegion:
    seen = run.present - run.unknown
    count = min(samples, max(1, round(run.soon * samples / seen))) if run.used else 0
    unseen = run.end - run.start if not seen else run.unknown
    share = run.soon / seen if run.used else 0.0
    region = ListedRegion(
        target, run.start, run.end, count, unobservable=unseen, used=run.used, share=share
    )
    old = before.at(target, (run.start + run.end) // 2)
    if old is None or not seen:
        return region
    same = abs(count - old.count) <= int(_ALIKE * samples) and bool(count) == bool(old.count)
    region.last, region.age = old.count, old.age + 1 if same else 0
    return region


def _at_least(regions: list[ListedRegion], nr: int) -> list[ListedRegion]:
    """Cut the largest regions into even pieces, all of which know the same, until there are nr."""
    if not regions or len(regions) >= nr:
        return regions
    limit = -(-sum(region.size for region in regions) // nr)
    limit = max(PAGE, -(-limit // PAGE) * PAGE)
    pieces = []
    for region in regions:
        rest = region
        while rest.size > limit:
            piece, rest = cut_after(rest, limit)
            pieces.append(piece)
        pieces.append(rest)
    return pieces

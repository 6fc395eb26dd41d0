"""
The policy "sentinels": a standing panel of armed clumps of pages, often read and seldom cleared.

A page that was cleared and not accessed since is still armed: it watches its place for the price
of reads. Clears, which are dear, are spent where the last ones taught most. What is learned of the
panel (`core.reference.sentinels`) becomes regions as DAMON has them: `nr_accesses` is what its
single-page checks would have counted on average; what is less than one access is carried over to
the next window, so that means are right.

It keeps to its share of one CPU by itself, with everything that its thread does: rounds and
windows become longer, the panel smaller.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from isotherm import _core
from isotherm.clock import SystemClock
from isotherm.core.look import Bulk, TargetRanges
from isotherm.core.page_map import PageMap
from isotherm.core.policy import Setting
from isotherm.core.region_list import ListedRegion, RegionList, columns_of
from isotherm.core.ticks import Tally
from isotherm.errors import NotSupportedError
from isotherm.kernel.standstill import Standstill
from isotherm.model.attrs import Attrs
from isotherm.model.snapshot import LEAST_USED_US, Columns

NAME = "sentinels"
#: Pages of a clump, by how accessed bits are cleared: by ranges, or one by one.
_CLUMP, _CLUMP_ONE_BY_ONE = 16, 1
#: A window with all that comes of it costs so much CPU time, and such a part of the share.
_WINDOW_US, _WINDOW_PART = 500, 1 / 3
_SHORTEST_US, _LONGEST_US, _GRAIN_US = 100_000, 5_000_000, 50_000
_UPDATE_WINDOWS = 5
_SECOND_NS = 1_000_000_000


def recommended(attrs: Attrs, overhead: float) -> Attrs:
    """Return windows that a share of CPU can pay for, with bounds of regions that suit them."""
    aggr_us = min(max(int(_WINDOW_US / _WINDOW_PART / overhead), _SHORTEST_US), _LONGEST_US)
    aggr_us = -(-aggr_us // _GRAIN_US) * _GRAIN_US
    return replace(
        attrs,
        sample_us=5_000,
        aggr_us=aggr_us,
        update_us=max(attrs.update_us, _UPDATE_WINDOWS * aggr_us),
        min_nr_regions=10,
    )


class _TimedBulk:
    """A `Bulk` as `_core.Sentinels` wants it: with the time."""

    def __init__(self, bulk: Bulk, setting: Setting) -> None:
        self.read = bulk.read
        self.clear = bulk.clear
        self.now_ns = setting.clock.now_ns


class SentinelPolicy:
    """The policy; see the module. Raises `NotSupportedError` where a look has no bulk face."""

    def __init__(self, setting: Setting) -> None:
        look, clock = setting.look, setting.clock
        source = look.bulk_source()
        if source is None:
            raise NotSupportedError(
                f"the backend {look.name} has no clumps of pages to watch",
                hint="`isotherm doctor` says what keeps the backend bpf from being used",
            )
        native = isinstance(source, (_core.AccessBpf, _core.SimWorld))
        self._clock = clock
        #: The panel itself.
        self.core = _core.Sentinels(
            source if native else _TimedBulk(cast("Bulk", source), setting),
            now_ns=clock.now_ns(),
            share_ns=int(setting.overhead * _SECOND_NS),
            seed=setting.seed,
            clump=_CLUMP_ONE_BY_ONE if look.clears_one_by_one else _CLUMP,
            clock=None if isinstance(clock, SystemClock) else clock,
            beside=_core_of(setting.page_map),
        )
        look.before_clear = self.core.before_clear
        self._mapped = setting.page_map is not None
        self._who = Standstill()
        self._columns = Columns()
        self._listed: _Listed | None = None
        self._ids: list[int] = []
        self._deadline_ns = 0
        self._ticks = self._late_ns = 0
        self._reads = self._clears = 0
        self.size_limit = 0
        #: Places that were drawn evenly from all memory.
        self.explored = 0

    @property
    def table(self) -> _Listed:
        """The regions as a list, made when schemes ask for it."""
        if self._listed is None:
            self._listed = _Listed(self.core, self._ids, self._columns)
        return self._listed

    def begin(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        self.update(targets, attrs)

    def update(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        del attrs
        words = array("Q")
        for place, known in enumerate(targets):
            for part in known.ranges:
                words.extend((place, part.start, part.end))
        self._ids = [known.target.id for known in targets]
        self.core.set_space(array("I", self._ids), words)
        self._who.follow([known.target.pid for known in targets])

    def sample(self, ticks: int, sample_us: int) -> int:
        now_ns, span_ns = self._clock.now_ns(), ticks * sample_us * 1000
        begin_ns = self._deadline_ns
        if not now_ns - span_ns < begin_ns <= now_ns:
            begin_ns = now_ns
        self._deadline_ns = begin_ns + span_ns
        reached, late_ns = self.core.run(self._deadline_ns)
        self._late_ns += late_ns
        if not reached:
            ticks = min(ticks, (self._clock.now_ns() - begin_ns) // (sample_us * 1000))
            self._deadline_ns = begin_ns + ticks * sample_us * 1000
        self._ticks += ticks
        return ticks

    def stop(self) -> None:
        self.core.stop()

    def end_window(self, attrs: Attrs) -> None:
        used_us = max(LEAST_USED_US, attrs.aggr_us)
        self.core.set_stopped(bytes(self._who.now()))
        found = self.core.cut(
            attrs.sample_us,
            attrs.samples_per_aggr,
            used_us,
            attrs.min_nr_regions,
            attrs.max_nr_regions,
        )
        target, start, end, count, age, unobservable, used, rate, low, high, _ = found
        # Where there is a map it knows better which pages were used.
        known = None if self._mapped else used
        self._columns = Columns(
            target, start, end, count, age, unobservable, known, rate, low, high
        )
        self._listed = None
        self.size_limit = max([0, *(e - s for s, e in zip(start, end, strict=True))])

    def begin_window(self, attrs: Attrs) -> None:
        del attrs
        if self._listed is not None:
            for region in self._listed.regions:
                region.last = region.count

    def rescale(self, old: Attrs, new: Attrs, *, aggregating: bool) -> None:
        del aggregating
        self.core.rescale(old.aggr_us, new.aggr_us)
        self.table.rescale(old, new)

    def access_events(self) -> tuple[int, int]:
        columns = self._columns
        sizes = [end - start for start, end in zip(columns.start, columns.end, strict=True)]
        events = sum(n * size for n, size in zip(columns.nr_accesses, sizes, strict=True))
        return events, sum(sizes)

    def columns(self) -> Columns:
        if self._listed is None:
            return self._columns
        listed, regions = columns_of(self._listed), self._listed.regions
        return replace(
            listed,
            used=None if self._mapped else listed.used,
            rate=array("d", [region.rate for region in regions]),
            low=array("d", [region.low for region in regions]),
            high=array("d", [region.high for region in regions]),
        )

    def take_cost(self) -> Tally:
        stats = self.core.stats()
        cost = Tally(
            self._ticks,
            stats["reads"] - self._reads,
            0,
            stats["clears"] - self._clears,
            self._late_ns,
        )
        self._reads, self._clears = stats["reads"], stats["clears"]
        self.explored = stats["explored"]
        self._ticks = self._late_ns = 0
        return cost


@dataclass(slots=True)
class _Region(ListedRegion):
    """A region that knows its rate per second, and the ends of the credible interval."""

    rate: float = 0.0
    low: float = 0.0
    high: float = 0.0


class _Listed(RegionList[_Region]):
    """The regions of a window for schemes; what they renew is renewed in the panel too."""

    def __init__(self, core: _core.Sentinels, ids: list[int], columns: Columns) -> None:
        super().__init__()
        self._core = core
        self.ids = ids
        self.regions = [
            _Region(
                region.target,
                region.start,
                region.end,
                count,
                count,
                region.age,
                region.unobservable,
                region.used or 0,
                region.rate or 0.0,
                region.low or 0.0,
                region.high or 0.0,
            )
            for region, count in zip(columns, columns.nr_accesses, strict=True)
        ]

    def renew(self, place: int, /) -> None:
        super().renew(place)
        region = self.regions[place]
        self._core.renew(region.target, region.start, region.end)


def _core_of(page_map: PageMap | None) -> _core.PageMap | None:
    core = getattr(page_map, "core", None)
    return core if isinstance(core, _core.PageMap) else None

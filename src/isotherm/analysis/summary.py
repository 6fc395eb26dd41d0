"""One pass over snapshots: what every report begins with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from isotherm.analysis.extent import Extent
from isotherm.analysis.hotness import Heat, by_mapping
from isotherm.analysis.idleness import headline_ns, idle_ages
from isotherm.analysis.wss import WorkingSets, WssCollector
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping, Target


@dataclass(frozen=True, slots=True)
class Summary:
    """
    A recording in numbers.

    last: the last snapshot with regions, None if there is none; targets, mappings: as of then;
    lost_snapshots: missing indices; what: heat by mapping in `last`; idle_after_ns: what
    `Heat.idle_long` counts from; watched_ns: how long the windows with regions are together;
    sample_us, aggr_us: the shortest and the longest interval, in microseconds; cpu_ns: CPU time of
    the monitor; checks: samples, None where the monitor does not tell; ns: times of day.
    """

    start_ns: int
    end_ns: int
    snapshots: int
    lost_snapshots: int
    max_regions: int
    regions: int
    cpu_ns: int
    checks: int | None
    missed: int
    wss: WorkingSets
    where: Extent
    last: Snapshot | None
    targets: tuple[Target, ...]
    mappings: dict[int, tuple[Mapping, ...]]
    what: list[Heat]
    idle_after_ns: int
    watched_ns: int
    sample_us: tuple[int, int]
    aggr_us: tuple[int, int]

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns

    @property
    def cost(self) -> float:
        """CPU time of the monitor as a share of one CPU."""
        return self.cpu_ns / self.duration_ns if self.duration_ns else 0.0

    @property
    def missed_share(self) -> float:
        """The share of samples that were asked for and not looked at."""
        return self.missed / self.checks if self.checks else 0.0

    def idle_ages(self) -> list[tuple[int, int]]:
        """As `hotness.idle_ages` of the last snapshot with regions."""
        return [] if self.last is None else idle_ages(self.last)


@dataclass(slots=True)
class _Collector:
    snapshots: int = 0
    lost: int = 0
    next_index: int = 0
    max_regions: int = 0
    regions: int = 0
    cpu_ns: int = 0
    checks: int | None = 0
    missed: int = 0
    last: Snapshot | None = None
    mappings: dict[int, tuple[Mapping, ...]] = field(default_factory=dict)
    where: Extent = field(default_factory=Extent)
    wss: WssCollector = field(default_factory=WssCollector)
    sample_us: tuple[int, int] = (0, 0)
    aggr_us: tuple[int, int] = (0, 0)

    def add(self, snapshot: Snapshot) -> None:
        self.snapshots += 1
        self.lost += max(0, snapshot.index - self.next_index)
        self.next_index = snapshot.index + 1
        self.max_regions = max(self.max_regions, len(snapshot.columns))
        self.regions += len(snapshot.columns)
        self.cpu_ns += snapshot.cost.cpu_ns
        checks = snapshot.cost.checks
        self.checks = None if checks is None or self.checks is None else self.checks + checks
        self.missed += snapshot.cost.missed
        self.sample_us = _widened(self.sample_us, snapshot.sample_us)
        self.aggr_us = _widened(self.aggr_us, snapshot.aggr_us)
        self.where.add(snapshot)
        self.wss.add(snapshot)
        if snapshot.mappings:
            # A target that ended drops out of later maps, but not out of `last`.
            self.mappings.update(snapshot.mappings)
        if len(snapshot.columns):
            self.last = snapshot


def _widened(bounds: tuple[int, int], value: int) -> tuple[int, int]:
    low, high = bounds
    return min(low or value, value), max(high, value)


def summarize(snapshots: Iterable[Snapshot]) -> Summary:
    """Return the summary; reads `snapshots` once, keeping only the last with regions."""
    seen = _Collector()
    for snapshot in snapshots:
        seen.add(snapshot)
    wss = seen.wss.result()
    watched = sum(wss.weights)
    idle_after = headline_ns(watched)
    last = seen.last
    what = [] if last is None else by_mapping(last, seen.mappings, long_idle_ns=idle_after)
    return Summary(
        start_ns=seen.where.start_ns,
        end_ns=seen.where.end_ns,
        snapshots=seen.snapshots,
        lost_snapshots=seen.lost,
        max_regions=seen.max_regions,
        regions=seen.regions,
        cpu_ns=seen.cpu_ns,
        checks=seen.checks,
        missed=seen.missed,
        wss=wss,
        where=seen.where,
        last=last,
        targets=() if last is None else last.targets,
        mappings=seen.mappings,
        what=what,
        idle_after_ns=idle_after,
        watched_ns=watched,
        sample_us=seen.sample_us,
        aggr_us=seen.aggr_us,
    )

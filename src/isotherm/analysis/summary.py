"""One pass over snapshots: what every report begins with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from isotherm.analysis.could_free import CouldFree, could_free, idle_age_ns, movable
from isotherm.analysis.extent import Extent
from isotherm.analysis.hotness import Heat, by_group, by_mapping, total
from isotherm.analysis.idleness import headline_ns, idle_ages, is_reached
from isotherm.analysis.page_use import TOLD_NS, curve
from isotherm.analysis.page_use import idle_ages as idle_of
from isotherm.analysis.returns import Returns
from isotherm.analysis.use_windows import EqualWindows, UseCollector, told_window_ns
from isotherm.analysis.wss import WorkingSets, WssCollector
from isotherm.model.page_use import PageUse
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping, Target
from isotherm.recording.blocks import Rows


@dataclass(frozen=True, slots=True)
class Summary:
    """
    A recording in numbers.

    last: the last snapshot with regions, None if there is none; targets, mappings: as of then, or
    as of `use`;
    lost_snapshots: missing indices; what: heat by mapping in `last`; idle_after_ns: what
    `Heat.idle_long` counts from; watched_ns: how long the windows with regions are together;
    sample_us, aggr_us: the shortest and the longest interval, in microseconds; cpu_ns: CPU time of
    the monitor; checks: samples, None where the monitor does not tell; ns: times of day. use: what
    a map of pages knew when it was last summed up, None where there was none, of `use_targets`;
    equal_use: working sets of windows of the length that a headline speaks of; swap_free_bytes:
    swap space at the beginning, None where it is not known. group_heat: heat in `last` by group of
    targets, those of no group left out; returns: what had come back by which time.
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
    mappings: dict[int, Sequence[Mapping]]
    what: list[Heat]
    idle_after_ns: int
    watched_ns: int
    sample_us: tuple[int, int]
    aggr_us: tuple[int, int]
    use: PageUse | None = None
    use_targets: tuple[Target, ...] = ()
    equal_use: EqualWindows | None = None
    swap_free_bytes: int | None = None
    group_heat: Sequence[Heat] = ()
    returns: Returns = field(default_factory=Returns)

    @property
    def resident_bytes(self) -> int | None:
        """What is in memory, shared memory counted once as far as that is known; None: unknown."""
        if self.use is not None:
            return self.use.resident
        return resident(self.targets)

    @property
    def could_free(self) -> CouldFree | None:
        """What paging out idle pages could free, None where no map of pages tells."""
        use = self.movable
        return None if use is None else could_free(use, self.swap_free_bytes)

    @property
    def movable(self) -> PageUse | None:
        """What a map of pages knows of memory that schemes do not leave alone."""
        return None if self.use is None else movable(self.use, self.use_targets, self.mappings)

    @property
    def idle_bytes(self) -> int:
        """What was not accessed for `idle_after_ns`: by pages, else by regions, if resident."""
        if self.use is not None and (age_ns := idle_age_ns(self.use)) is not None:
            return next(idle.bytes for idle in idle_of(self.use).ages if idle.age_ns == age_ns)
        return self._resident_at_most(total(self.what).idle_long)

    def _resident_at_most(self, size: int) -> int:
        known = self.resident_bytes
        return size if known is None else min(size, known)

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
        """
        Return how many bytes were idle for how many ns or longer, at most what is resident.

        By pages where they are known, else by regions.
        """
        if self.use is not None:
            return [(idle.age_ns, idle.bytes) for idle in idle_of(self.use).ages]
        if self.last is None:
            return []
        bars = idle_ages(self.last)[1:]
        sizes = [sum(size for _, size in bars[i:]) for i in range(len(bars))]
        ages = [age for age, _ in bars]
        return [
            (age, self._resident_at_most(size))
            for age, size in zip(ages, sizes, strict=True)
            if is_reached(age, self.watched_ns)
        ]


def resident(targets: Sequence[Target]) -> int | None:
    """
    Return what targets have in memory, None where it is not known of any.

    What is shared is counted once where the targets say so; else once for each of them.
    """
    shares = known_sum(target.proportional_bytes for target in targets)
    if shares is not None and all(target.proportional_bytes is not None for target in targets):
        return shares
    return known_sum(target.resident_bytes for target in targets)


def known_sum(values: Iterable[int | None]) -> int | None:
    """Return the sum of what is known, None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


@dataclass(slots=True)
class SummaryCollector:
    """Gathers a summary window by window; memory depends on what is said of it alone."""

    snapshots: int = 0
    lost: int = 0
    next_index: int = 0
    max_regions: int = 0
    regions: int = 0
    cpu_ns: int = 0
    checks: int | None = 0
    missed: int = 0
    last: Snapshot | tuple[Rows, int] | None = None
    mappings: dict[int, Sequence[Mapping]] = field(default_factory=dict)
    where: Extent = field(default_factory=Extent)
    wss: WssCollector = field(default_factory=WssCollector)
    sample_us: tuple[int, int] = (0, 0)
    aggr_us: tuple[int, int] = (0, 0)
    use: PageUse | None = None
    use_targets: tuple[Target, ...] = ()
    uses: UseCollector = field(default_factory=UseCollector)
    returns: Returns = field(default_factory=Returns)

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
        if snapshot.page_use is not None and (snapshot.page_use.rows or self.use is None):
            self.use, self.use_targets = snapshot.page_use, snapshot.targets
            self.uses.add(snapshot)
            self.returns.add(snapshot.page_use, snapshot.targets)

    def add_rows(self, rows: Rows) -> None:
        """Add windows of a block."""
        indices, counts = rows.numbers("index"), rows.counts()
        self.snapshots += rows.length
        self.lost += max(0, indices[0] - self.next_index)
        self.lost += indices[-1] - indices[0] + 1 - rows.length
        self.next_index = indices[-1] + 1
        self.max_regions = max(self.max_regions, *counts)
        self.regions += sum(counts)
        self.cpu_ns += sum(rows.numbers("cpu_ns"))
        if rows.has_null("checks"):
            self.checks = None
        elif self.checks is not None:
            self.checks += sum(rows.numbers("checks"))
        self.missed += sum(rows.numbers("missed"))
        for value in dict.fromkeys(rows.numbers("sample_us")):
            self.sample_us = _widened(self.sample_us, value)
        for value in dict.fromkeys(rows.numbers("aggr_us")):
            self.aggr_us = _widened(self.aggr_us, value)
        self.where.add_rows(rows)
        self.wss.add_rows(rows)
        if rows.has_more:
            first = rows.first
            self.mappings.update(first.mappings or {})
            if first.page_use is not None:
                self.use, self.use_targets = first.page_use, first.targets
                self.uses.add(first)
                self.returns.add(first.page_use, first.targets)
        if any(counts):
            self.last = rows, max(i for i, count in enumerate(counts) if count)

    def take(self, part: Snapshot | Rows) -> None:
        """Add a window, or some."""
        if isinstance(part, Snapshot):
            self.add(part)
        else:
            self.add_rows(part)

    @property
    def last_snapshot(self) -> Snapshot | None:
        """The last one with regions."""
        if isinstance(self.last, tuple):
            rows, i = self.last
            return rows.snapshot(i)
        return self.last


def _widened(bounds: tuple[int, int], value: int) -> tuple[int, int]:
    low, high = bounds
    return min(low or value, value), max(high, value)


def summarize(
    snapshots: Iterable[Snapshot | Rows],
    *,
    swap_free_bytes: int | None = None,
    thinned: bool = False,
) -> Summary:
    """
    Return the summary; reads `snapshots` once, keeping only the last with regions.

    swap_free_bytes: how much swap space was free, None where it is not known; thinned: memory was
    watched between the windows as well, of which only some were kept.
    """
    seen = SummaryCollector()
    for part in snapshots:
        seen.take(part)
    return summary_of(seen, swap_free_bytes, thinned=thinned)


def summary_of(
    seen: SummaryCollector, swap_free_bytes: int | None, *, thinned: bool = False
) -> Summary:
    """Return the summary of what was gathered; swap_free_bytes, thinned: as for `summarize`."""
    wss = seen.wss.result()
    watched = sum(wss.weights)
    if thinned and watched:
        watched = max(watched, seen.where.end_ns - seen.where.start_ns)
    idle_after = headline_ns(watched)
    told = None
    if seen.use is not None:
        idle_after = idle_age_ns(seen.use) or idle_after
        told = told_window_ns(curve(seen.use), TOLD_NS)
    last = seen.last_snapshot
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
        targets=seen.use_targets if last is None else last.targets,
        mappings=seen.mappings,
        what=what,
        idle_after_ns=idle_after,
        watched_ns=watched,
        sample_us=seen.sample_us,
        aggr_us=seen.aggr_us,
        use=seen.use,
        use_targets=seen.use_targets,
        equal_use=None if told is None else seen.uses.equal(told),
        swap_free_bytes=swap_free_bytes,
        group_heat=() if last is None else by_group(last, seen.mappings, long_idle_ns=idle_after),
        returns=seen.returns,
    )

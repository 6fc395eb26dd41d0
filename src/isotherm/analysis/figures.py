"""The figures of a recording that can be compared: each by best estimate, at least and at most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from isotherm.analysis.hotness import Heat, total
from isotherm.analysis.hotness import by_mapping as heat_by_mapping
from isotherm.analysis.hotness import by_target as heat_by_target
from isotherm.analysis.idleness import HEADLINES_NS, is_reached
from isotherm.analysis.page_use import Used, by_mapping, curve, idle_ages
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.summary import Summary, SummaryCollector, resident, summary_of
from isotherm.analysis.use_windows import UseCollector
from isotherm.model.page_use import PageUse
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Target
from isotherm.recording.blocks import Rows

#: Everything, of whatever group.
ALL = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """Bytes: by best estimate, at least, at most."""

    bytes: int
    low: int
    high: int

    @classmethod
    def exact(cls, nbytes: int) -> Figure:
        """Return a figure of which nothing is in doubt."""
        return cls(nbytes, nbytes, nbytes)


NOTHING = Figure.exact(0)


def group_of(target: Target) -> str:
    """Return what a target is compared as: its group, or its name where it is in none."""
    return target.group or target.name


@dataclass(slots=True)
class _Uses:
    """What maps of pages knew of all, and of each group, by and by; groups: all there were."""

    curves: dict[str, UseCollector] = field(default_factory=dict)
    last: dict[str, PageUse] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)

    def of(self, group: str) -> PageUse | None:
        """Return what was known of a group at last; of one that had ended nothing is left."""
        found = self.last.get(group)
        if found is None and group in self.curves:
            return replace(self.last[ALL], rows=())
        return found

    def add(self, snapshot: Snapshot) -> None:
        use = snapshot.page_use
        if use is None or not (use.rows or not self.last):
            return
        groups: dict[str, list[int]] = {}
        names = [group_of(target) for target in snapshot.targets]
        for i, row in enumerate(use.rows):
            groups.setdefault(names[row.target] if row.target < len(names) else "", []).append(i)
        self.last = {ALL: use}
        for name, rows in groups.items():
            if name:
                self.last[name] = replace(use, rows=tuple(use.rows[i] for i in rows))
        for name, part in self.last.items():
            collector = self.curves.setdefault(name, UseCollector())
            collector.curves.append((snapshot.end_ns, curve(part)))


class Figures:
    """
    What one recording says, of all its targets and of each group (`group_of`).

    by_pages: whether a map of pages was kept; summary: of the recording. Figures are None where
    they are not known; `ALL` is the group of everything.
    """

    def __init__(self, summary: Summary, uses: _Uses) -> None:
        self.summary = summary
        self._uses = uses
        self.by_pages = summary.use is not None

    def of_regions(self) -> Figures:
        """Return what regions alone say of it."""
        return Figures(replace(self.summary, use=None), _Uses(groups=self._uses.groups))

    @property
    def groups(self) -> list[str]:
        """The groups, in the order of their names."""
        if self.by_pages:
            return sorted(name for name in self._uses.curves if name != ALL)
        return sorted(self._uses.groups)

    @property
    def lengths_ns(self) -> tuple[int, ...]:
        """The lengths of windows of which the working set is known; the last is all the time."""
        return () if self.summary.use is None else self.summary.use.windows_ns

    @property
    def ages_ns(self) -> list[int]:
        """Idle times that memory can have reached, of those worth telling."""
        use = self.summary.use
        if use is not None:
            return [
                ns
                for ns in HEADLINES_NS
                if ns in use.windows_ns and is_reached(ns, use.watched_ns)
            ]
        return [ns for ns in HEADLINES_NS if is_reached(ns, self.summary.watched_ns)]

    def working_set(self, rank: float | None, window_ns: int, group: str = ALL) -> Figure | None:
        """
        Return a percentile of the working sets of windows of this length, or their mean.

        rank: in percent, by nearest rank; None: the mean. The bounds are those of the windows.
        """
        used = self._windows(window_ns, group)
        return _ranked(used, rank) if used else None

    def nr_windows(self, window_ns: int) -> int:
        """Return of how many windows `working_set` speaks."""
        return len(self._windows(window_ns, ALL))

    def _windows(self, window_ns: int, group: str) -> Sequence[Used]:
        """
        Return the windows of a length.

        One that is all the time watched so far begins with the first look, before which nobody
        knows what was used: it counts where there is no other.
        """
        if (collector := self._uses.curves.get(group)) is None:
            return ()
        later = [(end, c) for end, c in collector.curves if c and c[-1].window_ns > window_ns]
        return (UseCollector(later) if later else collector).equal(window_ns).used

    def resident(self, group: str = ALL) -> Figure | None:
        """Return what was in memory at last, shared memory counted once."""
        if self.by_pages:
            use = self._uses.of(group)
            return None if use is None else Figure.exact(use.resident)
        known = self._resident(group)
        return None if known is None else Figure.exact(known)

    def idle(self, age_ns: int, group: str = ALL) -> Figure | None:
        """Return what was not used for so long, or longer, at last."""
        if self.by_pages:
            use = self._uses.of(group)
            ages = () if use is None else idle_ages(use).ages
            found = next((idle for idle in ages if idle.age_ns == age_ns), None)
            if found is None:
                return None
            # Of memory that nobody saw, any part may be as idle.
            unknown = 0 if use is None else use.unseen + use.uncovered
            return Figure(found.bytes, found.low_bytes, found.high_bytes + unknown)
        heat, known = self._heat(group, age_ns), self._resident(group)
        most = heat.size if known is None else known
        size = min(most, heat.idle_long)
        return Figure(size, size, min(most, heat.idle_long + heat.unobservable))

    def unknown(self, group: str = ALL) -> Figure | None:
        """Return that of which nothing is known."""
        if self.by_pages:
            use = self._uses.of(group)
            return None if use is None else Figure.exact(use.unseen + use.uncovered)
        return Figure.exact(self._heat(group, 0).unobservable)

    def mappings(self, window_ns: int) -> dict[tuple[str, str], tuple[int, int]]:
        """
        Return bytes by title and kind of mappings: resident, and used within a window at last.

        By regions: what was monitored, and what was accessed in the last window; the kind is "".
        """
        use, last = self.summary.use, self.summary.last
        if use is not None:
            at = use.windows_ns.index(window_ns) if window_ns in use.windows_ns else None
            return {
                (part.name, part.kind or ""): (
                    part.row.resident,
                    0 if at is None else part.row.used[at],
                )
                for part in by_mapping(use)
            }
        if last is None:
            return {}
        return {
            (heat.name, ""): (heat.size, heat.hot + heat.warm)
            for heat in heat_by_mapping(last, self.summary.mappings)
        }

    def regions_working_set(self, rank: float | None) -> Figure | None:
        """
        Return the same by whole regions, of windows that are `regions_window_ns` long.

        What could not be observed may have been used.
        """
        alike = self.summary.wss.alike()
        pairs = zip(alike.sizes, alike.unobservable, strict=True)
        used = [Used(0, size, size, size + unseen, 1) for size, unseen in pairs]
        return _ranked(used, rank) if used else None

    @property
    def regions_window_ns(self) -> int:
        """How long most windows are, within a tenth; 0 without any."""
        return max(self.summary.wss.alike().weights, default=0)

    def _resident(self, group: str) -> int | None:
        targets = self._targets(group)
        ended = group in self.groups and not targets
        return 0 if ended else resident(targets)

    def _targets(self, group: str) -> list[Target]:
        return [t for t in self.summary.targets if group in (ALL, group_of(t))]

    def _heat(self, group: str, age_ns: int) -> Heat:
        last = self.summary.last
        if last is None:
            return Heat("total")
        ids = {target.id for target in last.targets if group in (ALL, group_of(target))}
        heats = heat_by_target(last, self.summary.mappings, long_idle_ns=age_ns)
        return total(heat for (id_, _), heat in heats.items() if id_ in ids)


def _ranked(used: Sequence[Used], rank: float | None) -> Figure:
    def of(read: Callable[[Used], int]) -> int:
        values = sorted(map(read, used))
        if rank is None:
            return round(sum(values) / len(values))
        return values[max(0, ceil(len(values) * rank / 100) - 1)]

    return Figure(
        of(lambda one: one.bytes), of(lambda one: one.low_bytes), of(lambda one: one.high_bytes)
    )


def figures(recording: AnalysedRecording) -> Figures:
    """Return the figures of what is readable of a recording, in one pass."""
    seen, uses = SummaryCollector(), _Uses()
    for part in recording.by_blocks():
        seen.take(part)
        uses.groups.update(map(group_of, part.targets))
        for snapshot in _telling(part):
            uses.add(snapshot)
    swap = recording.info.get("swap_free_bytes")
    return Figures(summary_of(seen, swap, thinned=recording.is_thinned), uses)


def _telling(part: Rows | Snapshot) -> Iterable[Snapshot]:
    """Return the windows that may tell of pages."""
    if isinstance(part, Snapshot):
        return (part,)
    return (part.first,) if part.has_more else ()

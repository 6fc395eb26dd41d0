"""A map of pages beside the windows of a monitor: when it works, and when it tells."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

from isotherm.clock import Clock, cpu_ns_of
from isotherm.core.known_regions import SHORTEST_NS, KnownRegions, least_gap
from isotherm.core.look import Look, TargetRanges
from isotherm.core.page_map import PageMap, RunMap
from isotherm.model.attrs import Attrs
from isotherm.model.page_use import (
    FREED,
    Kind,
    PageUse,
    UseRow,
    groups_since,
    never_seen,
    summed,
)
from isotherm.model.snapshot import LEAST_USED_US, Columns

#: Parts of all that may be spent: looking for targets, and looking who is there that a map does
#: not know; and for how long they wait for that at most. Who executed a program is looked for
#: sooner, by this factor, than the first of these allows in the long run.
_UPDATE_SHARE, _CENSUS_SHARE, _LEAST = 0.25, 0.1, 1e-5
_LATEST_NS, _SELDOM_NS = 10_000_000_000, 60_000_000_000
#: The same until all was looked at once: what is known changes fast.
_WARM_NS = 2_000_000_000
_SOON = 2
#: Of what looking for targets costs the newest counts this much.
_NEWEST = 0.3
#: The map and all else aim at this part of what may be spent, by the last so many ns.
_AIM, _LATELY_NS = 0.95, 5_000_000_000
#: A part of all that may be spent, for what regions are told of the map.
_PARTS_SHARE = 0.1
#: What a map of pages knew so long ago is told once more at the end.
_NEWS_NS = 1_000_000_000


class MapBeside:
    """
    Lets a map of pages work between the samples of a policy. page_map: None does nothing.

    It is closed with this. look: what it is a map of; overhead: share of one CPU for all of it.
    """

    def __init__(
        self, page_map: PageMap | None, look: Look, clock: Clock, overhead: float
    ) -> None:
        self._map = page_map
        self._runs = page_map if isinstance(page_map, RunMap) else None
        self._look = look
        self._clock = clock
        self._overhead = max(overhead, _LEAST)
        self._due_ns = 0
        self._told_ns = 0
        self._told_covered = False
        self._groups: list[str] = []
        self._missed = _Missed()
        self._take_due_ns = self._soon_due_ns = self._update_due_ns = 0
        self._is_first, self._update_ns = True, 0.0
        self._own_ns, self._others = 0, 0.0
        self._ids: list[int] = []
        self._regions, self._parts = KnownRegions(), array("Q")
        self._parts_of: list[int] | None = None
        self._parts_due_ns = 0

    def forget(self) -> None:
        """Let the look know who executed another program, before targets are looked for."""
        if self._map is not None and (executed := self._map.executed()):
            self._look.forget(executed)

    def update(self, targets: Sequence[TargetRanges], spent_ns: int) -> None:
        """Take the living targets and their address maps. spent_ns: CPU time to look for them."""
        if self._map is None:
            return
        begun_ns = cpu_ns_of(self._clock)
        self._map.update(targets)
        self._ids = [known.target.id for known in targets]
        self._groups = [known.target.group for known in targets]
        if self._look.has_processes:
            self._pay(spent_ns + cpu_ns_of(self._clock) - begun_ns)

    def _pay(self, spent_ns: int) -> None:
        """Take what looking for targets has cost just now: the dearer, the more seldom."""
        now_ns = self._clock.now_ns()
        # The first one says nothing of those that follow.
        if not self._is_first:
            # Most are cheap, as nobody came.
            before_ns = self._update_ns or spent_ns
            self._update_ns = before_ns + _NEWEST * (spent_ns - before_ns)
            cost_ns = min(spent_ns, self._update_ns)
            rest_ns = min(_LATEST_NS, int(cost_ns / (_UPDATE_SHARE * self._overhead)))
            self._update_due_ns = now_ns + rest_ns
            self._soon_due_ns = now_ns + rest_ns // _SOON
        self._is_first = False

    def charge(self, thread_cpu_ns: int, span_ns: int) -> None:
        """Take what the thread has spent in so much time: what all else leaves is the map's."""
        if self._map is None:
            return
        own_ns, self._own_ns = self._map.spent_ns() - self._own_ns, self._map.spent_ns()
        others = max(0, thread_cpu_ns - own_ns) / max(1, span_ns) / self._overhead
        self._others += min(1.0, span_ns / _LATELY_NS) * (others - self._others)
        self._map.set_limit(max(0.0, _AIM - self._others) * self._overhead)

    def ticks_to_update(self, sample_us: int) -> int:
        """Return after how many ticks, at the least, looking for targets again can be paid."""
        if self._map is None:
            return 0
        left_ns = self._update_due_ns - self._clock.now_ns()
        return max(0, -(-left_ns // (1000 * sample_us)))

    def wants_update(self) -> bool:
        """Tell whether targets are to be looked for before it is time, and that can be paid."""
        if self._map is None or not self._map.executed():
            return False
        return self._clock.now_ns() >= self._soon_due_ns

    def ticks(self, sample_us: int) -> int | None:
        """Return after how many ticks there is something to do, 1 at least; None without a map."""
        if self._map is None:
            return None
        left_ns = self._due_ns - self._clock.now_ns()
        return max(1, -(-left_ns // (1000 * sample_us)))

    def step(self) -> None:
        """Let it work, if it is time: no sample may wait for what becomes of its page."""
        if self._map is not None and self._clock.now_ns() >= self._due_ns:
            self._due_ns = self._map.step()

    @property
    def is_kept(self) -> bool:
        """Whether there is a map."""
        return self._map is not None

    def warms_up(self) -> bool:
        """Tell whether work of the start goes on."""
        return self._map is not None and self._map.begins()

    def take(self, *, last: bool) -> PageUse | None:
        """Return what is known, if it is worth its cost, or the `last` time that is asked."""
        if self._map is None:
            return None
        covered = self._map.covered()
        news = covered and not self._told_covered
        if not (last or news or self._clock.now_ns() >= self._take_due_ns):
            return None
        self._told_covered = covered
        use = self._map.sum() if last else self._map.take()
        return None if use is None else self._told(use)

    def news(self) -> PageUse | None:
        """Return what is known if the last that was told is old."""
        if self._map is None or self._clock.now_ns() - self._told_ns <= _NEWS_NS:
            return None
        return self._told(self._map.sum())

    def known(self, columns: Columns, attrs: Attrs) -> Columns:
        """
        Return regions with what is known of their pages, cut to what is in memory.

        How much of them was used is of the last window, or second if that is longer.
        """
        if columns.share is not None or self._runs is None:
            return columns
        ids = self._ids
        if self._parts_of != ids or self._clock.now_ns() >= self._parts_due_ns:
            begun_ns = cpu_ns_of(self._clock)
            self._parts = self._runs.parts(
                columns,
                max(SHORTEST_NS, 1000 * attrs.sample_us),
                1000 * max(LEAST_USED_US, attrs.aggr_us),
                least_gap(columns, attrs.max_nr_regions),
            )
            self._parts_of = ids
            rest_ns = int((cpu_ns_of(self._clock) - begun_ns) / (_PARTS_SHARE * self._overhead))
            self._parts_due_ns = self._clock.now_ns() + min(rest_ns, _LATEST_NS)
        most = attrs.samples_per_aggr
        return self._regions.columns(columns, self._parts, most, 1000 * attrs.sample_us)

    def close(self) -> None:
        """Give back what is held."""
        if self._map is not None:
            self._map.close()

    def _told(self, use: PageUse) -> PageUse | None:
        """Return it with the memory of whom it does not know; None if nobody has any."""
        assert self._map is not None  # noqa: S101 - the callers' check
        begun_ns = cpu_ns_of(self._clock)
        executed = self._map.executed()
        census = self._look.census(executed)
        if self._look.has_processes:
            spent_ns = cpu_ns_of(self._clock) - begun_ns
            seldom_ns = _SELDOM_NS if self._told_covered else _WARM_NS
            rest_ns = min(int(spent_ns / (_CENSUS_SHARE * self._overhead)), seldom_ns)
            self._take_due_ns = self._clock.now_ns() + rest_ns
        missed = sum(size for _, _, size in census.missed)
        before = self._missed.since(use, missed)
        if executed or census.ended or census.missed or any(before):
            gone = executed | census.ended
            nr_windows = len(use.windows_ns)
            rows = [row for row in use.rows if row.target not in gone]
            ended = [row for row in use.rows if row.target in gone]
            came = [never_seen(*missed, nr_windows) for missed in census.missed]
            rows += came
            if rows and any(before):
                rows.append(_freed(rows[0]._replace(kind="anon", node=None), before))
            if rows:
                rows += _left_behind([row for row in ended if row.target in census.ended])
            use = replace(
                use,
                rows=tuple(rows),
                missed=census.processes,
                groups=groups_since(use.groups, self._groups, ended, came),
            )
        if not use.rows:
            return None
        self._told_ns = use.monotonic_ns
        return use


class _Missed:
    """How much memory of processes that no map knew was there at several times."""

    def __init__(self) -> None:
        self._sizes: list[tuple[int, int]] = []

    def since(self, use: PageUse, size: int) -> tuple[int, ...]:
        """Return by how much there was more within each window; size: what there is now."""
        now_ns = use.monotonic_ns
        before = tuple(
            max((more - size for at, more in self._sizes if at > now_ns - window), default=0)
            for window in use.windows_ns
        )
        if size:
            # Who was there later, and had as much, stands for who was before.
            self._sizes = [(at, more) for at, more in self._sizes if more > size]
            self._sizes.append((now_ns, size))
        return tuple(max(0, more) for more in before)


def _freed(row: UseRow, high: tuple[int, ...], used: tuple[int, ...] = ()) -> UseRow:
    """Return a row of what is not in memory any more, of the same target, kind and node."""
    none = (0,) * len(high)
    return UseRow(
        row.target, FREED, row.kind, row.node, 0, 0, 0, none, used or none, high, none, none
    )


def _left_behind(rows: Sequence[UseRow]) -> list[UseRow]:
    """Return what targets used that ended just now: it is not in memory any more."""
    parts: dict[tuple[int, Kind, int | None], list[UseRow]] = {}
    for row in rows:
        left = _freed(row, row.used_high, row.used)
        parts.setdefault((row.target, row.kind, row.node), []).append(left)
    return [summed(of, what=FREED) for of in parts.values()]

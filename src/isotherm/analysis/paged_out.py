"""What of recorded memory would be paged out, and come back: by mapping, within bounds."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from isotherm.analysis.could_free import NEEDS_SWAP, movable
from isotherm.model.page_use import Kind, PageUse, UseRow
from isotherm.model.scheme import Filter, FilterType, Scheme, rejects_rest
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping
from isotherm.model.text import NamePattern

#: A recording knows how much of a mapping is idle, not where in it. What is not known is taken to
#: be so that least is saved and most comes back, as it is on average, or the other way.
Lean = Literal["least", "best", "most"]
LEANS: tuple[Lean, ...] = ("least", "best", "most")

_Title = tuple[int, str]


@dataclass(slots=True)
class _Pool:
    """
    Memory of one mapping title and kind: bytes that are idle for long enough, those of them that
    are out, and what had come back by the last moment, and at most; begun: what was out then.
    """

    kind: Kind
    idle: float = 0
    out: float = 0
    begun: float = 0
    back: float = 0
    most_back: float = 0


class PagedOut:
    """
    Memory that a scheme pages out of a recording.

    scheme: it; lean: how what is not known turns out; swap_bytes: swap space for it, None without
    bound. refaulted: bytes that came back so far; most_refaulted: as much was used again that may
    have been out; counted: whether the map counted those.
    """

    def __init__(self, scheme: Scheme, lean: Lean, swap_bytes: int | None) -> None:
        self._scheme = scheme
        self._lean = lean
        self._swap_left = math.inf if swap_bytes is None else swap_bytes
        self._pools: dict[_Title, dict[Kind, _Pool]] = {}
        self._room: dict[_Title, int] = {}
        self._visited: dict[_Title, int] = {}
        self._maps: dict[int, tuple[list[int], Sequence[Mapping]]] = {}
        self._starts: list[tuple[int, int]] = []
        self._ends: list[int] = []
        self._used: list[int] = []
        self._ids: list[int] = []
        self.refaulted = self.most_refaulted = 0.0
        self.counted = True

    @property
    def bytes(self) -> float:
        """What is out at present."""
        return sum(pool.out for pools in self._pools.values() for pool in pools.values())

    def see(self, snapshot: Snapshot) -> None:
        """Take what a window says of mappings, regions and pages."""
        for target_id, maps in (snapshot.mappings or {}).items():
            self._maps[target_id] = [one.start for one in maps], maps
        self._ids = [target.id for target in snapshot.targets]
        columns = snapshot.columns
        self._starts = list(zip(columns.target, columns.start, strict=True))
        self._ends = list(columns.end)
        self._used = list(columns.used) if columns.used is not None else [0] * len(columns)
        if snapshot.page_use is not None:
            self._moment(snapshot, snapshot.page_use)

    def _moment(self, snapshot: Snapshot, use: PageUse) -> None:
        maps = {target_id: one[1] for target_id, one in self._maps.items()}
        rows: dict[tuple[_Title, Kind], list[UseRow]] = {}
        for row in movable(use, snapshot.targets, maps).rows:
            if _passes(self._scheme, row.what, row.kind):
                title = self._ids[row.target], row.what
                rows.setdefault((title, row.kind), []).append(row)
        before, self._pools = self._pools, {}
        for (title, kind), some in rows.items():
            self.counted &= all(row.returned for row in some if row.idle_own[0])
            idle = sum(self._of(use, row.idle_own, row.resident) for row in some)
            returned = [row.returned for row in some if row.returned]
            back = sum(self._of(use, one, 0, up=True) for one in returned)
            most_back = sum(self._of(use, one, 0, most=True) for one in returned)
            old = before.get(title, {}).get(kind, _Pool(kind))
            came = self._came_back(old, max(0.0, back - old.back))
            self.refaulted += came
            self.most_refaulted += min(old.out, max(0.0, most_back - old.most_back))
            out = max(0.0, min(old.out - came, idle))
            pool = _Pool(kind, idle, out, out, back, most_back)
            self._pools.setdefault(title, {})[kind] = pool
        self._visited, self._room = {}, {}
        for (target, start), end in zip(self._starts, self._ends, strict=True):
            for title, size in self._titles(target, start, end):
                self._room[title] = self._room.get(title, 0) + size

    def _of(
        self,
        use: PageUse,
        figures: Sequence[int],
        whole: int,
        *,
        up: bool = False,
        most: bool = False,
    ) -> float:
        """
        Return what figures by idle age, falling, say of the scheme's age.

        whole: at age 0; up: figures of which more means that less is saved; most: at most, however
        this leans.
        """
        ages = [0, *use.windows_ns[:-1]]
        values = [max(whole, figures[0]), *figures[:-1]]
        age = self._scheme.idle_us * 1000
        low = age or self._scheme.pattern.age.low * 1000
        if low > use.watched_ns:
            return 0.0
        at = bisect_right(ages, low) - 1
        most = most or self._lean == ("least" if up else "most")
        if not age and most:  # pages of a region that is idle need not all have been
            return values[1] if len(values) > 1 else values[0]
        if ages[at] == low or most:
            return values[at]
        longer = values[at + 1] if at + 1 < len(values) else 0
        if self._lean != "best":
            return longer
        until = ages[at + 1] if at + 1 < len(ages) else use.watched_ns
        share = (low - ages[at]) / max(1, until - ages[at])
        return values[at] + (longer - values[at]) * share

    def _came_back(self, old: _Pool, used_again: float) -> float:
        """Return what came back from swap or disk, of what was used again after it was idle."""
        if old.out >= old.idle:
            return used_again if old.out else 0.0
        if self._lean == "least":
            return min(used_again, old.out)
        if self._lean == "most":
            return max(0.0, used_again - (old.idle - old.out))
        return min(old.out, used_again * old.out / old.idle)

    def _titles(self, target: int, start: int, end: int) -> list[tuple[_Title, int]]:
        """Return the mappings of addresses inside one region, with room for idle pages."""
        target_id = self._ids[target]
        starts, maps = self._maps.get(target_id, ([], ()))
        place = bisect_right(self._starts, (target, start)) - 1
        unused = 1.0
        if place >= 0 and self._starts[place][0] == target:
            size = self._ends[place] - self._starts[place][1]
            unused = max(0.0, 1 - self._used[place] / max(1, size))
        found, at = [], max(0, bisect_right(starts, start) - 1)
        while at < len(maps) and maps[at].start < end:
            one = maps[at]
            size = min(end, one.end) - max(start, one.start)
            if size > 0 and unused:
                found.append(((target_id, one.title), round(size * unused)))
            at += 1
        return found

    def page_out(self, target: int, start: int, end: int) -> int:
        """Page out what can be of [start, end) of a target; return bytes."""
        total = 0
        for title, size in self._titles(target, start, end):
            room = self._room.get(title, 0)
            visited = min(room, self._visited.get(title, 0) + size)
            self._visited[title] = visited
            for pool in self._pools.get(title, {}).values():
                total += self._take(pool, room, visited, size)
        return total

    def _take(self, pool: _Pool, room: int, visited: int, size: int) -> int:
        most = pool.idle - pool.begun
        if self._lean == "least":
            until = max(0.0, most - (room - visited))
        elif self._lean == "most":
            until = min(most, float(visited))
        else:
            until = most * visited / max(1, room)
        given = int(max(0.0, min(pool.begun + until - pool.out, pool.idle - pool.out, size)))
        if pool.kind in NEEDS_SWAP:
            given = int(max(0, min(given, self._swap_left - self._swapped())))
        pool.out += given
        return given

    def _swapped(self) -> float:
        return sum(
            pool.out
            for pools in self._pools.values()
            for pool in pools.values()
            if pool.kind in NEEDS_SWAP
        )


def _passes(scheme: Scheme, what: str, kind: Kind) -> bool:
    """Tell whether filters, but for those of idle time, let memory through."""
    rules = [rule for rule in scheme.ops_filters if rule.type is not FilterType.IDLE]
    for rule in rules:
        if _says(rule, what, kind) == rule.matching:
            return rule.allow
    return not rejects_rest(rules)


def _says(rule: Filter, what: str, kind: Kind) -> bool:
    if rule.type is FilterType.NAME:
        return NamePattern(rule.name).matches(what)
    return kind == "anon"

"""
What was known, moment by moment: as much of it as a view goes back.

`Feed` is a sink: it takes snapshots in the monitoring thread, and does nothing with them but to
keep them until somebody in another thread has time for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from typing import TypeVar

from isotherm.analysis.usage import NOTHING, Usage, usage_by_pages, usage_by_regions
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping
from isotherm.session.session import MonitorSession

T = TypeVar("T")

#: Moments that are kept: five minutes of windows of a second.
MOST_MOMENTS = 300
#: Snapshots that wait for who takes them; older ones are dropped.
_MOST_WAITING = 64


class Feed:
    """Snapshots from a session to who draws them, which may be slow: nobody waits for it."""

    def __init__(self) -> None:
        self._waiting: deque[Snapshot] = deque(maxlen=_MOST_WAITING)
        self._mappings: deque[MappingOf[int, Sequence[Mapping]]] = deque()
        self._news: deque[str] = deque(maxlen=_MOST_WAITING)
        self._session: MonitorSession | None = None

    def open(self, session: MonitorSession) -> None:
        """Take note of whom to ask for news."""
        self._session = session

    def take(self, snapshot: Snapshot) -> None:
        """Keep a snapshot until it is taken."""
        # Address maps are told once, so they are not to be dropped.
        if snapshot.mappings:
            self._mappings.append(snapshot.mappings)
        self._waiting.append(snapshot)
        if self._session is not None:
            self._news.extend(self._session.news())

    def close(self) -> None:
        """Nothing is held."""

    def maps(self) -> Iterator[MappingOf[int, Sequence[Mapping]]]:
        """Take the address maps that came; in another thread."""
        return _taken(self._mappings)

    def snapshots(self) -> Iterator[Snapshot]:
        """Take what came, oldest first; in another thread."""
        return _taken(self._waiting)

    def news(self) -> Iterator[str]:
        """Take what the user should know."""
        return _taken(self._news)


def _taken(queue: deque[T]) -> Iterator[T]:
    while True:
        try:
            item = queue.popleft()
        except IndexError:
            return
        yield item


@dataclass(frozen=True, slots=True)
class Moment:
    """
    What was known at the end of a window.

    snapshot: without what is in the others: usage, what the newest sum said, or the regions where
    there is no map of pages; mappings: the address maps in force, by target id; used: bytes of
    regions used in the window, by target id and by group, where they tell.
    """

    snapshot: Snapshot
    usage: Usage
    mappings: MappingOf[int, Sequence[Mapping]]
    used: MappingOf[int | str, int]

    @property
    def at_ns(self) -> int:
        """The time of day."""
        return self.snapshot.end_ns


class Chronicle:
    """
    Moments, oldest first.

    thin: of more than `most` every other one is left out, so that all of a recording is there;
    else the oldest go.
    """

    def __init__(self, most: int = MOST_MOMENTS, *, thin: bool = False) -> None:
        self.moments: list[Moment] = []
        self.start_ns = 0
        self._most = most
        self._thin = thin
        self._stride = 1
        self._passed = 0
        self._usage: Usage | None = None
        self._mappings: dict[int, Sequence[Mapping]] = {}
        self._last: Snapshot | None = None

    def __len__(self) -> int:
        return len(self.moments)

    def take_maps(self, mappings: MappingOf[int, Sequence[Mapping]]) -> None:
        """Take address maps that came with no snapshot, or before it."""
        self._mappings = {**self._mappings, **mappings}

    def take(self, snapshot: Snapshot) -> None:
        """Take the next snapshot."""
        if not self.start_ns:
            self.start_ns = snapshot.start_ns
        if snapshot.mappings:
            self.take_maps(snapshot.mappings)
        use = snapshot.page_use
        if use is not None and (use.rows or self._usage is None):
            self._usage = usage_by_pages(use, snapshot.targets, snapshot.end_ns)
        self._passed += 1
        self._last = snapshot
        if self._passed % self._stride == 0:
            self._add(snapshot)

    def end(self) -> None:
        """Nothing follows: the last one is kept whatever was left out."""
        if self._last is not None and (
            not self.moments or self.moments[-1].snapshot.index != self._last.index
        ):
            self._add(self._last)

    def _add(self, snapshot: Snapshot) -> None:
        light = replace(snapshot, page_use=None, mappings=None)
        usage = self._usage
        if usage is None:
            watched_ns = snapshot.end_ns - self.start_ns
            usage = usage_by_regions(light, self._mappings, watched_ns)
        elif not len(light.columns) and self.moments:
            # The last word of a map of pages comes without regions.
            light = replace(
                light,
                columns=self.moments[-1].snapshot.columns,
                targets=self.moments[-1].snapshot.targets,
            )
        living = {target.id for target in light.targets}
        if self._mappings.keys() - living:
            self._mappings = {id_: m for id_, m in self._mappings.items() if id_ in living}
        self.moments.append(Moment(light, usage, self._mappings, _used(light)))
        if len(self.moments) > self._most:
            if self._thin:
                self.moments = self.moments[1::2]
                self._stride *= 2
            else:
                del self.moments[0]

    def trend(self, key: int | str, window: int, at: int, count: int) -> list[int | None]:
        """
        Return what a target (its id) or a group (its title) used, at the last `count` moments.

        In each window where regions tell how much of them was, else within the window that is at
        the place `window` in `WINDOWS_NS`. at: the place of the newest moment. None: not known.
        """
        moments = self.moments[max(0, at + 1 - count) : at + 1]
        return [_trend(moment, key, window) for moment in moments]

    def nearest(self, at_ns: int) -> int:
        """Return the place of the last moment by a time of day, the first if all are later."""
        places = [i for i, moment in enumerate(self.moments) if moment.at_ns <= at_ns]
        return places[-1] if places else 0


def _used(snapshot: Snapshot) -> dict[int | str, int]:
    """Return what was used of regions in the window, by target and group; of none: not told."""
    columns, targets = snapshot.columns, snapshot.targets
    sums: dict[int | str, int] = {}
    if columns.used is not None:
        for index, used in zip(columns.target, columns.used, strict=True):
            keys: tuple[int | str, ...] = (targets[index].id, targets[index].group)
            for key in keys:
                sums[key] = sums.get(key, 0) + used
    return sums


def _trend(moment: Moment, key: int | str, window: int) -> int | None:
    if (used := moment.used.get(key)) is not None:
        return used
    usage = moment.usage
    figures = usage.targets.get(key) if isinstance(key, int) else usage.groups.get(key)
    told = (figures or NOTHING).used[window]
    blind = figures is not None and 2 * figures.unknown > figures.resident
    return None if blind and not told else told

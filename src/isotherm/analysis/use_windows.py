"""Working sets of equal windows, and of any window, from what maps of pages knew by and by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

from isotherm.analysis.page_use import Used, curve, within
from isotherm.errors import BadValueError
from isotherm.model.snapshot import Snapshot
from isotherm.units import format_duration

#: Windows count whose coverage is at least this share of the best: the first ones saw little.
_WELL_COVERED = 0.9


@dataclass(frozen=True, slots=True)
class EqualWindows:
    """
    Working sets of windows of one length, which may overlap.

    window_ns: how long each is; ends_ns: time of day when each ended; used: what was used in it;
    left_out: how many of that length were not counted, as much less had been looked at by then.
    """

    window_ns: int
    ends_ns: tuple[int, ...]
    used: tuple[Used, ...]
    left_out: int

    def __len__(self) -> int:
        return len(self.used)

    def percentiles(self, *percents: float) -> tuple[int, ...]:
        """
        Return for each percent the bytes that so many of the windows did not exceed.

        Nearest rank. Raises `BadValueError` for percents outside 0..100 and without windows.
        """
        if not self.used:
            raise BadValueError("no window of this length is known")
        if any(not 0 <= percent <= 100 for percent in percents):
            raise BadValueError(f"percentiles lie in 0..100, not {percents}")
        ranked = sorted(used.bytes for used in self.used)
        return tuple(ranked[max(0, ceil(len(ranked) * p / 100) - 1)] for p in percents)

    @property
    def mean(self) -> float:
        """The mean, in bytes; 0.0 without windows."""
        return sum(used.bytes for used in self.used) / max(1, len(self.used))


@dataclass(frozen=True, slots=True)
class WindowUse:
    """
    The working set of one window of a recording.

    start_ns, end_ns: the window that is known, by the time of day: it may be shorter than asked,
    and end earlier; used: what was used in it.
    """

    start_ns: int
    end_ns: int
    used: Used


@dataclass(slots=True)
class UseCollector:
    """
    Gathers curves snapshot by snapshot.

    curves: time of day and curve of each map that was summed up.
    """

    curves: list[tuple[int, tuple[Used, ...]]] = field(default_factory=list)

    def add(self, snapshot: Snapshot) -> None:
        """Take what a snapshot knows; most know nothing."""
        if snapshot.page_use is not None:
            self.curves.append((snapshot.end_ns, curve(snapshot.page_use)))

    def equal(self, window_ns: int) -> EqualWindows:
        """Return the working sets of windows of this length, as far as they were reached."""
        reached = [
            (end, within(points, window_ns))
            for end, points in self.curves
            if points and points[0].window_ns <= window_ns <= points[-1].window_ns
        ]
        best = max((used.covered for _, used in reached), default=0.0)
        kept = [(end, used) for end, used in reached if used.covered >= _WELL_COVERED * best]
        return EqualWindows(
            window_ns,
            tuple(end for end, _ in kept),
            tuple(used for _, used in kept),
            len(reached) - len(kept),
        )

    def window(self, start_ns: int, end_ns: int) -> WindowUse:
        """
        Return the working set of the window [start_ns, end_ns), times of day.

        It ends with the newest sum by `end_ns`, and is as long as was asked, or as far as that is
        known. Raises `BadValueError` where nothing was known by then.
        """
        if not start_ns < end_ns:
            raise BadValueError("a window ends after it begins")
        known = [entry for entry in self.curves if entry[0] <= end_ns and entry[1]]
        if not known:
            earliest = min((end for end, points in self.curves if points), default=None)
            raise BadValueError(
                "no map of pages had been summed up by the end of this window",
                hint=""
                if earliest is None
                else f"the first one was {format_duration(earliest - end_ns)} later",
            )
        end, points = max(known, key=_end)
        used = within(points, end_ns - start_ns)
        return WindowUse(end - used.window_ns, end, used)


def _end(entry: tuple[int, tuple[Used, ...]]) -> int:
    return entry[0]


def window_use(snapshots: Iterable[Snapshot], start_ns: int, end_ns: int) -> WindowUse:
    """As `UseCollector.window`; reads `snapshots` once."""
    return _collected(snapshots).window(start_ns, end_ns)


def equal_windows(snapshots: Iterable[Snapshot], window_ns: int) -> EqualWindows:
    """As `UseCollector.equal`; reads `snapshots` once."""
    return _collected(snapshots).equal(window_ns)


def _collected(snapshots: Iterable[Snapshot]) -> UseCollector:
    collector = UseCollector()
    for snapshot in snapshots:
        collector.add(snapshot)
    return collector


def told_window_ns(points: Sequence[Used], told_ns: Sequence[int]) -> int | None:
    """Return the length that a headline speaks of: a second, or the nearest that was reached."""
    if not points:
        return None
    known = {point.window_ns for point in points}
    one = 1_000_000_000
    usual = sorted((ns for ns in told_ns if ns in known), key=lambda ns: abs(ns - one))
    return usual[0] if usual else points[-1].window_ns

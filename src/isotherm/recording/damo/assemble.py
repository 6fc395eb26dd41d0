"""Streams of windows to snapshots: the windows of all targets that were at the same time."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median_low
from typing import Final

from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Mapping, Target
from isotherm.recording.damo.sidecars import Sidecars
from isotherm.recording.damo.streams import UNKNOWN, Intervals, Key, Regions, Stream, Streams

#: Samples of a window where neither the file nor the user tells: DAMON's default.
DEFAULT_SAMPLES: Final = 20
_UNKNOWN_BYTES: Final = b"\xff\xff\xff\xff"
_PERCENT_100: Final = 100_000
_UINT_MAX: Final = 2**32 - 1
#: Of the samples of a window: a count that differs by less is the same (damon: thres).
_ALIKE: Final = 10
#: What isotherm's own monitor would have cost; damo does not tell.
_NO_COST: Final = Cost(checks=None, cleared=None, late_ns=None)


@dataclass(slots=True)
class _Window:
    end_ns: int
    start_ns: int
    intervals: Intervals
    target: int
    stream: Stream
    i: int


class Assembly:
    """
    The snapshots of a record.

    streams: all that was read; beside: what damo wrote beside the record; asked: intervals where
    the record does not tell them. `notes` says what had to be assumed.
    """

    def __init__(self, streams: Streams, beside: Sidecars, asked: Intervals | None) -> None:
        self._regions = streams
        self._beside = beside
        self._asked = asked
        self.notes: list[str] = list(beside.notes)
        self.streams = [stream for stream in streams.by_key.values() if len(stream)]
        keys = {stream.key: None for stream in self.streams}
        self._index = {key: i for i, key in enumerate(keys)}
        self.targets = tuple(self._target(i, key) for key, i in self._index.items())
        self._ages: dict[int, dict[tuple[int, int], tuple[int, int]]] = {}
        self._note_schemes(list(keys))

    def _target(self, i: int, key: Key) -> Target:
        pid = None
        if key.target is not None:
            pid = self._beside.pids.get((key.kdamond, key.context, key.target))
        if pid is not None:
            return Target(i, self._beside.names.get(pid, "process"), pid)
        several = len({k.thread for k in self._index}) > 1
        words = [key.thread] if several else []
        if len({(k.kdamond, k.context) for k in self._index}) > 1:
            words += [f"kdamond {key.kdamond} context {key.context}"]
        if key.scheme is not None:
            words += [f"scheme {key.scheme}"]
        elif (key.kdamond, key.context) in self._beside.physical:
            words += ["physical memory"]
        else:
            words += ["memory" if key.target is None else f"target {key.target}"]
        return Target(i, " ".join(words))

    def _note_schemes(self, keys: list[Key]) -> None:
        schemes = {key for key in keys if key.scheme is not None}
        if len(schemes) > 1:
            self.notes.append(
                f"what {len(schemes)} schemes found are targets of their own: "
                "memory that several found is counted for each"
            )

    def snapshots(self) -> Iterator[Snapshot]:
        """Yield the snapshots in the order of time; `notes` are complete afterwards."""
        shown: int | None = None
        for index, group in enumerate(self._groups()):
            first = group[0]
            group.sort(key=lambda window: window.target)
            end_ns = max(window.end_ns for window in group)
            place = self._beside.mappings.index(end_ns)
            mappings = None
            if place is not None and place != shown:
                mappings, shown = self._mappings(place), place
            yield Snapshot(
                index=index,
                start_ns=min(window.start_ns for window in group),
                end_ns=end_ns,
                sample_us=first.intervals.sample_us,
                aggr_us=first.intervals.aggr_us,
                targets=self._targets_at(end_ns),
                columns=self._columns(group),
                cost=_NO_COST,
                mappings=mappings,
            )

    def _targets_at(self, end_ns: int) -> tuple[Target, ...]:
        place = self._beside.resident.index(end_ns)
        if place is None:
            return self.targets
        sizes = self._beside.resident.values[place]
        return tuple(
            target if target.pid is None else replace(target, resident_bytes=sizes.get(target.pid))
            for target in self.targets
        )

    def _mappings(self, place: int) -> dict[int, Sequence[Mapping]]:
        maps = self._beside.mappings.values[place]
        return {t.id: maps[t.pid] for t in self.targets if t.pid is not None and t.pid in maps}

    def _groups(self) -> Iterator[list[_Window]]:
        """Yield windows that were at the same time, one for a target and all of like intervals."""
        heads: list[tuple[int, int, _Window, Iterator[_Window]]] = []
        for number, stream in enumerate(self.streams):
            windows = self._windows(stream)
            heads += [(w.end_ns, number, w, windows) for w in (next(windows),)]
        heapq.heapify(heads)
        while heads:
            group: list[_Window] = []
            seen: set[int] = set()
            while heads:
                _, number, window, rest = heads[0]
                if group and (
                    window.end_ns > group[0].end_ns + 500 * group[0].intervals.aggr_us
                    or window.intervals != group[0].intervals
                    or window.target in seen
                ):
                    break
                heapq.heappop(heads)
                group.append(window)
                seen.add(window.target)
                if (after := next(rest, None)) is not None:
                    heapq.heappush(heads, (after.end_ns, number, after, rest))
            yield group

    def _windows(self, stream: Stream) -> Iterator[_Window]:
        order: range | list[int] = range(len(stream))
        ends = stream.ends
        if any(a > b for a, b in pairwise(ends)):
            order = sorted(order, key=ends.__getitem__)
        usual = _usual_ns(stream, order)
        intervals = self._intervals(stream, usual)
        target = self._index[stream.key]
        before: int | None = None
        for i in order:
            mine, end = _tuned(intervals, stream.sample_us[i]), ends[i]
            start = stream.starts[i]
            if not start:
                length = mine.aggr_us * 1000 if stream.sample_us[i] else usual
                start = end - length
                # Windows follow each other, unless some between them are lost.
                if before is not None and 2 * (end - before) <= 3 * length:
                    start = before
            before = end
            yield _Window(end, min(start, end), mine, target, stream, i)

    def _intervals(self, stream: Stream, usual_ns: int) -> Intervals:
        if self._asked is not None:
            return self._asked
        if stream.intervals is not None:
            return stream.intervals
        samples = max(DEFAULT_SAMPLES, stream.most_accesses)
        tuned = [sample for sample in stream.sample_us if sample]
        if tuned:
            sample_us = tuned[0]
            aggr_us = sample_us * samples
        else:
            aggr_us = max(1, round(usual_ns / 1_000_000) * 1000 or usual_ns // 1000)
            sample_us = max(1, aggr_us // samples)
        note = (
            "the intervals are not in the file: windows are as long as they seem to be, with "
            f"{samples} samples each; --sample and --aggr say it"
        )
        if note not in self.notes:
            self.notes.append(note)
        return Intervals(sample_us, max(aggr_us, sample_us))

    def _columns(self, group: list[_Window]) -> Columns:
        columns = Columns()
        for window in group:
            regions = self._regions.read(window.stream, window.i)
            count = len(regions.nr_accesses) // 4
            columns.target.extend(array("I", [window.target]) * count)
            columns.start.frombytes(regions.start)
            columns.end.frombytes(regions.end)
            unseen = array("Q", bytes(8 * count))
            counts = _counts(regions, window.intervals, unseen)
            columns.nr_accesses.extend(counts)
            columns.age.extend(self._ages_of(regions, window, counts))
            columns.unobservable.extend(unseen)
        return columns

    def _ages_of(self, regions: Regions, window: _Window, counts: array[int]) -> array[int]:
        if regions.age_is_us:
            aggr_us = window.intervals.aggr_us
            return array("I", [min(us // aggr_us, _UINT_MAX) for us in array("Q", regions.age)])
        ages = array("I", regions.age)
        if _UNKNOWN_BYTES in regions.age and UNKNOWN in ages:
            self._count_ages(regions, window, counts, ages)
        return ages

    def _count_ages(
        self, regions: Regions, window: _Window, counts: array[int], ages: array[int]
    ) -> None:
        """Fill in ages that are not told: for so many windows the same region was used alike."""
        note = "ages are not in the file: they are counted here, for as long as a region stays"
        if note not in self.notes:
            self.notes.append(note)
        before = self._ages.get(window.target, {})
        now: dict[tuple[int, int], tuple[int, int]] = {}
        alike = window.intervals.aggr_us // window.intervals.sample_us // _ALIKE
        for i, place in enumerate(
            zip(array("Q", regions.start), array("Q", regions.end), strict=True)
        ):
            if ages[i] == UNKNOWN:
                count, age = before.get(place, (counts[i], -1))
                ages[i] = age + 1 if abs(count - counts[i]) <= alike else 0
            now[place] = counts[i], ages[i]
        self._ages[window.target] = now


def _usual_ns(stream: Stream, order: range | list[int]) -> int:
    """Return how long a window usually is."""
    known = [stream.ends[i] - stream.starts[i] for i in order if stream.starts[i]]
    if not known:
        ends = [stream.ends[i] for i in order]
        known = [b - a for a, b in pairwise(ends) if b > a]
    if known:
        return max(1, median_low(known))
    return 1000 * (stream.intervals.aggr_us if stream.intervals else 100_000)


def _tuned(intervals: Intervals, sample_us: int) -> Intervals:
    """Return the intervals of a window whose sampling interval DAMON had tuned to this."""
    if not sample_us or sample_us == intervals.sample_us:
        return intervals
    samples = max(1, intervals.aggr_us // intervals.sample_us)
    return Intervals(sample_us, min(sample_us * samples, 1 << 62))


def _counts(regions: Regions, intervals: Intervals, unseen: array[int]) -> array[int]:
    """Return the accesses in samples; where they are not told, nothing of the region is known."""
    counts = array("I", regions.nr_accesses)
    if _UNKNOWN_BYTES in regions.nr_accesses and UNKNOWN in counts:
        start, end = array("Q", regions.start), array("Q", regions.end)
        for i, count in enumerate(counts):
            if count == UNKNOWN:
                counts[i], unseen[i] = 0, end[i] - start[i]
    if regions.counts_percent:
        most = max(1, intervals.aggr_us // intervals.sample_us)
        for i, share in enumerate(counts):
            counts[i] = min(_UINT_MAX, round(share * most / _PERCENT_100))
    return counts

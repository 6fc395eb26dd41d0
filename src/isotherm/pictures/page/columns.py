"""
The regions of a recording as a page holds them: columns, deflated, in base64.

For each target, little-endian: f64 begin and end of each window in ms, u32 how many regions it
has; then of the regions u32 gap to the one before, u32 size, u16 rate (65535 is 100 %), u16 the
highest rate where that is another, u8 unobservable share (255 is all). Gaps and sizes are units of
memory laid end to end, without what nobody monitored; a gap backwards wraps around.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from base64 import b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from isotherm.analysis.extent import Extent
from isotherm.analysis.heatmap import Accumulator, Segment, fold
from isotherm.analysis.wanted import Names
from isotherm.errors import escaped
from isotherm.model.ranges import PAGE, Range, total
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping, Unobservable
from isotherm.recording.blocks import Rows

#: Heights that segments are given in proportion to; one has at least one of them.
_ROWS: Final = 450
#: Cells of a target where there are too many regions.
_GRID: Final = (1000, 400)
_FULL, _BLIND = 65535, 255
#: Runs of memory of one name that a page knows.
_NAMES: Final = 5000
_MOST: Final = 2**32


@dataclass(slots=True)
class _Columns:
    begins: array[float] = field(default_factory=lambda: array("d"))
    ends: array[float] = field(default_factory=lambda: array("d"))
    counts: array[int] = field(default_factory=lambda: array("I"))
    gaps: array[int] = field(default_factory=lambda: array("I"))
    sizes: array[int] = field(default_factory=lambda: array("I"))
    rates: array[int] = field(default_factory=lambda: array("H"))
    peaks: array[int] = field(default_factory=lambda: array("H"))
    blind: array[int] = field(default_factory=lambda: array("B"))

    def packed(self) -> str:
        made = zlib.compressobj(6)
        parts = []
        for column in (
            self.begins, self.ends, self.counts, self.gaps, self.sizes, self.rates, self.peaks,
            self.blind,
        ):  # fmt: skip
            little = column[:]
            if sys.byteorder == "big":
                little.byteswap()
            parts.append(made.compress(little.tobytes()))
        return b64encode(b"".join((*parts, made.flush()))).decode()


class TargetColumns:
    """
    Gathers what a page needs of one target.

    where: the extent to be drawn; what is beyond it is left out.
    """

    def __init__(self, where: Extent, target_id: int) -> None:
        self.target = where.target(target_id)
        self.regions = 0
        ranges = where.ranges[target_id]
        self._start_ns, self._end_ns = where.start_ns, where.end_ns
        self._segments = fold(ranges, _ROWS)
        self._unit = _unit(self._segments)
        self._starts = [segment.start for segment in self._segments]
        self._bases: list[int] = []
        at = 0
        for segment in self._segments:
            self._bases.append(at)
            at += self._units(segment)
        self._columns = _Columns()
        #: What is cold is in memory, as in `Heatmap`.
        self.idle_is_there = True

    def _units(self, segment: Segment) -> int:
        return -(-(segment.end - segment.start) // self._unit)

    def add(
        self, snapshot: Snapshot, index: int | None, unobservable: Sequence[Unobservable]
    ) -> None:
        """
        Add a window.

        index: of the target in it, None where it is not there; unobservable: its ranges.
        """
        if snapshot.end_ns <= self._start_ns or snapshot.start_ns >= self._end_ns:
            return
        columns, heats = snapshot.columns, snapshot.heats()
        self.idle_is_there &= columns.share is not None or not columns
        low = high = 0
        if index is not None:
            low, high = bisect_left(columns.target, index), bisect_right(columns.target, index)
        before = self.regions
        place = 0
        for start, end, heat, unseen in zip(
            columns.start[low:high],
            columns.end[low:high],
            heats[low:high],
            columns.unobservable[low:high],
            strict=True,
        ):
            if start < end:
                blind = min(_BLIND, -(-_BLIND * unseen // (end - start))) if unseen else 0
                rate = max(1, int(_FULL * heat)) if heat else 0
                place = self._put(start, end, rate, blind, place)
        for known in unobservable:
            place = self._put(known.start, known.end, 0, _BLIND, place)
        self._window(snapshot.start_ns, snapshot.end_ns, self.regions - before)

    def _window(self, start_ns: int, end_ns: int, regions: int) -> None:
        self._columns.begins.append((start_ns - self._start_ns) / 1e6)
        self._columns.ends.append((end_ns - self._start_ns) / 1e6)
        self._columns.counts.append(regions)

    def _put(self, start: int, end: int, rate: int, blind: int, place: int) -> int:
        """Add a range, in one part for each segment that it meets; returns where it ends."""
        at = max(0, bisect_right(self._starts, start) - 1)
        columns = self._columns
        while at < len(self._starts) and self._starts[at] < end:
            segment, base = self._segments[at], self._bases[at]
            low, high = max(start, segment.start), min(end, segment.end)
            if low < high:
                first = base + (low - segment.start) // self._unit
                last = base - (segment.start - high) // self._unit
                columns.gaps.append((first - place) % _MOST)
                columns.sizes.append(last - first)
                columns.rates.append(rate)
                columns.blind.append(blind)
                self.regions += 1
                place = last
            at += 1
        return place

    def take_grid(self, grid: Accumulator) -> None:
        """Add cells of a grid over the same extent instead of windows."""
        self.idle_is_there = grid.idle_is_there
        rows = len(grid.row_ranges)
        width = (self._end_ns - self._start_ns) / grid.columns
        for column in range(grid.columns):
            before, place, row = self.regions, 0, 0
            cells = [self._cell(grid, cell * grid.columns + column) for cell in range(rows)]
            for cell, group in groupby(cells):
                count = sum(1 for _ in group)
                if cell is not None:
                    rate, peak, blind = cell
                    for start, end in _joined(grid.row_ranges[row : row + count]):
                        parts = self.regions
                        place = self._put(start, end, rate, blind, place)
                        self._columns.peaks.extend([peak] * (self.regions - parts))
                row += count
            begin = self._start_ns + round(column * width)
            self._window(
                begin, self._start_ns + round((column + 1) * width), self.regions - before
            )

    @staticmethod
    def _cell(grid: Accumulator, at: int) -> tuple[int, int, int] | None:
        """Return rate, highest rate and unobservable share of a cell; None where nothing is."""
        seen, unseen = grid.seen[at], grid.unseen[at]
        if not (seen or unseen):
            return None
        heat = grid.hot[at] / seen if seen else 0.0
        rate = max(1, round(_FULL * min(1.0, heat))) if heat else 0
        peak = max(rate, round(_FULL * grid.peak[at])) if heat else 0
        return rate, peak, round(_BLIND * unseen / (seen + unseen))

    def document(self, names: Names) -> dict[str, Any]:
        """Return what the page's script reads."""
        rows = sum(segment.rows for segment in self._segments)
        segments = [
            {
                "start": f"{segment.start:x}",
                "end": f"{segment.end:x}",
                "place": base,
                "units": self._units(segment),
                "low": segment.first_row / rows,
                "high": (segment.first_row + segment.rows) / rows,
            }
            for segment, base in zip(self._segments, self._bases, strict=True)
        ]
        return {
            "title": escaped(self.target.title),
            "unit": self._unit,
            "segments": segments,
            "names": self._names(names),
            "windows": len(self._columns.counts),
            "regions": self.regions,
            "has_peaks": bool(self._columns.peaks),
            "data": self._columns.packed(),
        }

    def _names(self, names: Names) -> list[tuple[int, int, str]]:
        """Return the largest runs of memory of one name, in order of address."""
        runs = sorted(self._runs(names), key=lambda run: run[0] - run[1])
        return sorted(runs[:_NAMES])

    def _runs(self, names: Names) -> Iterator[tuple[int, int, str]]:
        """Yield where runs of memory of one name begin and end, and what it is called."""
        known: Sequence[Mapping] = names.last.get(self.target.id, ())
        ordered = sorted(known, key=lambda mapping: mapping.start)
        for segment, base in zip(self._segments, self._bases, strict=True):
            inside = (m for m in ordered if m.start < segment.end and m.end > segment.start)
            for title, group in groupby(inside, key=lambda mapping: mapping.title):
                run = list(group)
                low = max(run[0].start, segment.start) - segment.start
                high = min(run[-1].end, segment.end) - segment.start
                yield base + low // self._unit, base - (-high // self._unit), escaped(title)


def _unit(segments: Sequence[Segment]) -> int:
    """Return bytes of a unit: a page where that is exact, and never too few for 32 bits."""
    ends = [end for segment in segments for end in (segment.start, segment.end)]
    unit = PAGE if all(end % PAGE == 0 for end in ends) else 1
    size = total(Range(s.start, s.end) for s in segments)
    while size // unit + len(segments) >= _MOST - 1:
        unit *= 2
    return unit


def _joined(rows: Sequence[Range]) -> Iterator[Range]:
    """Yield ranges without borders where one ends as the next begins."""
    start, end = rows[0]
    for row in rows[1:]:
        if row.start != end:
            yield Range(start, end)
            start = row.start
        end = row.end
    yield Range(start, end)


def of_windows(
    snapshots: Iterable[Snapshot], where: Extent, ids: Sequence[int], most: int
) -> list[TargetColumns] | None:
    """Return the regions of targets as they were recorded; None for more than `most`."""
    found = [TargetColumns(where, id_) for id_ in ids]
    for snapshot in snapshots:
        indices = {target.id: i for i, target in enumerate(snapshot.targets)}
        unobservable: dict[int, list[Unobservable]] = {}
        for known in snapshot.unobservable:
            unobservable.setdefault(known.target_id, []).append(known)
        for id_, one in zip(ids, found, strict=True):
            one.add(snapshot, indices.get(id_), unobservable.get(id_, ()))
        if sum(one.regions for one in found) > most:
            return None
    return found


def of_grids(
    parts: Iterable[Snapshot | Rows], where: Extent, ids: Sequence[int]
) -> list[TargetColumns]:
    """Return the same by cells of a grid, in memory that does not depend on the recording."""
    grids = [Accumulator(where, id_, *_GRID) for id_ in ids]
    for part in parts:
        for grid in grids:
            grid.take(part)
    found = [TargetColumns(where, id_) for id_ in ids]
    for one, grid in zip(found, grids, strict=True):
        one.take_grid(grid)
    return found

"""
Address x time grids of heat, with the address ranges that nobody monitored folded away.

Heat is the share of samples that found an access, 0..1. A cell's heat is the mean over the
monitored bytes and times that fall into it, each byte and nanosecond weighing the same. What
could not be observed takes no part in it: a cell of nothing else has no heat at all (None).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from isotherm.analysis.extent import Extent, extent, no_such_target
from isotherm.errors import BadValueError
from isotherm.model.ranges import Range, total, union
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Target
from isotherm.recording.blocks import Rows

#: So many folds in a picture are few, or one for so many rows.
_FEW_FOLDS = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """Adjacent rows of a heatmap: addresses [start, end) on rows [first_row, first_row + rows)."""

    start: int
    end: int
    first_row: int
    rows: int


@dataclass(frozen=True, slots=True)
class Heatmap:
    """
    A grid; row 0 holds the lowest addresses, column 0 the earliest time.

    heat[row][column] is 0..1, or None where nothing was observed; unobservable[row][column] is
    the share 0..1 of the cell's monitored bytes that could not be observed. None with a share of
    0 means that the target had nothing there, or nothing in memory. peak[row][column] is the heat
    of the hottest region that is in the cell at any time, which a mean over much memory hides; 0
    where there is none.
    idle_is_there: what is cold is in memory; else, where nobody knew what is, it may be absent.
    `row_ranges` are the addresses of each row, `segments` the runs of rows without a fold between
    them; times are of the day, in ns.
    """

    target: Target
    start_ns: int
    end_ns: int
    row_ranges: tuple[Range, ...]
    segments: tuple[Segment, ...]
    heat: tuple[tuple[float | None, ...], ...]
    unobservable: tuple[tuple[float, ...], ...]
    peak: tuple[tuple[float, ...], ...]
    idle_is_there: bool = False

    @property
    def rows(self) -> int:
        return len(self.row_ranges)

    @property
    def columns(self) -> int:
        return len(self.heat[0])


def fold(ranges: Iterable[Range], rows: int) -> tuple[Segment, ...]:
    """
    Share `rows` among address ranges in proportion to their size, at least one row each.

    Gaps shorter than a row are not worth a fold. Of many the narrowest are drawn, as what is not
    in memory, for up to a third of the picture; with more ranges than half the rows more of them
    go. Raises `BadValueError` without ranges or rows.
    """
    spans = union(ranges)
    if not spans or rows < 1:
        raise BadValueError("a heatmap needs at least one address range and one row")
    spans = union(spans, total(spans) // rows)
    if len(spans) > max(_FEW_FOLDS, rows // _FEW_FOLDS):
        spans = union(spans, _narrow(spans))
    most = max(1, rows // 2)
    if len(spans) > most:
        gaps = sorted(b.start - a.end for a, b in pairwise(spans))
        spans = union(spans, gaps[len(spans) - most - 1])
    shares = _apportion([span.size for span in spans], rows)
    segments, row = [], 0
    for span, share in zip(spans, shares, strict=True):
        segments.append(Segment(span.start, span.end, row, share))
        row += share
    return tuple(segments)


def _narrow(spans: Sequence[Range]) -> int:
    """Return which gaps, together, are half of the spans at most: those up to this size."""
    left, widest = total(spans) // 2, 0
    for gap, alike in groupby(sorted(b.start - a.end for a, b in pairwise(spans))):
        left -= gap * len(list(alike))
        if left < 0:
            break
        widest = gap
    return widest


def _apportion(sizes: list[int], rows: int) -> list[int]:
    """Split `rows` in proportion to `sizes`, at least 1 each (largest remainder)."""
    spare, whole = rows - len(sizes), sum(sizes)
    exact = [spare * size / whole for size in sizes]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: shares[i] - exact[i])
    for i in by_remainder[: spare - sum(shares)]:
        shares[i] += 1
    return [share + 1 for share in shares]


#: As an index of a target: none.
_NO_TARGET = 2**32 - 1


class Accumulator:
    """Sums of byte-nanoseconds for each cell."""

    def __init__(self, where: Extent, target_id: int, columns: int, rows: int) -> None:
        self.segments = fold(where.ranges[target_id], rows)
        edges = [
            Range(
                s.start + (s.end - s.start) * i // s.rows,
                s.start + (s.end - s.start) * (i + 1) // s.rows,
            )
            for s in self.segments
            for i in range(s.rows)
        ]
        self.row_ranges = tuple(edges)
        self.columns = columns
        self._starts = [row.start for row in edges]
        self._ends = [row.end for row in edges]
        self.target_id = target_id
        self._start, self._end = where.start_ns, max(where.end_ns, where.start_ns + 1)
        zeros = bytes(8 * columns * len(edges))
        self.hot, self.seen, self.unseen, self.peak = (array("d", zeros) for _ in range(4))
        self._there: bool | None = None

    def add(self, snapshot: Snapshot) -> None:
        # First by row, then to the columns that the window touches: mostly one.
        rows = tuple([0.0] * len(self._starts) for _ in range(4))
        index = next((i for i, t in enumerate(snapshot.targets) if t.id == self.target_id), None)
        columns = snapshot.columns
        self._note(len(columns), tells_heat=columns.share is not None)
        for target, start, end, heat, unseen in zip(
            columns.target,
            columns.start,
            columns.end,
            snapshot.heats(),
            columns.unobservable,
            strict=True,
        ):
            if target == index and start < end:
                blind = min(1.0, unseen / (end - start)) if unseen else 0.0
                self._spread(start, end, heat, blind, rows)
        for known in snapshot.unobservable:
            if known.target_id == self.target_id:
                self._spread(known.start, known.end, 0.0, 1.0, rows)
        for column, ns in self._columns_of(snapshot):
            for sums, values in zip((self.hot, self.seen, self.unseen), rows[:3], strict=True):
                for row, value in enumerate(values):
                    if value:
                        sums[row * self.columns + column] += value * ns
            for row, value in enumerate(rows[3]):
                cell = row * self.columns + column
                self.peak[cell] = max(self.peak[cell], value)

    def _note(self, regions: int, *, tells_heat: bool) -> None:
        """Note whether regions are only of what is in memory."""
        if regions:
            self._there = tells_heat and self._there is not False

    def add_rows(self, rows: Rows) -> None:
        """Add windows of a block."""
        self._note(sum(rows.counts()), tells_heat=rows.tells_heat)
        index = next((i for i, t in enumerate(rows.targets) if t.id == self.target_id), _NO_TARGET)
        gaps = [gap for gap in rows.unobservable if gap.target_id == self.target_id]
        rows.add_heat(
            index,
            array("Q", [gap.start for gap in gaps]),
            array("Q", [gap.end for gap in gaps]),
            array("Q", self._starts),
            array("Q", self._ends),
            self.hot,
            self.seen,
            self.unseen,
            self.peak,
            self.columns,
            self._start,
            self._end,
        )

    def _columns_of(self, snapshot: Snapshot) -> Iterator[tuple[int, float]]:
        """Yield the columns that the window touches, and for how many ns."""
        width = (self._end - self._start) / self.columns
        begin = snapshot.start_ns - self._start
        finish = max(snapshot.end_ns - self._start, begin + 1)
        for column in range(max(0, int(begin / width)), self.columns):
            low, high = max(begin, column * width), min(finish, (column + 1) * width)
            if high > low:
                yield column, high - low
            if (column + 1) * width >= finish:
                return

    def _spread(
        self, start: int, end: int, rate: float, blind: float, rows: tuple[list[float], ...]
    ) -> None:
        """Add the bytes of [start, end) to the sums (hot, seen, unseen) and peaks of its rows."""
        hot, seen, unseen, peak = rows
        row = max(0, bisect_right(self._starts, start) - 1)
        while row < len(self._ends) and self._starts[row] < end:
            overlap = min(end, self._ends[row]) - max(start, self._starts[row])
            if overlap > 0:
                seen[row] += overlap * (1.0 - blind)
                unseen[row] += overlap * blind
                hot[row] += overlap * (1.0 - blind) * rate
                if blind < 1:
                    peak[row] = max(peak[row], rate)
            row += 1

    def take(self, part: Snapshot | Rows) -> None:
        """Add a window, or some."""
        if isinstance(part, Snapshot):
            self.add(part)
        else:
            self.add_rows(part)

    def result(self, where: Extent) -> Heatmap:
        """Return the grid; `where` is the extent that it was made for, or one like it."""
        heat, unobservable = zip(*self.cells(), strict=True)
        width = self.columns
        return Heatmap(
            target=where.target(self.target_id),
            start_ns=where.start_ns,
            end_ns=where.end_ns,
            row_ranges=self.row_ranges,
            segments=self.segments,
            heat=heat,
            unobservable=unobservable,
            peak=tuple(
                tuple(self.peak[at : at + width]) for at in range(0, len(self.peak), width)
            ),
            idle_is_there=self.idle_is_there,
        )

    @property
    def idle_is_there(self) -> bool:
        """As in `Heatmap`."""
        return self._there is True

    def cells(self) -> Iterator[tuple[tuple[float | None, ...], tuple[float, ...]]]:
        """Yield each row's heat and unobservable share."""
        for row in range(len(self.row_ranges)):
            cells = range(row * self.columns, (row + 1) * self.columns)
            yield (
                tuple(self.hot[c] / self.seen[c] if self.seen[c] else None for c in cells),
                tuple(
                    self.unseen[c] / (self.seen[c] + self.unseen[c]) if self.unseen[c] else 0.0
                    for c in cells
                ),
            )


def heatmap(
    snapshots: Iterable[Snapshot | Rows],
    columns: int,
    rows: int,
    *,
    target_id: int | None = None,
    where: Extent | None = None,
) -> Heatmap:
    """
    Return the heat of one target on a grid.

    `snapshots` is iterated twice, or once where the extent to draw is given (data outside of it
    are left out); memory depends on the grid only. The target is the busiest unless `target_id`
    names one. Raises `BadValueError` when there are no regions, no such target, or no cells.
    """
    where = extent(snapshots) if where is None else where
    sums = accumulator(where, columns, rows, target_id)
    for part in snapshots:
        sums.take(part)
    return sums.result(where)


def accumulator(
    where: Extent, columns: int, rows: int, target_id: int | None = None
) -> Accumulator:
    """Return an empty grid; raises as `heatmap`."""
    if columns < 1 or rows < 1:
        raise BadValueError(f"a heatmap of {columns} x {rows} cells is impossible")
    id_ = where.busiest() if target_id is None else target_id
    if id_ not in where.ranges:
        if id_ in where.targets:
            raise BadValueError(f"no regions were recorded of target {id_}")
        raise no_such_target(id_, where.targets.values())
    return Accumulator(where, id_, columns, rows)

"""Heat of one target by address and time, with names beside it: a column for each moment."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from isotherm.analysis.extent import Extent
from isotherm.analysis.heatmap import Accumulator, Segment, fold
from isotherm.analysis.mappings import title_of_most
from isotherm.analysis.usage import Cell
from isotherm.live.chronicle import Chronicle, Moment
from isotherm.live.layout import COLD_COLOUR, Line, cell_look, fitted
from isotherm.live.rows import target_at
from isotherm.model.ranges import Range, union
from isotherm.model.snapshot import Snapshot
from isotherm.terminal.cells import RAMP, SHADES, UNOBSERVABLE_COLOUR, level
from isotherm.terminal.text import elide, pad
from isotherm.units import format_duration

#: Columns for names: a third, and never more than these.
_MOST_NAME, _LEAST_NAME = 32, 10


@dataclass(frozen=True, slots=True)
class Grid:
    """
    Heat of a target; the lowest addresses and the earliest moment first.

    ranges, names: of each row; segments: rows without a fold between them; columns: the cells of a
    moment, one for each row; idle_is_there: as in `Heatmap`.
    """

    ranges: tuple[Range, ...]
    names: tuple[str, ...]
    segments: tuple[Segment, ...]
    columns: tuple[tuple[Cell, ...], ...]
    idle_is_there: bool = False


class HeatHistory:
    """Makes grids, and keeps the columns that do not change from one to the next."""

    def __init__(self) -> None:
        self._key: tuple[int, int, tuple[Range, ...]] | None = None
        self._columns: dict[int, tuple[Cell, ...]] = {}
        self._runs: dict[tuple[int, int], tuple[Range, ...]] = {}

    def grid(
        self, chronicle: Chronicle, at: int, target_id: int, columns: int, rows: int
    ) -> Grid | None:
        """
        Return the heat of the last `columns` moments that have the target; None if none has.

        at: the place of the newest moment.
        """
        moments = [
            (moment, index)
            for moment in chronicle.moments[max(0, at + 1 - columns) : at + 1]
            if (index := target_at(moment.snapshot, target_id)) is not None
        ]
        ranges = union(
            one
            for moment, index in moments
            for one in self._ranges(moment.snapshot, index, target_id)
        )
        if not ranges or rows < 1:
            return None
        key = target_id, rows, tuple(ranges)
        if key != self._key:
            self._key, self._columns = key, {}
        kept = {}
        for moment, _ in moments:
            place = moment.snapshot.index
            column = self._columns.get(place)
            kept[place] = column or _column(moment.snapshot, target_id, key[2], rows)
        self._columns = kept
        segments = fold(key[2], rows)
        edges = tuple(_edges(segments))
        names = _names(moments[-1][0], target_id, edges)
        there = all(
            moment.snapshot.columns.share is not None
            for moment, _ in moments
            if len(moment.snapshot.columns)
        )
        return Grid(edges, names, segments, tuple(kept.values()), there)

    def _ranges(self, snapshot: Snapshot, index: int, target_id: int) -> tuple[Range, ...]:
        key = snapshot.index, target_id
        if key not in self._runs:
            if len(self._runs) > 4096:
                self._runs.clear()
            self._runs[key] = _runs(snapshot, index, target_id)
        return self._runs[key]


def _runs(snapshot: Snapshot, index: int, target_id: int) -> tuple[Range, ...]:
    columns = snapshot.columns
    low, high = bisect_left(columns.target, index), bisect_right(columns.target, index)
    regions = [
        Range(start, end)
        for start, end in zip(columns.start[low:high], columns.end[low:high], strict=True)
        if start < end
    ]
    blind = [
        Range(known.start, known.end)
        for known in snapshot.unobservable
        if known.target_id == target_id
    ]
    return tuple(union([*regions, *blind]))


def _column(
    snapshot: Snapshot, target_id: int, ranges: tuple[Range, ...], rows: int
) -> tuple[Cell, ...]:
    where = Extent(
        snapshot.start_ns,
        snapshot.end_ns,
        {target_id: list(ranges)},
        {target.id: target for target in snapshot.targets},
    )
    sums = Accumulator(where, target_id, 1, rows)
    sums.add(snapshot)
    return tuple(Cell(heat, blind) for (heat,), (blind,) in sums.cells())


def _edges(segments: Sequence[Segment]) -> list[Range]:
    return [
        Range(
            one.start + (one.end - one.start) * i // one.rows,
            one.start + (one.end - one.start) * (i + 1) // one.rows,
        )
        for one in segments
        for i in range(one.rows)
    ]


def _names(moment: Moment, target_id: int, edges: Sequence[Range]) -> tuple[str, ...]:
    mappings = moment.mappings.get(target_id, ())
    return tuple(title_of_most(mappings, one.start, one.end) for one in edges)


def name_width(width: int) -> int:
    """Return the columns for names beside a map of this width, the gap included."""
    return max(_LEAST_NAME, min(_MOST_NAME, width // 3))


def map_lines(grid: Grid, width: int, height: int, *, colour: bool) -> list[Line]:
    """
    Return a map of so many lines, highest addresses on top, the newest moment on the right.

    grid: of two rows for each line with colour, of one without. A name stands where it begins; a
    line of dots before cells says that addresses are left out below.
    """
    beside = name_width(width)
    per_line = 2 if colour else 1
    rows = len(grid.ranges)
    folds = {one.first_row for one in grid.segments[1:]}
    lines: list[Line] = []
    before = ""
    for top in range(rows - 1, -1, -per_line):
        below = range(max(0, top + 1 - per_line), top + 1)
        name = grid.names[top] or grid.names[below[0]]
        shown = name if name != before else ""
        before = name
        mark = "┄" if folds & set(below) else " "
        label = (f"{pad(elide(shown, beside - 2), beside - 2)} {mark}", "dim" if not shown else "")
        room = width - beside
        gap = " " * (room - len(grid.columns))
        cells = (
            _halves(grid, top, below[0] if len(below) == 2 else None)
            if colour
            else _shades(grid, top)
        )
        lines.append(fitted([label, (gap, ""), *cells], width))
    return lines[:height]


def _halves(grid: Grid, upper: int, lower: int | None) -> Line:
    line: Line = []
    for column in grid.columns:
        above = _colour(column[upper])
        under = None if lower is None else _colour(column[lower])
        text = " " if above is None and under is None else "▄" if above is None else "▀"
        look = (under, None) if above is None else (above, under)
        if line and line[-1][1] == look and line[-1][0][0] == text:
            line[-1] = (line[-1][0] + text, look)
        else:
            line.append((text, look))
    return line


def _colour(cell: Cell) -> int | None:
    _, look = cell_look(cell)
    return look if isinstance(look, int) else None


def _shades(grid: Grid, row: int) -> Line:
    text = ""
    for column in grid.columns:
        cell = column[row]
        char, _ = cell_look(cell)
        text += char or level(min(1.0, cell.heat or 0.0), SHADES)
    return [(text, "")]


def axis_line(chronicle: Chronicle, at: int, grid: Grid, width: int) -> Line:
    """Return the time axis: the age of the first column, and the time of day of the last."""
    beside = name_width(width)
    moments = chronicle.moments[max(0, at + 1 - len(grid.columns)) : at + 1]
    span_ns = moments[-1].at_ns - moments[0].at_ns
    first = f"{format_duration(round(span_ns / 1e8) * 100_000_000)} before"
    room = width - beside
    text = f"{first:>{max(0, room - len(grid.columns)) + len(first)}}"
    last = time.strftime("%H:%M:%S", time.localtime(moments[-1].at_ns / 1e9))
    if len(text) > room - len(last) - 1:
        text = first if len(first) <= room - len(last) - 1 else ""
    return fitted([(f"{'':{beside}}{pad(text, room - len(last))}{last}", "dim")], width)


def legend_line(width: int, *, colour: bool, idle_is_there: bool = False) -> Line:
    """Return what the cells mean; idle_is_there: as in `Heatmap`."""
    idle = "idle" if idle_is_there else "idle or absent"
    blank = "blank: not in memory" if idle_is_there else "blank: not mapped"
    if not colour:
        told = f" · {idle}  {SHADES} used  ? unknown  {blank}"
        return fitted([(told, "dim")], width)
    line: Line = [(" ", ""), ("█", COLD_COLOUR), (f" {idle}  ", "dim")]
    line += [("█", code) for code in RAMP[::2]]
    line += [(" used  ", "dim"), ("█", UNOBSERVABLE_COLOUR)]
    return fitted([*line, (f" unknown  {blank}", "dim")], width)

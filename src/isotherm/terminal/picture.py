"""A heatmap that fills while it is watched: address upwards, time to the right."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from isotherm.model.ranges import Range
from isotherm.model.snapshot import Snapshot
from isotherm.terminal.cells import COLD_COLOUR, HEIGHTS, RAMP, SHADES, half_blocks, nearest
from isotherm.terminal.output import Painted, in_ascii, joined
from isotherm.terminal.style import Style
from isotherm.units import format_duration, format_size

_COLOURS = (COLD_COLOUR, *RAMP)
_SHADES = f" ·{SHADES}"


class Layout:
    """Areas laid end to end, without the gaps between them, and cut into equal cells."""

    def __init__(self, areas: Sequence[Range], cells: int) -> None:
        self.areas = sorted(areas)
        self.cells = cells
        self.nbytes = sum(area.size for area in self.areas)
        self._starts = [area.start for area in self.areas]
        self._bases = [0, *accumulate(area.size for area in self.areas)]

    def shares(self, start: int, end: int) -> Iterator[tuple[int, float]]:
        """For addresses [start, end): each cell that they cover and the share of it covered."""
        index = max(0, bisect_right(self._starts, start) - 1)
        for area, base in zip(self.areas[index:], self._bases[index:], strict=False):
            low, high = max(start, area.start), min(end, area.end)
            if area.start >= end:
                return
            if low < high:
                yield from self._cut(base + low - area.start, base + high - area.start)

    def _cut(self, low: int, high: int) -> Iterator[tuple[int, float]]:
        step = self.nbytes / self.cells
        for cell in range(int(low / step), min(self.cells, int((high - 1) / step) + 1)):
            covered = min(high, (cell + 1) * step) - max(low, cell * step)
            yield cell, covered / step

    def heat(self, snapshot: Snapshot) -> list[float]:
        """Mean access rate of each cell, 0..1; regions outside the areas are left out."""
        cells = [0.0] * self.cells
        for region, rate in zip(snapshot.regions, snapshot.heats(), strict=True):
            if region.nr_accesses:
                for cell, share in self.shares(region.start, region.end):
                    cells[cell] += rate * share
        return [min(1.0, cell) for cell in cells]

    def covered(self, ranges: Iterable[Range]) -> list[float]:
        """Share of each cell that the ranges cover."""
        cells = [0.0] * self.cells
        for start, end in ranges:
            for cell, share in self.shares(start, end):
                cells[cell] += share
        return cells


class Picture:
    """
    Columns of a fixed time span, cells of address space, the truth as a strip beside them.

    start_ns, duration_ns: the time axis, time of day; rows, columns: size in characters.
    """

    def __init__(
        self,
        areas: Sequence[Range],
        start_ns: int,
        duration_ns: int,
        *,
        rows: int,
        columns: int,
        style: Style,
    ) -> None:
        self.style = style
        self.rows = rows
        self.columns = columns
        # Two colours fit into one character cell, one above the other.
        self.layout = Layout(areas, rows * 2 if self._halves else rows)
        self._start_ns, self._duration_ns = start_ns, duration_ns
        self._sums = [[0.0] * self.layout.cells for _ in range(columns)]
        self._counts = [0] * columns

    @property
    def _halves(self) -> bool:
        return self.style.colour and self.style.unicode

    def _column(self, at_ns: int) -> int:
        column = (at_ns - self._start_ns) * self.columns // self._duration_ns
        return min(self.columns - 1, max(0, column))

    def add(self, snapshot: Snapshot) -> None:
        """Draw a snapshot over the columns of its window."""
        heat = self.layout.heat(snapshot)
        first, last = self._column(snapshot.start_ns), self._column(snapshot.end_ns - 1)
        for column in range(first, last + 1):
            sums = self._sums[column]
            self._sums[column] = [old + new for old, new in zip(sums, heat, strict=True)]
            self._counts[column] += 1

    def lines(self, truth: Iterable[Range]) -> list[str]:
        """The picture, highest addresses first; `truth` is what is hot now."""
        columns = [
            [cell / count for cell in sums] if count else None
            for sums, count in zip(self._sums, self._counts, strict=True)
        ]
        strip = [[min(1.0, cell) for cell in self.layout.covered(truth)]] * 2
        drawn = []
        for row in reversed(range(self.rows)):
            label = format_size(self.layout.nbytes * (row + 1) // self.rows)
            mark = f"{label:>9} " if (self.rows - 1 - row) % 4 == 0 else " " * 10
            drawn.append(joined(mark, self._row(row, columns), " ", self._row(row, strip)))
        return [*drawn, self._axis()]

    def _row(self, row: int, columns: Sequence[Sequence[float] | None]) -> Painted:
        if not self._halves:
            shades = (" " if cells is None else self._shade(cells[row]) for cells in columns)
            return joined("".join(shades))
        upper, lower = (
            [
                None if cells is None else nearest(cells[2 * row + half], _COLOURS)
                for cells in columns
            ]
            for half in (1, 0)
        )
        return half_blocks(upper, lower)

    def _shade(self, heat: float) -> str:
        shade = nearest(heat, _SHADES)
        return shade if self.style.unicode else in_ascii(shade)

    def _axis(self) -> str:
        end = format_duration(self._duration_ns)
        return f"{'':10}0s{end:>{self.columns - 2}} truth"

    def strip(self, heat: Sequence[float]) -> str:
        """One line of cells, lowest address first."""
        if not self.style.unicode:
            return "".join(map(self._shade, heat))
        return "".join(nearest(cell, HEIGHTS) for cell in heat)

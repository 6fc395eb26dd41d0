"""
A heatmap for the terminal: addresses upwards, time to the right, folds marked.

With colour two rows of cells share a line (half blocks, 256 colours); without, each cell is a
shade. Cells that could not be observed look like nothing else on the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from isotherm.analysis.heatmap import Heatmap, Segment
from isotherm.terminal.cells import (
    ABSENT,
    COLD,
    COLD_COLOUR,
    HEIGHTS,
    RAMP,
    SHADES,
    UNOBSERVABLE,
    UNOBSERVABLE_COLOUR,
    half_blocks,
    level,
    nearest_above,
)
from isotherm.terminal.output import joined, paint
from isotherm.terminal.style import Style
from isotherm.terminal.text import elide
from isotherm.units import format_duration, format_size

#: Width of an address and the space after it.
MARGIN = 13
#: Lines for the time axis and the legend.
FOOT = 2
_SMALLEST = (MARGIN + 10, FOOT + 1)


@dataclass(frozen=True, slots=True)
class _Cell:
    """heat 0..1, or None where there is none; blind: the share that could not be observed."""

    heat: float | None
    blind: float

    @property
    def kind(self) -> str:
        """COLD, UNOBSERVABLE, ABSENT or "" for heat."""
        if self.heat is None:
            return UNOBSERVABLE if self.blind else ABSENT
        if self.heat > 0:
            return ""
        return UNOBSERVABLE if self.blind >= 0.5 else COLD

    @property
    def shade(self) -> str:
        return self.kind or level(self.heat or 0.0, SHADES)

    @property
    def colour(self) -> int | None:
        fixed = {COLD: COLD_COLOUR, UNOBSERVABLE: UNOBSERVABLE_COLOUR, ABSENT: None}
        return fixed[self.kind] if self.kind else level(self.heat or 0.0, RAMP)


def plot_size(width: int, height: int, *, colour: bool) -> tuple[int, int]:
    """Return (columns, rows) of a heatmap that `render` shows cell by cell in this space."""
    lines = max(_SMALLEST[1], height) - FOOT
    return max(_SMALLEST[0], width) - MARGIN, lines * (2 if colour else 1)


def render(grid: Heatmap, width: int = 80, height: int = 20, *, colour: bool) -> list[str]:
    """
    Return at most `height` lines of at most `width` cells, but at least one for each segment.

    Folds have a line that says how much is left out; where these would take more than a quarter
    of the lines, a dash after the first address above a fold stands for it. A grid that does not
    fit is averaged, a smaller one is spread over its space. Widths below 23 and heights below 3
    are taken as these.
    """
    columns, _ = plot_size(width, height, colour=colour)
    lines = max(_SMALLEST[1], height) - FOOT
    folds = list(pairwise(grid.segments))
    roomy = 4 * len(folds) <= lines
    shares = _share_lines(grid.segments, max(lines - len(folds) * roomy, len(grid.segments)))
    out: list[str] = []
    for i in reversed(range(len(grid.segments))):
        segment = grid.segments[i]
        cells = _sample(grid, segment, columns, shares[i] * (2 if colour else 1))
        body = _drawn(cells, colour=colour)
        out += _labelled(segment, body, end=" " if roomy or i == 0 else "┄")
        if roomy and i:
            size = segment.start - grid.segments[i - 1].end
            out.append(_fold_line(size, columns, colour=colour))
    return [*out, _time_axis(grid, columns), _legend(colour=colour)]


def _share_lines(segments: Sequence[Segment], lines: int) -> list[int]:
    """Split the lines as the rows are split, at least one line for each segment."""
    rows, spare = sum(s.rows for s in segments), lines - len(segments)
    shares = [1 + spare * s.rows // rows for s in segments]
    largest = max(range(len(segments)), key=lambda i: segments[i].rows)
    shares[largest] += lines - sum(shares)
    return shares


def _sample(grid: Heatmap, segment: Segment, columns: int, rows: int) -> list[list[_Cell]]:
    """Return cells of a segment, highest addresses first, averaged to the wanted size."""
    columns_of = [_slice(grid.columns, i, columns) for i in range(columns)]
    cells = []
    for i in reversed(range(rows)):
        part = _slice(segment.rows, i, rows)
        chosen = range(segment.first_row + part.start, segment.first_row + part.stop)
        cells.append([_mean(grid, chosen, across) for across in columns_of])
    return cells


def _slice(length: int, i: int, parts: int) -> range:
    start = length * i // parts
    return range(start, max(start + 1, length * (i + 1) // parts))


def _mean(grid: Heatmap, rows: range, columns: range) -> _Cell:
    heat = seen = unseen = 0.0
    for row in rows:
        for column in columns:
            value, blind = grid.heat[row][column], grid.unobservable[row][column]
            unseen += blind
            if value is not None:
                heat += value * (1 - blind)
                seen += 1 - blind
    share = unseen / (seen + unseen) if unseen else 0.0
    return _Cell(heat / seen if seen else None, share)


def _drawn(cells: list[list[_Cell]], *, colour: bool) -> list[str]:
    """Return the lines of a segment: two rows on each with colour, one without."""
    if not colour:
        return ["".join(cell.shade for cell in row) for row in cells]
    colours = [[cell.colour for cell in row] for row in cells]
    return [*map(half_blocks, colours[::2], colours[1::2])]


def _labelled(segment: Segment, lines: list[str], *, end: str) -> list[str]:
    """Put the first address and `end` beside the lowest line, the last beside the highest."""
    labels = [""] * len(lines)
    labels[0] = f"{segment.end:x}"
    labels[-1] = f"{segment.start:x}"
    marks = [" "] * (len(lines) - 1) + [end]
    return [
        joined(f"{elide(label, MARGIN - 1):>{MARGIN - 1}}{mark}", line)
        for label, mark, line in zip(labels, marks, lines, strict=True)
    ]


def _fold_line(size: int, columns: int, *, colour: bool) -> str:
    text = f"┄┄ {format_size(size)} not monitored "[:columns].ljust(columns, "┄")
    return joined(" " * MARGIN, paint(text, "2", Style(colour=colour)))


def _time_axis(grid: Heatmap, columns: int) -> str:
    duration = grid.end_ns - grid.start_ns
    middle, last = _seconds(duration / 2), _seconds(duration)
    axis = "0s".ljust(columns - len(last)) + last
    at = columns // 2
    if columns > 40:
        axis = axis[:at] + middle + axis[at + len(middle) :]
    return " " * MARGIN + axis


def _seconds(ns: float) -> str:
    return format_duration(round(ns / 1e7) * 10_000_000)


def _legend(*, colour: bool) -> str:
    if not colour:
        return f"{' ' * MARGIN}{COLD} idle  {SHADES} ..100%  {UNOBSERVABLE} not observable"
    cold, *ramp, blind = (
        paint("█", f"38;5;{code}", Style(colour=True))
        for code in (COLD_COLOUR, *RAMP, UNOBSERVABLE_COLOUR)
    )
    return joined(" " * MARGIN, cold, " idle  ", *ramp, " ..100%  ", blind, " not observable")


def heat_line(grid: Heatmap) -> str:
    """Return one character for each row of a heatmap of one column; "?" is unobservable."""
    line = []
    for (heat, *_), (blind, *_) in zip(grid.heat, grid.unobservable, strict=True):
        kind = _Cell(heat, blind).kind
        dark = kind in (UNOBSERVABLE, ABSENT)
        line.append(kind if dark else nearest_above(heat or 0.0, HEIGHTS))
    return "".join(line)

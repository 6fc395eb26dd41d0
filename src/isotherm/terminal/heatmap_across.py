"""
A heatmap for the terminal: addresses to the right, where there are most cells, time downwards.

Above it stand what the memory is, where it begins, and the mean and the maximum of each column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isotherm.analysis.heatmap import Heatmap
from isotherm.pictures.scale import Kind
from isotherm.terminal.cells import HEIGHTS, nearest_above
from isotherm.terminal.heatmap import short_time
from isotherm.terminal.ink import Ink, halves, part, profile, sampled
from isotherm.terminal.output import joined
from isotherm.terminal.style import PLAIN, Style
from isotherm.terminal.text import columns_of, elide

#: Width of a time and the space after it.
MARGIN = 8
#: Lines beside those of cells: names, addresses, mean, maximum; the legend.
_HEAD, _FOOT = 4, 1
_SMALLEST = (MARGIN + 15, _HEAD + _FOOT + 1)
#: Lines from one time to the next.
_EVERY = 3


def plot_size(width: int, height: int, style: Style) -> tuple[int, int]:
    """Return (columns, rows) of a grid, which are lines and columns of this picture."""
    lines = max(_SMALLEST[1], height) - _HEAD - _FOOT
    return lines * (2 if halves(style) else 1), max(_SMALLEST[0], width) - MARGIN


def render(
    grid: Heatmap,
    width: int = 80,
    height: int = 20,
    style: Style = PLAIN,
    *,
    names: Sequence[str] = (),
    kind: Kind = "log",
) -> list[str]:
    """
    Return at most `height` lines of at most `width` columns.

    names: of the rows of the grid. A grid that does not fit is averaged. Widths below 23 and
    heights below 6 are taken as these.
    """
    times, columns = plot_size(width, height, style)
    rows = [part(grid.rows, i, columns) for i in range(columns)]
    by_address = sampled(grid, rows, times)
    cells = [[column[i] for column in by_address] for i in range(times)]
    shown = (cell for row in cells for cell in row)
    ink = Ink(style, shown, kind, idle_is_there=grid.idle_is_there)
    names_line, addresses = _areas(grid, rows, names)
    lines = [
        joined(" " * MARGIN, names_line),
        joined(" " * MARGIN, addresses),
        *_profiles(grid, rows),
    ]
    body = ink.lines(cells)
    duration = grid.end_ns - grid.start_ns
    for i, line in enumerate(body):
        label = short_time(duration * i / len(body)) if i % _EVERY == 0 else ""
        lines.append(joined(f"{label:>{MARGIN - 1}} ", line))
    return [*lines, ink.legend(width)]


def _profiles(grid: Heatmap, rows: Sequence[range]) -> Iterator[str]:
    """Yield the mean and the maximum over the whole time, as blocks from 0 to 100 %."""
    mean, most = [], []
    for chosen in rows:
        cell, peak = profile(grid, chosen)
        dark = cell.kind if cell.heat is None or cell.kind == "?" else ""
        mean.append(dark or (nearest_above(cell.heat or 0.0, HEIGHTS) if cell.heat else "·"))
        most.append(dark or (nearest_above(peak, HEIGHTS) if peak else "·"))
    yield f"{'mean':>{MARGIN - 1}} {''.join(mean)}"
    yield f"{'maximum':>{MARGIN - 1}} {''.join(most)}"


def _areas(grid: Heatmap, rows: Sequence[range], names: Sequence[str]) -> tuple[str, str]:
    """Return a line of names and one of addresses, each where its memory begins."""
    of_column = [(names[chosen.start] if names else "") for chosen in rows]
    segments = [
        next(i for i, s in enumerate(grid.segments) if chosen.start < s.first_row + s.rows)
        for chosen in rows
    ]
    begins = [
        i
        for i in range(len(rows))
        if not i or (of_column[i], segments[i]) != (of_column[i - 1], segments[i - 1])
    ]
    named, placed = "", ""
    for at, end in zip(begins, [*begins[1:], len(rows)], strict=True):
        room = end - at - 1
        name = elide(of_column[at], room) if room >= 4 else ""
        address = f"{grid.row_ranges[rows[at].start].start:x}"
        named += "|" + name + " " * (room - columns_of(name))
        placed += "|" + (address if len(address) <= room else "").ljust(room)
    return named, placed

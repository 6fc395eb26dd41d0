"""
A heatmap for the terminal: addresses upwards, time to the right, folds marked.

With colour two rows of cells share a line (half blocks); without, each cell is a block as high as
its heat, or a sign. Cells that could not be observed look like nothing else on the picture.
`heatmap_across` has addresses to the right instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from isotherm.analysis.heatmap import Heatmap, Segment
from isotherm.pictures.scale import Kind, percent
from isotherm.terminal.cells import ABSENT, HEIGHTS, UNOBSERVABLE, nearest_above
from isotherm.terminal.ink import Cell, Ink, halves, part, profile, sampled
from isotherm.terminal.output import joined, paint
from isotherm.terminal.style import PLAIN, Style
from isotherm.terminal.text import elide, pad
from isotherm.units import format_duration, format_size

#: Width of an address and the space after it.
MARGIN = 13
#: Width of names, and of mean and maximum, where there is room for them, and when there is.
_NAMES, _RATES, _ROOMY = 16, 10, 60
#: Lines for the time axis and the legend.
FOOT = 2
_SMALLEST = (MARGIN + 10, FOOT + 1)


def plot_size(width: int, height: int, style: Style) -> tuple[int, int]:
    """Return (columns, rows) of a heatmap that `render` shows cell by cell in this space."""
    lines = _lines(width, height)
    return max(_SMALLEST[0], width) - _margin(width), lines * (2 if halves(style) else 1)


def _lines(width: int, height: int) -> int:
    """Return how many lines there are for cells and folds: beside names there is a head."""
    return max(1, max(_SMALLEST[1], height) - FOOT - (width >= _ROOMY))


def _margin(width: int) -> int:
    return MARGIN + (_NAMES + _RATES if width >= _ROOMY else 0)


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
    Return at most `height` lines of at most `width` cells, but at least one for each segment.

    names: of the rows; they, and the mean and the maximum of each line, stand beside it from 60
    columns on. Folds have a line that says how much is left out; where these would take more than
    a quarter of the lines, a dash after the first address above a fold stands for it. A grid that
    does not fit is averaged, a smaller one is spread over its space. Widths below 23 and heights
    below 3 are taken as these.
    """
    columns, _ = plot_size(width, height, style)
    lines = _lines(width, height)
    folds = list(pairwise(grid.segments))
    roomy = 4 * len(folds) <= lines
    shares = _share_lines(grid.segments, max(lines - len(folds) * roomy, len(grid.segments)))
    each = 2 if halves(style) else 1
    rows = [
        _rows(segment, share * each) for segment, share in zip(grid.segments, shares, strict=True)
    ]
    cells = [sampled(grid, chosen, columns) for chosen in rows]
    shown = (cell for part in cells for row in part for cell in row)
    ink = Ink(style, shown, kind, idle_is_there=grid.idle_is_there)
    beside = _margin(width) - MARGIN
    out: list[str] = []
    for i in reversed(range(len(grid.segments))):
        segment = grid.segments[i]
        body = ink.lines(cells[i])
        told = [
            _beside(grid, rows[i][at : at + each], names) for at in range(0, len(rows[i]), each)
        ]
        labels = _labels(segment, len(body), end=" " if roomy or i == 0 else "┄")
        for label, text, line in zip(labels, told, body, strict=True):
            out.append(joined(label, text if beside else "", line))
        if roomy and i:
            size = segment.start - grid.segments[i - 1].end
            out.append(_fold_line(size, _margin(width), columns, style))
    head = [f"{'':{MARGIN}}{'':{_NAMES}}mean  max"] if beside and height > FOOT + 1 else []
    axis = _time_axis(grid, _margin(width), columns)
    return [*head, *out, axis, ink.legend(width)]


def _rows(segment: Segment, parts: int) -> list[range]:
    """Return the rows of each part of a segment, highest addresses first."""
    made = []
    for i in reversed(range(parts)):
        rows = part(segment.rows, i, parts)
        made.append(range(segment.first_row + rows.start, segment.first_row + rows.stop))
    return made


def _beside(grid: Heatmap, rows: Sequence[range], names: Sequence[str]) -> str:
    """Return what stands beside a line: what its memory is, its mean and its maximum."""
    every = range(rows[-1].start, max(rows[0].stop, rows[-1].start + 1))
    mean, most = profile(grid, every)
    name = next((names[row] for row in reversed(every) if row < len(names) and names[row]), "")
    heat = "?" if mean.heat is None else percent(mean.heat)
    top = "?" if mean.heat is None else percent(most)
    if mean.kind == ABSENT:
        heat = top = ""
    return f"{pad(elide(name, _NAMES - 1), _NAMES)}{heat:>4} {top:>4} "


def _share_lines(segments: Sequence[Segment], lines: int) -> list[int]:
    """Split the lines as the rows are split, at least one line for each segment."""
    rows, spare = sum(s.rows for s in segments), lines - len(segments)
    shares = [1 + spare * s.rows // rows for s in segments]
    largest = max(range(len(segments)), key=lambda i: segments[i].rows)
    shares[largest] += lines - sum(shares)
    return shares


def _labels(segment: Segment, lines: int, *, end: str) -> list[str]:
    """Return the last address beside the highest line, the first and `end` beside the lowest."""
    labels = [""] * lines
    labels[0] = f"{segment.end:x}"
    labels[-1] = f"{segment.start:x}"
    marks = [" "] * (lines - 1) + [end]
    return [
        f"{elide(label, MARGIN - 1):>{MARGIN - 1}}{mark}"
        for label, mark in zip(labels, marks, strict=True)
    ]


def _fold_line(size: int, margin: int, columns: int, style: Style) -> str:
    text = f"┄┄ {format_size(size)} not monitored "[:columns].ljust(columns, "┄")
    return joined(" " * margin, paint(text, "2", style))


def _time_axis(grid: Heatmap, margin: int, columns: int) -> str:
    duration = grid.end_ns - grid.start_ns
    middle, last = short_time(duration / 2), short_time(duration)
    axis = "0s".ljust(columns - len(last)) + last
    at = columns // 2
    if columns > 40:
        axis = axis[:at] + middle + axis[at + len(middle) :]
    return " " * margin + axis


def short_time(ns: float) -> str:
    """Return a time of an axis, to 10 ms."""
    return format_duration(round(ns / 1e7) * 10_000_000)


def heat_line(grid: Heatmap) -> str:
    """Return one character for each row of a heatmap of one column; "?" is unobservable."""
    line = []
    for (heat, *_), (blind, *_) in zip(grid.heat, grid.unobservable, strict=True):
        kind = Cell(heat, blind).kind
        dark = kind in (UNOBSERVABLE, ABSENT)
        line.append(kind if dark else nearest_above(heat or 0.0, HEIGHTS))
    return "".join(line)

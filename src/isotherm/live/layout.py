"""
Lines of the live view, for whoever draws or prints them.

A line is spans of text and how each looks: "" as it is, a word of `LOOKS`, the number of one of
the 256 colours, or a pair of them: of the text and of what is behind it. Names come from outside,
and leave here escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from isotherm.analysis.usage import Cell, Figures, strip
from isotherm.errors import escaped
from isotherm.live.chronicle import Chronicle, Moment
from isotherm.live.rows import Row, Wish
from isotherm.terminal.cells import (
    ABSENT,
    COLD,
    HEIGHTS,
    RAMP,
    UNOBSERVABLE,
    UNOBSERVABLE_COLOUR,
    level,
    nearest_above,
)
from isotherm.terminal.text import columns_of, cut, elide, pad
from isotherm.units import format_duration, format_size

Look = str | int | tuple[int | None, int | None]
Span = tuple[str, Look]
Line = list[Span]

LOOKS: Final = ("bold", "dim", "title", "key", "marked", "warning")
#: Colours of the parts of a bar, of idle cells, and of what a bar leaves.
USED_COLOUR, IDLE_COLOUR, COLD_COLOUR = 208, 60, 240
_NARROW, _WIDE = 70, 100
#: Sums of a map of pages that are older than this are told to be.
_S = 1_000_000_000
_LATE_NS = 5 * _S // 2
#: Fewer columns than these have no room for a strip of heat beside the name, or for a trend.
_LEAST_STRIP, _STRIP, _TREND = 6, 12, 8
_MOST_NAME = 48
#: Numbers of processes have seven digits at most.
_PID = 7


def text_of(line: Line) -> str:
    """Return what stands on a line."""
    return "".join(text for text, _ in line)


def fitted(line: Line, width: int) -> Line:
    """Return a line of exactly `width` columns."""
    made: Line = []
    left = width
    for text, look in line:
        part = cut(text, left)
        made.append((part, look))
        left -= columns_of(part)
        if part != text:
            break
    return [*made, (" " * left, "")]


def small(size: int | None) -> str:
    """Return a size in five columns, "64.8M"; "-" where it is not known, or not yet."""
    if size is None:
        return "-"
    number, unit = format_size(size).split()
    return f"{number}{unit[0]}" if size else "0"


def known(size: int | None, figures: Figures) -> str:
    """Return a size; "?" for nothing where most of what is there is unknown."""
    return "?" if size == 0 and 2 * figures.unknown > figures.resident else small(size)


def age(figures: Figures | None) -> str:
    """Return for how long half of the memory was not used, in five columns."""
    if figures is None or figures.age_ns is None:
        return "-"
    if not figures.age_ns:
        return "<0.1s"
    if figures.age_ns < _S:
        return f"{figures.age_ns / _S:.1f}s+"
    hours = figures.age_ns // (3600 * _S)
    return f"{hours}h+" if hours else f"{format_duration(figures.age_ns)}+"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the list: what it is, its title, and how wide it is with the gap before it."""

    what: str
    title: str
    width: int
    right: bool = True


def columns(width: int, wish: Wish) -> list[Column]:
    """Return the columns of the list, which fill a width of 60 or more."""
    window = wish.window_text
    fixed = [
        Column("resident", "RES", 6),
        Column("wss", f"WSS{window}", 7),
        Column("idle", f"IDLE{window}", 8),
        Column("unknown", "UNKN", 6),
        Column("age", "AGE", 6),
    ]
    if width >= _WIDE:
        fixed.insert(1, Column("mapped", "MAPPED", 7))
    left = width - _PID - sum(column.width for column in fixed)
    trend = 0 if width < _NARROW else min(30, max(_TREND, left // 5))
    beside = left - (trend + 1 if trend else 0) - 1
    named = beside - (_STRIP if trend else _LEAST_STRIP)
    if width >= _WIDE:
        named = min(_MOST_NAME, left // 3)
    heat = beside - named
    made = [Column("pid", "PID", _PID), Column("name", " NAME", named, right=False), *fixed]
    if trend:
        made.append(Column("trend", " TREND", trend + 1, right=False))
    title = " HEAT by address" if heat > 15 else " HEAT"
    return [*made, Column("heat", title, heat + 1, right=False)]


def titles(shown: Sequence[Column], wish: Wish) -> Line:
    """Return the titles; that of the order is marked."""
    return [
        (
            pad(cut(column.title, column.width), column.width, right=column.right),
            "key" if column.what == wish.sort else "title",
        )
        for column in shown
    ]


def row_line(row: Row, shown: Sequence[Column], wish: Wish, chronicle: Chronicle, at: int) -> Line:
    """Return the line of a row. at: the place of the moment."""
    line: Line = []
    figures = row.figures
    window = wish.window
    sizes = {
        "pid": "" if row.pid is None else str(row.pid),
        "resident": small(row.resident if figures is None else figures.resident),
        "mapped": small(row.mapped),
        "wss": "-" if figures is None else known(figures.used[window], figures),
        "idle": "-" if figures is None else known(figures.idle[window], figures),
        "unknown": small(None if figures is None else figures.unknown),
        "age": age(figures),
    }
    for column in shown:
        room = column.width - 1
        if column.what == "name":
            if row.is_group:
                line[-1] = (pad(_group_name(row, _PID + room), _PID + room + 1), "bold")
            else:
                line.append((f" {pad(elide('  ' * row.depth + row.name, room), room)}", ""))
        elif column.what == "trend":
            line.append((" ", ""))
            line += trend_spans(chronicle.trend(row.key, window, at, room), room)
        elif column.what == "heat":
            line.append((" ", ""))
            line += _strip(row, chronicle.moments[at], room)
        else:
            look = UNOBSERVABLE_COLOUR if column.what == "unknown" else ""
            line.append((pad(sizes[column.what], column.width, right=True), look))
    return line


def _group_name(row: Row, room: int) -> str:
    sign, count = "-" if row.open else "+", f" ({row.members})"
    return f" {sign} {elide(row.name, room - 3 - len(count))}{count}"


def trend_spans(values: Sequence[int | None], room: int) -> Line:
    """Return a line of bars, newest last, in proportion to the highest; blank: not known."""
    most = max([1, *(value for value in values if value is not None)])
    bars = [
        " " if value is None else nearest_above(value / most, HEIGHTS) for value in values[-room:]
    ]
    return [(" " * (room - len(bars)) + "".join(bars), USED_COLOUR)]


def _strip(row: Row, moment: Moment, room: int) -> Line:
    if row.index is None:
        return bar_spans(row.figures, room)
    cells = strip(moment.snapshot, row.index, room)
    return [*cell_spans(cells), (" " * (room - len(cells)), "")]


def cell_spans(cells: Iterable[Cell]) -> Line:
    """Return a character for each cell, as high as it is hot; "·" is idle, "?" unknown."""
    line: Line = []
    for cell in cells:
        char, look = cell_look(cell)
        span = (char or nearest_above(cell.heat or 0.0, HEIGHTS), look)
        if line and line[-1][1] == span[1]:
            line[-1] = (line[-1][0] + span[0], look)
        else:
            line.append(span)
    return line


def cell_look(cell: Cell) -> tuple[str, Look]:
    """Return the character of a cell that is not hot, "" for heat, and the colour of either."""
    if cell.heat is None:
        return (UNOBSERVABLE, UNOBSERVABLE_COLOUR) if cell.blind else (ABSENT, "")
    if cell.heat > 0:
        return "", level(min(1.0, cell.heat), RAMP)
    return (UNOBSERVABLE, UNOBSERVABLE_COLOUR) if cell.blind >= 0.5 else (COLD, COLD_COLOUR)


def bar_spans(figures: Figures | None, room: int) -> Line:
    """Return a bar of what is resident: used "█", idle "░" within 10 s, "?" unknown."""
    if figures is None or not figures.resident:
        return [(" " * room, "")]
    used = next((size for size in figures.used[1::-1] if size is not None), 0)
    idle = max(0, figures.resident - used - figures.unknown)
    counts = _shares([used, idle, figures.unknown], room)
    parts = zip("█░?", counts, (USED_COLOUR, IDLE_COLOUR, UNOBSERVABLE_COLOUR), strict=True)
    return [(char * count, look) for char, count, look in parts]


def _shares(sizes: Sequence[int], cells: int) -> list[int]:
    """Split cells in proportion to sizes; what is more than nothing has one of its own."""
    whole = max(1, sum(sizes))
    shares = [max(int(size > 0), round(cells * size / whole)) for size in sizes]
    while sum(shares) != cells and any(shares):
        largest = max(range(len(shares)), key=lambda i: shares[i])
        shares[largest] += 1 if sum(shares) < cells else -1
    return shares


def as_of(moment: Moment) -> str:
    """Return how old the figures of a moment are, "" where that is no matter."""
    late_ns = moment.at_ns - moment.usage.at_ns
    return format_duration(round(late_ns / _S) * _S) if late_ns >= _LATE_NS else ""


def _totals(figures: Figures, wish: Wish, labels: Sequence[str], old: str) -> Line:
    window = wish.window_text
    resident, idle, unknown, as_of_ = (
        label.format(text) for label, text in zip(labels, ("", window, "", old), strict=True)
    )
    line: Line = [
        (f" {resident} {small(figures.resident)}", "bold"),
        (f"  used {window} {known(figures.used[wish.window], figures)}", USED_COLOUR),
        (f"  {idle} {known(figures.idle[wish.window], figures)}", IDLE_COLOUR),
        (f"  {unknown} {small(figures.unknown)}", UNOBSERVABLE_COLOUR),
    ]
    return [*line, (as_of_, "dim")] if old else line


def totals_line(moment: Moment, wish: Wish, width: int) -> Line:
    """Return what all is made of: used, idle and unknown, and a bar of it."""
    figures = moment.usage.total
    old = as_of(moment)
    # Whatever the width, figures are never shown without how old they are.
    labels = ("resident", "idle {}", "unknown", "  as of {} ago")
    for labels_ in (
        labels,
        ("res", "idle {}", "unkn", "  {} ago"),
        ("res", "idle", "?", " {} ago"),
    ):
        line = _totals(figures, wish, labels_, old)
        if columns_of(text_of(line)) <= width:
            break
    room = width - columns_of(text_of(line)) - 3
    if room >= 5:
        line.append(("  ", ""))
        line += bar_spans(figures, room)
    return fitted(line, width)


def parts_that_fit(parts: Sequence[str], width: int) -> str:
    """Return as many of the parts as fit beside each other, the first ones at any rate."""
    line = ""
    for part in parts:
        longer = f"{line}  {part}" if line else f" {part}"
        if line and columns_of(longer) > width:
            break
        line = longer
    return cut(escaped(line), width)


def keys_line(keys: Sequence[tuple[str, str]], width: int) -> Line:
    """Return keys and what they do, as many as fit."""
    line: Line = []
    room = width
    for key, does in keys:
        size = len(key) + len(does) + 3
        if size > room:
            break
        line += [(f" {key}", "key"), (f" {does} ", "dim")]
        room -= size
    return fitted(line, width)

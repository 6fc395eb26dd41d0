"""A heat map as a figure: axes, names beside it, mean and maximum of each row, and a legend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

from isotherm.analysis.heatmap import Heatmap
from isotherm.errors import BadValueError
from isotherm.model.ranges import PAGE
from isotherm.pictures.axis import exact_time, ticks_of_time
from isotherm.pictures.canvas import Anchor, Canvas, Png, Svg
from isotherm.pictures.glyphs import fitted, width_of
from isotherm.pictures.palette import IDLE, RGB, STEPS, UNKNOWN, heat_colour, heat_colours
from isotherm.pictures.scale import Kind, Scale, percent, scale_of
from isotherm.units import format_duration, format_size

#: Size of a figure in units, and of what is drawn in it. A cell of the map is one unit.
WIDTH, HEIGHT = 1030, 620
LEFT, TOP = 118, 74
COLUMNS, ROWS = 640, 450
_STRIPS, _STRIP = 14, 16
_NAMES = LEFT + COLUMNS + 2 * (_STRIPS + _STRIP) + 12
GROUND: Final[RGB] = (255, 255, 255)
INK: Final[RGB] = (28, 28, 36)
GREY: Final[RGB] = (106, 108, 122)
LINE: Final[RGB] = (198, 200, 210)
#: Lines where memory is left out are so far from each other at least.
_APART: Final = 4
#: Endings of files, and what draws them.
FORMATS: Final[dict[str, Callable[[int, int, RGB], Canvas]]] = {".png": Png, ".svg": Svg}


def heat_figure(
    grid: Heatmap, names: Sequence[str], suffix: str, *, kind: Kind = "log", note: str = ""
) -> bytes:
    """
    Return a file of this ending.

    grid: of `COLUMNS` x `ROWS` cells, or any other; names: of its rows; note: of which part it is.
    """
    if suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise BadValueError(f"a heat map cannot be drawn as {suffix}", hint=f"as {known}")
    canvas = FORMATS[suffix](WIDTH, HEIGHT, GROUND)
    heats = [value for row in grid.heat for value in row]
    figure = _Figure(canvas, grid, names, scale_of(heats, 64, kind), kind)
    figure.title(note)
    figure.map()
    figure.strips()
    figure.addresses()
    figure.names_beside()
    figure.times()
    figure.legend()
    return canvas.data()


@dataclass(frozen=True, slots=True)
class _Run:
    """Rows [first, last) of one name, within one segment."""

    name: str
    first: int
    last: int


class _Figure:
    def __init__(
        self, canvas: Canvas, grid: Heatmap, names: Sequence[str], scale: Scale, kind: Kind
    ) -> None:
        self.canvas, self.grid, self.names = canvas, grid, names
        self.scale, self.kind = scale, kind
        self._row = ROWS / grid.rows

    def _y(self, row: float) -> float:
        """Return where a row begins: its lower side."""
        return TOP + ROWS - row * self._row

    def title(self, note: str) -> None:
        grid = self.grid
        mapped = sum(row.size for row in grid.row_ranges)
        gaps = sum(b.start - a.end for a, b in pairwise(grid.segments))
        facts = [
            "heat by address and time",
            format_duration(round((grid.end_ns - grid.start_ns) / 1e7) * 10_000_000),
            note or f"{format_size(mapped)}",
        ]
        if gaps:
            facts.append(f"gaps of {format_size(gaps)} left out")
        title = fitted(grid.target.title, WIDTH - LEFT - 24, "title")
        self.canvas.text(LEFT, 34, title, INK, face="title")
        self.canvas.text(LEFT, 55, " · ".join(facts), GREY)

    def map(self) -> None:
        """Draw all cells, and what is unknown over them."""
        rows = [
            b"".join(
                bytes(self._colour(heat, blind)) for heat, blind in zip(heats, blinds, strict=True)
            )
            for heats, blinds in zip(
                reversed(self.grid.heat), reversed(self.grid.unobservable), strict=True
            )
        ]
        self.canvas.cells(LEFT, TOP, COLUMNS, ROWS, rows)
        for x, y, width, height in self._unknown():
            self.canvas.striped(x, y, width, height)

    def _colour(self, heat: float | None, blind: float) -> RGB:
        if heat is None:
            return GROUND
        if heat > 0:
            return heat_colour(self.scale.place(heat))
        return GROUND if blind >= 0.5 else IDLE

    def _unknown(self) -> Iterator[tuple[float, float, float, float]]:
        """Yield rectangles of what is unknown: as few as rows that are alike make."""
        width = COLUMNS / self.grid.columns
        runs = [
            _runs([
                blind > 0 and (heat is None or (not heat and blind >= 0.5))
                for heat, blind in zip(*rows, strict=True)
            ])
            for rows in zip(self.grid.heat, self.grid.unobservable, strict=True)
        ]  # fmt: skip
        row = 0
        for alike, group in groupby(runs):
            count = len(list(group))
            for first, last in alike:
                yield (
                    LEFT + first * width,
                    self._y(row + count),
                    (last - first) * width,
                    count * self._row,
                )
            row += count

    def strips(self) -> None:
        """Draw the mean and the maximum of each row over the whole time."""
        for number, (label, of_row) in enumerate((("mean", self._mean), ("max", self._peak))):
            x = LEFT + COLUMNS + _STRIPS + number * (_STRIP + _STRIPS)
            colours = [bytes(of_row(row)) for row in reversed(range(self.grid.rows))]
            self.canvas.cells(x, TOP, _STRIP, ROWS, colours)
            self.canvas.text(x + _STRIP / 2, TOP - 7, label, GREY, "middle")

    def _mean(self, row: int) -> RGB:
        known = [heat for heat in self.grid.heat[row] if heat is not None]
        return self._of_strip(row, sum(known) / len(known) if known else None)

    def _peak(self, row: int) -> RGB:
        seen = any(heat is not None for heat in self.grid.heat[row])
        return self._of_strip(row, max(self.grid.peak[row]) if seen else None)

    def _of_strip(self, row: int, heat: float | None) -> RGB:
        """Return the colour of a row: too narrow for stripes, where it is unknown."""
        hidden = sum(self.grid.unobservable[row])
        there = sum(
            heat is not None or blind > 0
            for heat, blind in zip(self.grid.heat[row], self.grid.unobservable[row], strict=True)
        )
        if hidden and not heat and (heat is None or 2 * hidden >= there):
            return UNKNOWN[0]
        return self._colour(heat, 0)

    def addresses(self) -> None:
        """Write addresses where segments begin and end, and a line where memory is left out."""
        free = float("inf")  # above what is written already
        line = free  # the last one
        for i, segment in enumerate(self.grid.segments):
            low, high = self._y(segment.first_row), self._y(segment.first_row + segment.rows)
            # Of many small pieces side by side lines would hide the memory.
            if i and low <= line - _APART:
                rows = min(segment.rows, self.grid.segments[i - 1].rows)
                thick = 1.5 if rows * self._row > _APART else 0.5
                self.canvas.rect(LEFT - 6, low - thick / 2, COLUMNS + 6, thick, GROUND)
                line = low
            places = [(low, segment.start), (high + 8, segment.end)]
            steps = int((low - high) // 90)
            size = segment.end - segment.start
            places[1:1] = [
                (low - (low - high) * n / steps + 4, (segment.start + size * n // steps) & -PAGE)
                for n in range(1, steps)
            ]
            for y, address in places:
                if y <= free - 12:
                    self.canvas.text(LEFT - 8, y, f"{address:x}", GREY, "end")
                    free = y

    def names_beside(self) -> None:
        """Write what the memory is, the largest first as far as there is room."""
        taken: list[float] = []
        runs = sorted(self._named(), key=lambda run: run.first - run.last)
        for run in runs:
            low, high = self._y(run.first), self._y(run.last)
            middle = min(max((low + high) / 2 + 4, TOP + 9), TOP + ROWS)
            if any(abs(middle - other) < 13 for other in taken):
                continue
            taken.append(middle)
            self._bracket(high, low)
            rows = self.grid.row_ranges[run.first : run.last]
            size = format_size(sum(row.size for row in rows))
            room = WIDTH - _NAMES - 12
            if low - high >= 30:
                self.canvas.text(_NAMES, middle - 6, fitted(run.name, room), INK)
                self.canvas.text(_NAMES, middle + 8, size, GREY)
                taken += [middle - 7, middle + 7]
            else:
                name = fitted(run.name, room - width_of(size) - 8)
                self.canvas.text(_NAMES, middle, name, INK)
                self.canvas.text(_NAMES + width_of(name) + 8, middle, size, GREY)

    def _bracket(self, high: float, low: float) -> None:
        self.canvas.rect(_NAMES - 7, high + 1, 2, max(1.0, low - high - 2), LINE)

    def _named(self) -> Iterator[_Run]:
        for segment in self.grid.segments:
            first = segment.first_row
            for name, rows in groupby(self.names[first : first + segment.rows]):
                count = len(list(rows))
                if name:
                    yield _Run(name, first, first + count)
                first += count

    def times(self) -> None:
        duration = self.grid.end_ns - self.grid.start_ns
        bottom = TOP + ROWS
        for at in ticks_of_time(duration, 8):
            x = LEFT + COLUMNS * at / duration
            self.canvas.rect(x - 0.5, bottom, 1, 5, LINE)
            anchor: Anchor = "middle" if x < LEFT + COLUMNS - 12 else "end"
            self.canvas.text(x, bottom + 18, exact_time(at), GREY, anchor if at else "start")

    def legend(self) -> None:
        """Draw the scale with the rates that its places stand for, and what is no heat."""
        y, x, width = TOP + ROWS + 46, LEFT, 300
        self.canvas.text(x, y + 11, "share of samples that found an access", GREY)
        x += round(width_of("share of samples that found an access")) + 14
        self.canvas.cells(x, y, width, 14, [b"".join(map(bytes, heat_colours()))])
        for n, text in self._ticks():
            anchor: Anchor = "start" if n == 0 else "end" if n == 4 else "middle"
            self.canvas.text(x + width * n / 4, y + 27, text, GREY, anchor)
        if self.kind == "quantile":
            self.canvas.text(LEFT, y + 27, "steps hold equally many cells", GREY)
        x += width + 22
        idle = "idle" if self.grid.idle_is_there else "idle or absent"
        blank = "not in memory" if self.grid.idle_is_there else "not mapped"
        for label, ground in ((idle, IDLE), ("unknown", None), (blank, GROUND)):
            self._swatch(x, y, label, ground)
            x += 26 + round(width_of(label)) + 12

    def _ticks(self) -> Iterator[tuple[int, str]]:
        """Yield quarters of the scale and their rates, each rate once: where it begins."""
        told = set()
        for n in range(5):
            heat = self.scale.heat_at(min(n / 4, 1 - 1 / STEPS / 4)) if n < 4 else self.scale.most
            text = percent(heat) if heat else ">0%"
            if text not in told:
                told.add(text)
                yield n, text

    def _swatch(self, x: float, y: float, label: str, ground: RGB | None) -> None:
        """Draw a colour of no heat, stripes for None, and what it stands for."""
        self.canvas.rect(x, y, 20, 14, LINE)
        if ground is None:
            self.canvas.striped(x + 0.5, y + 0.5, 19, 13)
        else:
            self.canvas.rect(x + 0.5, y + 0.5, 19, 13, ground)
        self.canvas.text(x + 26, y + 11, label, GREY)


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Return where runs of what is true begin and end."""
    found, at = [], 0
    for flag, group in groupby(flags):
        count = len(list(group))
        if flag:
            found.append((at, at + count))
        at += count
    return found

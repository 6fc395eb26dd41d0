"""Cells of heat maps, and how a terminal of a given style draws them: the scale and its legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isotherm.analysis.heatmap import Heatmap
from isotherm.pictures.scale import Kind, Scale, percent, scale_of
from isotherm.terminal.cells import (
    ABSENT,
    COLD,
    COLD_COLOUR,
    HEIGHTS,
    UNOBSERVABLE,
    UNOBSERVABLE_COLOUR,
    Colour,
    half_blocks,
    ramp,
    sgr,
)
from isotherm.terminal.output import joined, paint
from isotherm.terminal.style import Style

#: Steps where there are no blocks: each darker than the one before, none that says idle.
_ASCII = ":-=+*#%@"


@dataclass(frozen=True, slots=True)
class Cell:
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


class Ink:
    """How cells are drawn: in colours, two a character, or by blocks as high as the heat."""

    def __init__(
        self,
        style: Style,
        cells: Iterable[Cell],
        kind: Kind = "log",
        *,
        idle_is_there: bool = False,
    ) -> None:
        """idle_is_there: as in `Heatmap`."""
        shown = list(cells)
        self.style = style
        self._idle = " idle" if idle_is_there else " idle or absent"
        self._blank = "blank: not in memory" if idle_is_there else "blank: not mapped"
        self._absent = any(cell.kind == ABSENT for cell in shown)
        self.halves = halves(style)
        self.steps: Sequence[Colour | str]
        if self.halves:
            self.steps = ramp(deep=style.deep)
        else:
            self.steps = HEIGHTS if style.unicode else _ASCII
        self.kind = kind
        self.scale: Scale = scale_of((cell.heat for cell in shown), len(self.steps), kind)

    def shade(self, cell: Cell) -> str:
        """Return the character of a cell."""
        return cell.kind or str(self.steps[self.scale.step(cell.heat or 0.0)])

    def colour(self, cell: Cell) -> Colour | None:
        """Return the colour of a cell, None for none."""
        fixed = {COLD: COLD_COLOUR, UNOBSERVABLE: UNOBSERVABLE_COLOUR, ABSENT: None}
        if cell.kind:
            return fixed[cell.kind]
        step = self.steps[self.scale.step(cell.heat or 0.0)]
        return step if not isinstance(step, str) else None

    def lines(self, cells: list[list[Cell]]) -> list[str]:
        """Return rows of cells as lines: two rows on each with colour, one without."""
        if not self.halves:
            return ["".join(map(self.shade, row)) for row in cells]
        colours = [[self.colour(cell) for cell in row] for row in cells]
        return [*map(half_blocks, colours[::2], colours[1::2])]

    def legend(self, width: int) -> str:
        """Return from which heat on each step is drawn: of as many steps as there is room for."""
        used = list({percent(bound): (i, bound) for i, bound in self.scale.used()}.values())
        for count in range(min(len(used), 8), 1, -1):
            told = [used[round(i * (len(used) - 1) / (count - 1))] for i in range(count)]
            items = self._items(told)
            if sum(len(text) + 3 for _, text in items) - 2 <= width:
                break
        else:
            items = self._items(used[-1:])
        first, *others = [joined(mark, text) for mark, text in items]
        return joined(first, *(part for item in others for part in ("  ", item)))

    def _items(self, steps: Sequence[tuple[int, float]]) -> list[tuple[str, str]]:
        """Return marks and what they stand for."""
        heat = [
            (self._sample(self.steps[i]), f" {percent(bound)}" if bound else " >0%")
            for i, bound in steps
        ]
        items = [(self._sample(COLD_COLOUR, COLD), self._idle), *heat]
        items.append((self._sample(UNOBSERVABLE_COLOUR, UNOBSERVABLE), " unknown"))
        return [*items, ("", self._blank)] if self._absent else items

    def _sample(self, step: Colour | str, shade: str = "") -> str:
        if not self.halves:
            return shade or str(step)
        return paint("█", "" if isinstance(step, str) else sgr(38, step), self.style)


def halves(style: Style) -> bool:
    """Whether two cells fit into a character, one above the other."""
    return style.colour and style.unicode


def mean_of(cells: Iterable[tuple[float | None, float]]) -> Cell:
    """Return the mean of cells, each of its heat and its unobservable share."""
    heat = seen = unseen = 0.0
    for value, blind in cells:
        unseen += blind
        if value is not None:
            heat += value * (1 - blind)
            seen += 1 - blind
    return Cell(heat / seen if seen else None, unseen / (seen + unseen) if unseen else 0.0)


def part(length: int, i: int, parts: int) -> range:
    """Return which of `length` items are in part `i`, at least one."""
    start = length * i // parts
    return range(start, max(start + 1, length * (i + 1) // parts))


def sampled(grid: Heatmap, rows: Sequence[range], columns: int) -> list[list[Cell]]:
    """Return the mean of each of these rows of a grid, in so many columns."""
    columns_of = [part(grid.columns, i, columns) for i in range(columns)]
    return [
        [
            mean_of(
                (grid.heat[row][at], grid.unobservable[row][at]) for row in chosen for at in across
            )
            for across in columns_of
        ]
        for chosen in rows
    ]


def profile(grid: Heatmap, rows: range) -> tuple[Cell, float]:
    """Return the mean over some rows and the whole time, and the highest rate in them."""
    mean = mean_of(
        pair for row in rows for pair in zip(grid.heat[row], grid.unobservable[row], strict=True)
    )
    return mean, max(max(grid.peak[row]) for row in rows)

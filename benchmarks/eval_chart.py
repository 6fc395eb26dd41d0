"""Bars in groups, drawn with what isotherm draws its own pictures with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isotherm.pictures.canvas import Svg
from isotherm.pictures.glyphs import fitted, width_of
from isotherm.pictures.heat_figure import GREY, GROUND, INK, LINE
from isotherm.pictures.palette import RGB

WIDTH, LEFT, RIGHT, TOP = 900, 110, 70, 66
BAR, GAP = 12, 10
#: Of series, in their order; they differ in lightness, too.
COLOURS: tuple[RGB, ...] = ((150, 156, 170), (72, 18, 134), (226, 84, 64), (246, 170, 60))
BAND: RGB = (232, 234, 240)
#: Round steps of an axis, of which the largest that gives few enough ticks is taken.
_STEPS = [m * 10**n for n in range(-2, 6) for m in (1, 2, 5)]


@dataclass(frozen=True)
class Group:
    """name; values, one for each series, None where there is none; band: noise either way."""

    name: str
    values: Sequence[float | None]
    band: float = 0.0


def bars(title: str, note: str, series: Sequence[str], groups: Sequence[Group]) -> bytes:
    """Return an SVG; note: what is drawn, and its unit."""
    rows = len(series)
    height = TOP + len(groups) * (rows * BAR + GAP) + 40
    canvas = Svg(WIDTH, height, GROUND)
    canvas.text(LEFT, 24, title, INK, face="title")
    canvas.text(LEFT, 42, note, GREY)
    _legend(canvas, series)
    known = [value for group in groups for value in group.values if value is not None]
    bands = [edge for group in groups for edge in (group.band, -group.band)]
    low, high = min([0.0, *known, *bands]), max([1e-9, *known, *bands])
    across = (WIDTH - LEFT - RIGHT) / (high - low)

    def x_of(value: float) -> float:
        return LEFT + (value - low) * across

    bottom = TOP + len(groups) * (rows * BAR + GAP)
    for tick in _ticks(low, high):
        canvas.rect(x_of(tick) - 0.25, TOP - 4, 0.5, bottom - TOP + 4, LINE)
        canvas.text(x_of(tick), bottom + 14, f"{tick:,g}", GREY, "middle")
    for number, group in enumerate(groups):
        top = TOP + number * (rows * BAR + GAP)
        if group.band:
            canvas.rect(x_of(-group.band), top - 2, 2 * group.band * across, rows * BAR + 4, BAND)
        name = fitted(group.name, LEFT - 16)
        canvas.text(LEFT - 8, top + rows * BAR / 2 + 4, name, INK, "end")
        for row, value in enumerate(group.values):
            if value is None:
                continue
            begin, end = sorted((x_of(0), x_of(value)))
            y = top + row * BAR
            canvas.rect(begin, y + 1, max(1.0, end - begin), BAR - 2, COLOURS[row])
            canvas.text(end + 4, y + BAR - 2, f"{value:,.3g}", GREY)
    canvas.rect(x_of(0) - 0.5, TOP - 4, 1, bottom - TOP + 4, GREY)
    return canvas.data()


def _legend(canvas: Svg, series: Sequence[str]) -> None:
    x = float(LEFT)
    for number, label in enumerate(series):
        canvas.rect(x, 49, 10, 9, COLOURS[number])
        canvas.text(x + 14, 58, label, INK)
        x += 14 + width_of(label) + 18


def _ticks(low: float, high: float) -> list[float]:
    step = next((one for one in _STEPS if (high - low) / one <= 8), _STEPS[-1])
    first, last = int(low // step), int(high // step)
    return [number * step for number in range(first + (first * step < low), last + 1)]

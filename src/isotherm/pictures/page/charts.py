"""Curves of a page, as SVG within it: one or more lines, each with what it lies between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import NamedTuple

from isotherm.pictures.axis import exact_time, ticks_of_time
from isotherm.pictures.page.heat import text
from isotherm.units import format_duration, format_size

_WIDTH, _HEIGHT = 560, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 14, 12, 26


class Point(NamedTuple):
    """A time in ns, a value there, and its least and most; the value itself where it is exact."""

    at: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """A curve. points: by time; dots: whether each of them is marked, with what it says."""

    name: str
    points: Sequence[Point]
    dots: bool = False


Spelled = Callable[[float], str]


def size_text(value: float) -> str:
    """Return bytes as people write them."""
    return format_size(round(value))


def share_text(value: float) -> str:
    """Return a share in percent."""
    return f"{100 * value:.3g}%"


def chart(
    title: str, about: str, lines: Sequence[Line], *, logarithmic: bool = False,
    spelled: Spelled = size_text,
) -> str:  # fmt: skip
    """
    Return a figure.

    logarithmic: of time, for lengths of time rather than the course of it; spelled: how values are
    written. What stands in names is escaped.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    plot = _Plot(lines, logarithmic=logarithmic, spelled=spelled)
    parts = [*plot.grid(), *plot.times()]
    for number, line in enumerate(lines):
        parts += plot.curve(min(number, 2), line)
    if len(lines) > 1:
        parts += plot.keys([line.name for line in lines])
    label = text(f"{title}: {about}")
    return (
        f"<figure><figcaption>{text(title)} <small>{text(about)}</small></figcaption>"
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg></figure>"
    )


class _Plot:
    def __init__(self, lines: Sequence[Line], *, logarithmic: bool, spelled: Spelled) -> None:
        self.logarithmic, self.spelled = logarithmic, spelled
        self.top = _TOP + (16 * len(lines) if len(lines) > 1 else 0)
        times = [point.at for line in lines for point in line.points]
        self.first = max(1, min(times)) if logarithmic else 0
        self.last = max(*times, self.first + 1)
        most = max(point.high for line in lines for point in line.points)
        self.step = _round_step(most / 4 if most else 1.0, binary=spelled is size_text)
        self.most = self.step * max(1, -(-most // self.step))

    def x(self, at: float) -> float:
        if self.logarithmic:
            wide = log10(self.last / self.first) or 1.0
            share = log10(max(at, self.first) / self.first) / wide
        else:
            share = at / self.last
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * share

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - self.top - _BOTTOM) * value / self.most

    def grid(self) -> list[str]:
        made, right = [], _WIDTH - _RIGHT
        for n in range(round(self.most / self.step) + 1):
            y = self.y(n * self.step)
            label = self.spelled(n * self.step) if n else "0"
            made.append(
                f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text(label)}</text>'
            )
        return made

    def times(self) -> list[str]:
        if self.logarithmic:
            ticks = [at for at in _DECADES if self.first <= at <= self.last]
        else:
            ticks = ticks_of_time(self.last, 7)
        made = []
        for at in ticks:
            x = self.x(at)
            anchor = "end" if x > _WIDTH - _RIGHT - 12 else "middle"
            made.append(
                f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">'
                f"{exact_time(at)}</text>"
            )
        return made

    def curve(self, number: int, line: Line) -> list[str]:
        points = line.points
        places = [f"{self.x(p.at):.1f},{self.y(p.value):.1f}" for p in points]
        made = []
        if any(p.low != p.high for p in points):
            upper = [f"{self.x(p.at):.1f},{self.y(p.high):.1f}" for p in points]
            lower = [f"{self.x(p.at):.1f},{self.y(p.low):.1f}" for p in reversed(points)]
            made.append(f'<polygon class="band{number}" points="{" ".join(upper + lower)}"/>')
        made.append(f'<polyline class="line{number}" points="{" ".join(places)}"/>')
        if line.dots or len(points) == 1:
            made += [
                f'<circle class="dot{number}" cx="{self.x(p.at):.1f}" cy="{self.y(p.value):.1f}" '
                f'r="3.5"><title>{text(self._said(p))}</title></circle>'
                for p in points
            ]
        return made

    def _said(self, point: Point) -> str:
        said = f"{format_duration(point.at)}: {self.spelled(point.value)}"
        if point.low != point.high:
            said += f" ({self.spelled(point.low)} to {self.spelled(point.high)})"
        return said

    def keys(self, names: Sequence[str]) -> list[str]:
        made = []
        for number, name in enumerate(names):
            y, kind = _TOP + 16 * number, min(number, 2)
            made.append(
                f'<line class="line{kind}" x1="{_LEFT + 10}" x2="{_LEFT + 32}" y1="{y}" y2="{y}"/>'
                f'<text class="key" x="{_LEFT + 38}" y="{y + 4}">{text(name)}</text>'
            )
        return made


_S = 1_000_000_000
_DECADES = (
    _S // 1000, _S // 100, _S // 10, _S, 10 * _S, 60 * _S, 600 * _S, 3600 * _S, 36_000 * _S,
    86_400 * _S,
)  # fmt: skip


def _round_step(least: float, *, binary: bool) -> float:
    """Return a round number of at least `least`: 1, 2 or 5 of a power of ten, or of 1024."""
    unit = 1.0
    while binary and least / unit >= 1024:
        unit *= 1024
    scaled = least / unit
    power = 10.0 ** floor(log10(scaled)) if scaled > 0 else 1.0
    return next(m for m in (1, 2, 5, 10) if m * power >= scaled * (1 - 1e-9)) * power * unit

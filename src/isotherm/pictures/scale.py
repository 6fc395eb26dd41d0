"""Which step of a scale a heat is drawn with: of equal ratio, width, or number of cells."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["log", "quantile", "linear"]
KINDS: Final[tuple[Kind, ...]] = ("log", "quantile", "linear")
#: What a logarithmic scale spans: three decades below the highest heat.
_SPAN = 1000


@dataclass(frozen=True, slots=True)
class Scale:
    """
    Steps of heat above 0.

    bounds: the least heat of each step, ascending; the first is 0. most: the highest heat that is
    drawn. Steps of the same bound are one: the highest of them.
    """

    bounds: tuple[float, ...]
    most: float

    def step(self, heat: float) -> int:
        """Return the number of the step of a heat above 0."""
        return max(0, bisect_right(self.bounds, heat) - 1)

    def place(self, heat: float) -> float:
        """Return where on the scale a heat is, 0..1, between two bounds in proportion."""
        if heat >= self.most:
            return 1.0
        step = self.step(heat)
        low = self.bounds[step]
        high = self.bounds[step + 1] if step + 1 < len(self.bounds) else self.most
        return (step + (heat - low) / (high - low if high > low else 1.0)) / len(self.bounds)

    def heat_at(self, place: float) -> float:
        """Return the heat that is drawn at a place 0..1."""
        ends = [*self.bounds, self.most]
        at = min(len(self.bounds) - 1, int(place * len(self.bounds)))
        return ends[at] + (ends[at + 1] - ends[at]) * (place * len(self.bounds) - at)

    def used(self) -> list[tuple[int, float]]:
        """Return the steps that a heat can have with their bounds."""
        later = [*self.bounds[1:], None]
        return [
            (i, bound)
            for i, (bound, following) in enumerate(zip(self.bounds, later, strict=True))
            if bound != following and (bound <= self.most)
        ]


def scale_of(heats: Iterable[float | None], steps: int, kind: Kind = "log") -> Scale:
    """
    Return a scale of so many steps for what is to be drawn; None and 0 are not.

    log: each step is the same multiple of the one before, from a thousandth of the highest heat
    to that; bounds are the least heats that there are in a step. quantile: about as many cells
    fall into each step, whatever the rates; where most cells differ by chance alone, that is what
    it shows. linear: of equal width up to 1. The legend has to say what the steps stand for.
    """
    found = sorted(heat for heat in heats if heat)
    if kind == "linear" or not found:
        return Scale(tuple(i / steps for i in range(steps)), 1.0)
    if kind == "log":
        even = (found[-1] * _SPAN ** (i / steps - 1) for i in range(1, steps))
        return Scale((0.0, *(found[bisect_left(found, bound)] for bound in even)), found[-1])
    bounds = (0.0, *(found[i * len(found) // steps] for i in range(1, steps)))
    return Scale(bounds, found[-1])


def percent(heat: float) -> str:
    """Return heat in percent: "0.02%", "7%", "100%"."""
    if heat >= 0.0995 or heat <= 0:
        return f"{heat:.0%}"
    return f"{100 * heat:.2g}%" if heat >= 0.0001 else "0.01%"

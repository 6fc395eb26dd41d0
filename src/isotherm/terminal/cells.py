"""How heat looks: one scale of colours and one of shades, for every picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from isotherm.terminal.output import RESET, Painted

#: xterm's colours from just above 0 to 100 % heat, dark violet over red to white.
RAMP = (54, 90, 126, 161, 196, 202, 208, 214, 220, 226, 229, 231)
#: Memory that is idle, and memory that could not be observed.
COLD_COLOUR, UNOBSERVABLE_COLOUR = 236, 31
SHADES = "░▒▓█"
HEIGHTS = "▁▂▃▄▅▆▇█"
COLD, UNOBSERVABLE, ABSENT = "·", "?", " "
_T = TypeVar("_T")


def level(heat: float, scale: Sequence[_T]) -> _T:
    """Return the step of a scale for heat above 0, up to 1; the last is for its uppermost part."""
    return scale[min(len(scale) - 1, int(heat * len(scale)))]


def nearest(heat: float, scale: Sequence[_T]) -> _T:
    """Return the nearest step of a scale that begins with (nearly) no heat."""
    return scale[min(len(scale) - 1, round(heat * (len(scale) - 1)))]


def nearest_above(heat: float, scale: Sequence[_T]) -> _T:
    """Return the step of a scale that begins with none at all, so that a little is never none."""
    return scale[min(len(scale) - 1, math.ceil(heat * (len(scale) - 1) - 0.001))]


def half_blocks(upper: Sequence[int | None], lower: Sequence[int | None]) -> Painted:
    """Return two rows of cells as one line, one colour above the other; None is nothing."""
    line, before = [], ""
    for top, bottom in zip(upper, lower, strict=True):
        block, code = _half_block(top, bottom)
        if code != before:
            line.append(code or RESET)
            before = code
        line.append(block)
    return Painted("".join(line) + RESET)


def _half_block(top: int | None, bottom: int | None) -> tuple[str, str]:
    """Return the character and the escape sequence of two cells, one above the other."""
    if top is None:
        return (" ", "") if bottom is None else ("▄", f"{RESET}\x1b[38;5;{bottom}m")
    if bottom is None:
        return "▀", f"{RESET}\x1b[38;5;{top}m"
    return "▀", f"\x1b[38;5;{top};48;5;{bottom}m"

"""How heat looks: one scale of colours and one of shades, for every picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from isotherm.pictures.palette import RGB, heat_colour
from isotherm.terminal.output import RESET, Painted

#: xterm's colours from just above 0 to 100 % heat, dark violet over red to white.
RAMP = (54, 90, 126, 161, 196, 202, 208, 214, 220, 226, 229, 231)
#: Memory that is idle, and memory that could not be observed.
COLD_COLOUR, UNOBSERVABLE_COLOUR = 236, 31
SHADES = "░▒▓█"
HEIGHTS = "▁▂▃▄▅▆▇█"
COLD, UNOBSERVABLE, ABSENT = "·", "?", " "
#: A colour of xterm's 256, or of all.
Colour = int | RGB
_T = TypeVar("_T")


#: Steps of heat on a terminal of all colours.
DEEP_STEPS = 32


def ramp(*, deep: bool) -> tuple[Colour, ...]:
    """Return the colours from just above 0 to the most heat."""
    if not deep:
        return RAMP
    return tuple(heat_colour(i / (DEEP_STEPS - 1)) for i in range(DEEP_STEPS))


def sgr(ground: int, colour: Colour) -> str:
    """Return the parameters of the sequence that sets the fore- (38) or background (48)."""
    if isinstance(colour, int):
        return f"{ground};5;{colour}"
    return f"{ground};2;{colour[0]};{colour[1]};{colour[2]}"


def level(heat: float, scale: Sequence[_T]) -> _T:
    """Return the step of a scale for heat above 0, up to 1; the last is for its uppermost part."""
    return scale[min(len(scale) - 1, int(heat * len(scale)))]


def nearest(heat: float, scale: Sequence[_T]) -> _T:
    """Return the nearest step of a scale that begins with (nearly) no heat."""
    return scale[min(len(scale) - 1, round(heat * (len(scale) - 1)))]


def nearest_above(heat: float, scale: Sequence[_T]) -> _T:
    """Return the step of a scale that begins with none at all, so that a little is never none."""
    return scale[min(len(scale) - 1, math.ceil(heat * (len(scale) - 1) - 0.001))]


def half_blocks(upper: Sequence[Colour | None], lower: Sequence[Colour | None]) -> Painted:
    """Return two rows of cells as one line, one colour above the other; None is nothing."""
    line, before = [], ""
    for top, bottom in zip(upper, lower, strict=True):
        block, code = _half_block(top, bottom)
        if code != before:
            line.append(code or RESET)
            before = code
        line.append(block)
    return Painted("".join(line) + RESET)


def _half_block(top: Colour | None, bottom: Colour | None) -> tuple[str, str]:
    """Return the character and the escape sequence of two cells, one above the other."""
    if top is None:
        return (" ", "") if bottom is None else ("▄", f"{RESET}\x1b[{sgr(38, bottom)}m")
    if bottom is None:
        return "▀", f"{RESET}\x1b[{sgr(38, top)}m"
    return "▀", f"\x1b[{sgr(38, top)};{sgr(48, bottom)}m"

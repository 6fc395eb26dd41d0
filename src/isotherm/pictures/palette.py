"""
Colours of heat, one table for every picture: PNG, SVG, pages and terminals of 16 million colours.

From violet over red and orange to pale yellow. Lightness rises evenly (in OKLab), so that the
order is seen without colour, in print, and with any deficiency of colour vision. What is no heat
lies beside the scale: idle is darker than all of it, what is unknown is blue and striped.
"""

from __future__ import annotations

from functools import cache
from typing import Final

RGB = tuple[int, int, int]

IDLE: Final[RGB] = (24, 22, 38)
#: Stripes of what could not be observed.
UNKNOWN: Final[tuple[RGB, RGB]] = ((104, 134, 170), (74, 100, 132))
#: Steps of the scale.
STEPS: Final = 256
_ANCHORS: Final[tuple[RGB, ...]] = (
    (72, 18, 134), (130, 28, 140), (188, 48, 108), (226, 84, 64), (246, 136, 32), (250, 196, 60),
    (252, 255, 164),
)  # fmt: skip


@cache
def heat_colours() -> tuple[RGB, ...]:
    """Return the colours from little heat to the most, `STEPS` of them."""
    anchors = [_oklab(colour) for colour in _ANCHORS]
    first, last = anchors[0][0], anchors[-1][0]
    made = []
    for i in range(STEPS):
        light = first + (last - first) * i / (STEPS - 1)
        at = next(
            (n for n in range(1, len(anchors) - 1) if anchors[n][0] > light), len(anchors) - 1
        )
        low, high = anchors[at - 1], anchors[at]
        share = (light - low[0]) / (high[0] - low[0])
        a, b = (low[n] + (high[n] - low[n]) * share for n in (1, 2))
        made.append(_rgb(light, a, b))
    return tuple(made)


def heat_colour(place: float) -> RGB:
    """Return the colour of a place on the scale, 0..1."""
    return heat_colours()[min(STEPS - 1, max(0, round(place * (STEPS - 1))))]


def css(colour: RGB) -> str:
    """Return "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def lightness(colour: RGB) -> float:
    """Return how light a colour is to the eye, 0..1 (OKLab's L)."""
    return _oklab(colour)[0]


def _linear(value: int) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def _gamma(value: float) -> int:
    value = min(1.0, max(0.0, value))
    share = 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
    return round(255 * share)


def _oklab(colour: RGB) -> tuple[float, float, float]:
    """Return a colour as L, a, b of OKLab (Ottosson 2020)."""
    r, g, b = map(_linear, colour)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _rgb(light: float, a: float, b: float) -> RGB:
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        _gamma(4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short),
        _gamma(-1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short),
        _gamma(-0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short),
    )

"""Small things that text for people is made of: widths, long names, bars, labelled paragraphs."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from isotherm.errors import escaped
from isotherm.model.target import Target
from isotherm.terminal.output import joined, paint
from isotherm.terminal.style import PLAIN, Style
from isotherm.units import format_duration, format_size

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def short_size(nbytes: int) -> str:
    """Return a size, or "-" for nothing."""
    return format_size(nbytes) if nbytes else "-"


def bar(share: float, width: int) -> str:
    """Return a horizontal bar of `share` (0..1) of `width` cells, in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text without escape sequences takes."""
    if text.isascii():
        return len(text)
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return the beginning of a text that fits `width` columns."""
    taken = 0
    for at, char in enumerate(text):
        taken += _width(char)
        if taken > width:
            return text[:at]
    return text


def elide(text: str, width: int) -> str:
    """
    Return a name or path within `width` columns: its end tells more than its middle.

    Of a longer text a third is its beginning, or less where the name of a file needs the room.
    """
    text = escaped(text)
    if columns_of(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    head = width // 3
    file = columns_of(text[text.rfind("/") :]) if "/" in text else 0
    if file < width:
        head = min(head, width - 1 - file)
    start = cut(text, head)
    end = cut(text[::-1], width - 1 - columns_of(start))[::-1]
    return f"{start}…{end}"


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return text filled up with blanks, which go before it if it is to stand on the right."""
    blanks = " " * (width - columns_of(text))
    return blanks + text if right else text + blanks


def labelled(
    label: str,
    text: str,
    width: int = 80,
    indent: int = 11,
    code: str = "",
    *,
    style: Style = PLAIN,
) -> list[str]:
    """
    Return lines of at most `width` columns: a text beside its label, wrapped.

    indent: where the text begins; code: how the label is painted.
    """
    lines = textwrap.wrap(escaped(text), max(10, width - indent), break_on_hyphens=False) or [""]
    head = f" {escaped(label)}" if label else ""
    if label and len(head) >= indent:
        return [paint(head, code, style), *labelled("", text, width, indent)]
    first = joined(paint(head, code, style), " " * (indent - len(head)), lines[0])
    return [first, *(f"{'':{indent}}{line}" for line in lines[1:])]


def span(low_us: int, high_us: int) -> str:
    """Return "5ms", or "5ms to 20ms" where an interval was stretched."""
    text = format_duration(low_us * 1000)
    return text if low_us == high_us else f"{text} to {format_duration(high_us * 1000)}"


def target_title(targets: Sequence[Target]) -> str:
    """Return "redis-server 4242", and how many more there are."""
    if not targets:
        return "nothing"
    more = f" and {len(targets) - 1} more" if len(targets) > 1 else ""
    return escaped(targets[0].title) + more

"""Small things that reports in text are made of."""

from __future__ import annotations

from collections.abc import Sequence

from isotherm.analysis.heatmap import Heatmap
from isotherm.model.target import Target
from isotherm.units import format_size

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_HEIGHTS = "▁▂▃▄▅▆▇█"


def short_size(nbytes: int) -> str:
    """Return a size, or "-" for nothing."""
    return format_size(nbytes) if nbytes else "-"


def bar(share: float, width: int) -> str:
    """Return a horizontal bar of `share` (0..1) of `width` cells, in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def heat_line(grid: Heatmap) -> str:
    """Return one character for each row of a heatmap of one column; "?" is unobservable."""
    line = []
    for (heat, *_), (blind, *_) in zip(grid.heat, grid.unobservable, strict=True):
        if heat is None:
            line.append("?" if blind else " ")
        elif heat == 0 and blind >= 0.5:
            line.append("?")
        else:
            line.append(_HEIGHTS[min(7, int(heat * 7 + 0.999))])
    return "".join(line)


def printable(text: str) -> str:
    """Spell out control characters: names come from outside, and terminals obey escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def elide(text: str, width: int) -> str:
    """Cut the middle of a long name or path: its end tells more than its middle."""
    text = printable(text)
    if len(text) <= width:
        return text
    head = width // 3
    return f"{text[:head]}…{text[len(text) - (width - head - 1) :]}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Align columns: the first `left` to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return [
        " "
        + "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]


def target_title(targets: Sequence[Target]) -> str:
    """Return "redis-server 4242", and how many more there are."""
    if not targets:
        return "nothing"
    title = printable(targets[0].title)
    return title + (f" and {len(targets) - 1} more" if len(targets) > 1 else "")

"""One table for all: aligned, within the width, names shortened before anything is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isotherm.errors import escaped
from isotherm.terminal.text import columns_of, elide, pad

_GAP = 2
_MARGIN = 1


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of a table.

    right: cells stand on the right, as numbers do; least: a column of names may be shortened to
    this many columns, 0 for never; rank: columns of the highest rank are left out first where the
    table does not fit, those of rank 0 never.
    """

    title: str
    right: bool = True
    least: int = 0
    rank: int = 0


def names(title: str, *, least: int = 12, rank: int = 0) -> Column:
    """Return a column of names: on the left, shortened as needed."""
    return Column(title, right=False, least=least, rank=rank)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """
    Return a header and lines of at most `width` columns, as far as `Column.least` allows.

    rows: a text for each column. Names are shortened to what is left, the widest ones first; only
    then columns are left out, by their rank.
    """
    shown = list(range(len(columns)))
    cells = [[escaped(column.title) for column in columns]]
    cells += [[escaped(cell) for cell in row] for row in rows]
    natural = [max(columns_of(row[i]) for row in cells) for i in range(len(columns))]
    while True:
        room = width - _MARGIN - _GAP * (len(shown) - 1)
        widths = _widths([(natural[i], columns[i].least) for i in shown], room)
        if sum(widths) <= room:
            break
        out = max(shown, key=lambda i: (columns[i].rank, i))
        if columns[out].rank == 0:
            break
        shown.remove(out)
    return [
        " " * _MARGIN
        + (" " * _GAP)
        .join(
            pad(elide(row[i], w), w, right=columns[i].right)
            for i, w in zip(shown, widths, strict=True)
        )
        .rstrip()
        for row in cells
    ]


def _widths(wanted: Sequence[tuple[int, int]], room: int) -> list[int]:
    """Return widths for (natural, least) ones: what may be shortened gives way, widest first."""
    widths = [natural for natural, _ in wanted]
    while (over := sum(widths) - room) > 0:
        able = [i for i, (_, least) in enumerate(wanted) if least and widths[i] > least]
        if not able:
            break
        widest = max(able, key=lambda i: widths[i])
        next_width = max((widths[i] for i in able if widths[i] < widths[widest]), default=0)
        floor = max(wanted[widest][1], min(next_width, widths[widest] - 1))
        widths[widest] = max(floor, widths[widest] - over)
    return widths

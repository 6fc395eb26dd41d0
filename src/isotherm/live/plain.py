"""The live view as text, one moment below the other: for pipes, and for who reads no pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from isotherm.live.chronicle import Chronicle, Moment
from isotherm.live.layout import (
    columns,
    parts_that_fit,
    row_line,
    text_of,
    titles,
    totals_line,
)
from isotherm.live.rows import Wish, reached, rows_of
from isotherm.live.stage import Head
from isotherm.model.snapshot import Snapshot
from isotherm.session.session import MonitorSession
from isotherm.terminal.output import tell
from isotherm.terminal.style import width_of

#: A moment may be early by so much.
_EARLY_NS = 100_000_000


def plain_lines(
    chronicle: Chronicle, at: int, wish: Wish, head: Sequence[str], *, width: int, most: int
) -> list[str]:
    """Return a moment as lines; at: its place; most: rows at most, 0 for all."""
    moment = chronicle.moments[at]
    wish = replace(wish, window=reached(moment, wish.window))
    shown = columns(width, wish)
    found = rows_of(moment, wish)
    rows = found[: most or len(found)]
    lines = [
        parts_that_fit(head, width),
        text_of(totals_line(moment, wish, width)),
        text_of(titles(shown, wish)),
        *(text_of(row_line(row, shown, wish, chronicle, at)) for row in rows),
    ]
    return [*lines, f" {len(found) - len(rows)} more"] if len(rows) < len(found) else lines


class PlainSink:
    """
    Prints a moment when an interval is over.

    interval_ns: how long one is, in whole windows; most: rows at most, 0 for all.
    """

    def __init__(self, wish: Wish, head: Head, interval_ns: int, most: int) -> None:
        self._chronicle = Chronicle()
        self._wish, self._head = wish, head
        self._interval_ns, self._most = interval_ns, most
        self._told_ns: int | None = None
        self._session: MonitorSession | None = None
        self.told = 0

    def open(self, session: MonitorSession) -> None:
        """Take note of whom to ask for news."""
        self._session = session

    def take(self, snapshot: Snapshot) -> None:
        """Print, if it is time to."""
        for news in self._session.news() if self._session is not None else ():
            tell(f"warning: {news}")
        if self._told_ns is None:
            self._told_ns = snapshot.start_ns
        self._chronicle.take(snapshot)
        if snapshot.end_ns - self._told_ns >= self._interval_ns - _EARLY_NS:
            self._told_ns = snapshot.end_ns
            self.tell(self._chronicle.moments[-1])

    def tell(self, moment: Moment) -> None:
        """Print the newest moment, below a blank line if it is not the first."""
        out = sys.stdout
        lines = plain_lines(
            self._chronicle,
            len(self._chronicle) - 1,
            self._wish,
            self._head(moment),
            width=width_of(out, most=200),
            most=self._most,
        )
        tell(*([""] if self.told else []), *lines, stream=out)
        self.told += 1

    def close(self) -> None:
        """Print what was not, if nothing was."""
        if not self.told and len(self._chronicle):
            self.tell(self._chronicle.moments[-1])

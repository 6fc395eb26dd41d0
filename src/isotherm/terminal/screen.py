"""Draw the picture again and again in place, and leave the terminal as it was."""

from __future__ import annotations

import os
import shutil
import sys
import time
from types import TracebackType
from typing import Self, TextIO

from isotherm.terminal.picture import Style

REDRAW_PERIOD_S = 0.2
#: Columns beside the picture: addresses, truth, a little air.
MARGIN = 18
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_CLEAR_LINE = "\x1b[K"


def can_redraw(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that moves its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def style_of(stream: TextIO, *, plain: bool = False) -> Style:
    """What `stream` can show; honours NO_COLOR and TERM=dumb."""
    unicode = (stream.encoding or "ascii").lower().startswith("utf")
    colour = not plain and can_redraw(stream) and not os.environ.get("NO_COLOR")
    return Style(colour=colour, unicode=unicode)


def space() -> tuple[int, int]:
    """
    Columns and rows for a picture of at most 80 columns with a few lines around it.

    A power of two of rows gives each a round size.
    """
    size = shutil.get_terminal_size((80, 24))
    return max(20, min(80, size.columns) - MARGIN), 16 if size.lines >= 20 else 8


class Screen:
    """
    Lines that are replaced in place; a context manager that gives the cursor back.

    Without a terminal that moves its cursor nothing is drawn until `last`.
    """

    def __init__(self, stream: TextIO | None = None, *, live: bool) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._live = live
        self._height = 0
        self._next = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._put(_HIDE + _NO_WRAP)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._put(_WRAP + _SHOW)

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def due(self) -> bool:
        """Whether it is time to draw again."""
        return self._live and time.monotonic() >= self._next

    def draw(self, lines: list[str]) -> None:
        """Replace what was drawn before."""
        up = f"\x1b[{self._height}A\r" if self._height else ""
        self._put(up + "".join(f"{line}{_CLEAR_LINE}\n" for line in lines) + "\x1b[J")
        self._height = len(lines)
        self._next = time.monotonic() + REDRAW_PERIOD_S

    def last(self, lines: list[str]) -> None:
        """Draw for good."""
        if self._live:
            self.draw(lines)
        else:
            self._put("".join(f"{line}\n" for line in lines))
        self._height = 0

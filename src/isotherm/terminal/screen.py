"""Draw the picture again and again in place, and leave the terminal as it was."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from isotherm.terminal.output import Painted, for_stream, lines_of
from isotherm.terminal.style import LEAST_WIDTH, height_of, style_of, width_of

REDRAW_PERIOD_S = 0.2
#: Columns beside the picture: addresses, truth, a little air.
MARGIN = 18
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_CLEAR_LINE = "\x1b[K"


def space() -> tuple[int, int]:
    """
    Columns and rows for a picture of at most 80 columns with a few lines around it.

    A power of two of rows gives each a round size.
    """
    columns = max(LEAST_WIDTH, width_of(sys.stdout) - MARGIN)
    return columns, 16 if height_of(sys.stdout) >= 21 else 8


class Screen:
    """
    Lines that are replaced in place; a context manager that gives the cursor back.

    Without a terminal that moves its cursor nothing is drawn until `last`.
    """

    def __init__(self, stream: TextIO | None = None, *, live: bool) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._live = live
        self._style = style_of(self._stream)
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
        self._stream.write(Painted(text))
        self._stream.flush()

    def due(self) -> bool:
        """Whether it is time to draw again."""
        return self._live and time.monotonic() >= self._next

    def draw(self, lines: Sequence[str]) -> None:
        """Replace what was drawn before; of more lines than the terminal has, the last is kept."""
        room = height_of(self._stream) - 1
        if len(lines) > room:
            lines = [*lines[: room - 2], f" {len(lines) - room + 1} lines more", lines[-1]]
        up = f"\x1b[{self._height}A\r" if self._height else ""
        shown = (for_stream(line, self._style) for line in lines)
        self._put(up + "".join(f"{line}{_CLEAR_LINE}\n" for line in shown) + "\x1b[J")
        self._height = len(lines)
        self._next = time.monotonic() + REDRAW_PERIOD_S

    def last(self, lines: Sequence[str]) -> None:
        """Draw for good."""
        if self._live:
            self.draw(lines)
        else:
            self._put(lines_of(lines, self._style))
        self._height = 0

"""The line that tells a person how it goes; nothing where nobody watches."""

from __future__ import annotations

import time
from typing import TextIO

from isotherm.errors import escaped
from isotherm.terminal.output import Painted, for_stream
from isotherm.terminal.style import can_redraw, style_of, width_of
from isotherm.terminal.text import columns_of, cut
from isotherm.units import format_duration

#: Between two lines.
PERIOD_S = 0.5
#: The longest bar, and the shortest that is worth its place.
_BAR_CELLS, _LEAST_CELLS = 16, 4
_CLEAR = "\r\x1b[K"


class Progress:
    """
    One line, drawn over and over: a bar and the time gone by, and what the caller says.

    stream: a terminal, else nothing is shown; duration_ns: how long it takes, None if nobody
    knows.
    """

    def __init__(self, stream: TextIO, duration_ns: int | None) -> None:
        self._stream = stream
        self._live = can_redraw(stream)
        self._style = style_of(stream)
        self._duration = duration_ns
        self._begun = time.monotonic()
        self._next = 0.0
        self._text = ""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    def due(self) -> bool:
        """Whether it is time to draw again: making the text may cost something."""
        return self._live and time.monotonic() >= self._next

    def show(self, text: str) -> None:
        """Show this text beside the time, if it is time to; two blanks part what may go alone."""
        self._text = text
        if self.due():
            self._next = time.monotonic() + PERIOD_S
            self._stream.write(Painted(_CLEAR + self.line()))
            self._stream.flush()

    def line(self) -> str:
        """Return the line as the terminal gets it: it never wraps, and parts of it are whole."""
        room = width_of(self._stream) - 1
        parts = [part.strip() for part in escaped(self._text).split("  ") if part.strip()]
        head, bar = f" {self._time()}", ""
        while len(parts) > 1 and len(head) + sum(columns_of(part) + 2 for part in parts) > room:
            parts.pop()
        line = "  ".join([head, *parts])
        if self._duration is not None:
            cells = min(_BAR_CELLS, room - columns_of(line) - 1)
            done = min(1.0, self.elapsed_s * 1e9 / max(1, self._duration))
            bar = f" {'█' * int(cells * done):{cells}}" if cells >= _LEAST_CELLS else ""
        return for_stream(cut(bar + line, room), self._style)

    def _time(self) -> str:
        spent = format_duration(int(self.elapsed_s) * 1_000_000_000)
        return spent if self._duration is None else f"{spent}/{format_duration(self._duration)}"

    def end(self) -> None:
        """Leave the last line where it is, and the cursor on a fresh one."""
        if self._live:
            self._stream.write(Painted(f"{_CLEAR}{self.line()}\n"))
            self._stream.flush()

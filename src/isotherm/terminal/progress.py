"""The line that tells a person how it goes; nothing where nobody watches."""

from __future__ import annotations

import time
from typing import TextIO

from isotherm.errors import escaped
from isotherm.terminal.output import Painted, for_stream
from isotherm.terminal.style import can_redraw, style_of, width_of
from isotherm.terminal.text import cut
from isotherm.units import format_duration

#: Between two lines.
PERIOD_S = 0.5
_BAR_CELLS = 16
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
        """Show this text beside the time, if it is time to."""
        self._text = text
        if self.due():
            self._next = time.monotonic() + PERIOD_S
            self._stream.write(Painted(_CLEAR + self.line()))
            self._stream.flush()

    def line(self) -> str:
        """Return the line as the terminal gets it: it never wraps."""
        spent = format_duration(int(self.elapsed_s) * 1_000_000_000)
        if self._duration is None:
            head = f" {spent}  "
        else:
            done = min(1.0, self.elapsed_s * 1e9 / max(1, self._duration))
            bar = "█" * int(_BAR_CELLS * done)
            head = f" {bar:{_BAR_CELLS}} {spent}/{format_duration(self._duration)}  "
        room = width_of(self._stream) - 1
        if len(head) + len(self._text) > room and self._duration is not None:
            head = f" {spent}/{format_duration(self._duration)}  "
        return for_stream(cut(head + escaped(self._text), room), self._style)

    def end(self) -> None:
        """Leave the last line where it is, and the cursor on a fresh one."""
        if self._live:
            self._stream.write(Painted(f"{_CLEAR}{self.line()}\n"))
            self._stream.flush()

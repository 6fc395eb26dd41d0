"""
The edge: everything that people read goes through here on its way to a stream.

Names of processes, mappings, files, schemes come from outside, and terminals obey what stands in
them. Hence plain text is escaped at the last moment, whoever made it; only `Painted` text, which
this package puts together itself, keeps its colour.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from typing import Any, TextIO

from isotherm.errors import escaped
from isotherm.terminal.style import Style, style_of, width_of

RESET = "\x1b[0m"
#: More columns than any terminal has.
_WIDEST = 10_000
#: What stands for the signs that not every stream can show: one character each.
_ASCII = str.maketrans(
    "·░▒▓█▁▂▃▄▅▆▇▏▎▍▌▋▊▉┄…↑→↓–µ",
    ".:+*#.:-=+*%   ####-*^>v-u",
)


class Painted(str):
    """
    Text with our own escape sequences in it; what came from outside is escaped already.

    Made by `paint` and `joined`. Whatever `str` makes of it (a slice, a sum) is plain text again.
    """

    __slots__ = ()


def paint(text: str, code: str, style: Style) -> Painted:
    """Return `text` in the colour or weight `code` ("1", "38;5;54"), where there is colour."""
    safe = text if isinstance(text, Painted) else escaped(text)
    return Painted(f"\x1b[{code}m{safe}{RESET}" if style.colour and code else safe)


def joined(*parts: str) -> Painted:
    """Return parts as one text: those that are not painted are escaped."""
    return Painted("".join(p if isinstance(p, Painted) else escaped(p) for p in parts))


def in_ascii(text: str) -> str:
    """Return text with ASCII in the place of blocks and signs, and escapes for other letters."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def for_stream(line: str, style: Style) -> str:
    """Return one line as a stream of this style may get it, without blanks at its end."""
    text = joined(line).rstrip()
    return text if style.unicode else in_ascii(text)


def lines_of(lines: Iterable[str], style: Style) -> str:
    """Return lines as `for_stream`, each with a newline."""
    return "".join(f"{for_stream(line, style)}\n" for line in lines)


class Guarded:
    """
    A text stream that escapes what is printed to it, but for line ends and `Painted` text.

    What stands in front of people who only print: warnings, usage, tracebacks.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; returns its length."""
        if not isinstance(text, Painted):
            text = "\n".join(map(escaped, text.split("\n")))
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _wrapped(line: Painted, width: int) -> list[str]:
    """Return a line in parts that fit; words are left whole, and painted lines as they are."""
    if len(line) <= width or RESET in line:
        return [line]
    return textwrap.wrap(
        line,
        width,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def tell(*lines: str, stream: TextIO | None = None) -> None:
    """
    Print lines for people, each on a line of its own whatever stands in it.

    stream: the standard error by default, as data go to the standard output. On a terminal long
    lines go on below, indented; a live screen would cut them off.
    """
    out = sys.stderr if stream is None else stream
    if out.isatty():
        width = width_of(out, most=_WIDEST)
        lines = tuple(part for line in lines for part in _wrapped(joined(line), width))
    out.write(Painted(lines_of(lines, style_of(out))))
    out.flush()

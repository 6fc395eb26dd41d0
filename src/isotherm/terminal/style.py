"""What a stream can show: colour, block characters, a moving cursor, how many columns."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TextIO

#: Columns and lines where nobody says otherwise; more columns than these are not taken.
WIDTH, HEIGHT = 80, 24
#: Less is taken as this: nothing can be laid out in it.
LEAST_WIDTH = 20


@dataclass(frozen=True, slots=True)
class Style:
    """
    What the terminal can show.

    deep: of 16 million colours, rather than xterm's 256.
    """

    colour: bool = False
    unicode: bool = True
    deep: bool = False


#: No colour.
PLAIN = Style()


def can_redraw(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that moves its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def style_of(stream: TextIO, *, plain: bool = False) -> Style:
    """What `stream` can show; honours NO_COLOR (https://no-color.org) and TERM=dumb."""
    colour = not plain and can_redraw(stream) and not os.environ.get("NO_COLOR")
    deep = colour and os.environ.get("COLORTERM", "") in ("truecolor", "24bit")
    return Style(colour=colour, unicode=_shows_unicode(stream), deep=deep)


def _shows_unicode(stream: TextIO) -> bool:
    """
    Whether block characters can be written to `stream`, and the locale does not forbid them.

    Python makes the locale C speak UTF-8 (PEP 538, PEP 540), whatever the terminal can show. Who
    names C or POSIX expects ASCII; who sets no locale at all has what the stream says.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"  # an io.StringIO takes everything
    if not encoding.lower().replace("-", "").startswith("utf"):
        return False
    environ = os.environ
    if environ.get("PYTHONIOENCODING") or environ.get("PYTHONUTF8") == "1":
        return True
    # With the UTF-8 mode on, LC_CTYPE was C, and what stands there is Python's own C.UTF-8.
    names = ("LC_ALL", "LANG") if sys.flags.utf8_mode else ("LC_ALL", "LC_CTYPE", "LANG")
    locale = next((environ[name] for name in names if environ.get(name)), "")
    return locale not in ("C", "POSIX")


def width_of(stream: TextIO, most: int = WIDTH) -> int:
    """
    Return the columns of a terminal, at most `most` of them; `WIDTH` where `stream` is none.

    COLUMNS in the environment goes before what the terminal says.
    """
    return max(LEAST_WIDTH, min(most, _size("COLUMNS", stream, 0) or WIDTH))


def height_of(stream: TextIO) -> int:
    """Return the lines of a terminal, or of LINES; `HEIGHT` where `stream` is none."""
    return max(2, _size("LINES", stream, 1) or HEIGHT)


def _size(variable: str, stream: TextIO, index: int) -> int:
    """Return a size of the terminal, 0 where it is not known."""
    given = os.environ.get(variable, "")
    if given.isascii() and given.isdigit() and len(given) < 10 and int(given):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno())[index]
    except (AttributeError, ValueError, OSError):
        return 0

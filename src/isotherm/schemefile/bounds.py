"""What no scheme file needs to exceed: so that reading any file takes bounded time and memory."""

from __future__ import annotations

from math import isfinite

from isotherm.errors import BadValueError
from isotherm.schemefile.source import Word

#: Of a text, in characters; damo's largest files, with thousands of regions, have hundreds of KiB.
MAX_TEXT = 4 << 20
#: Of YAML, whose reader takes microseconds for each character.
MAX_YAML = 1 << 20
#: Of a line, a comment apart from it, in characters.
MAX_LINE = 1 << 16
#: Lists and mappings in each other; damo's kdamonds files have 13.
MAX_DEPTH = 40
#: Scalars, lists and mappings of a document.
MAX_VALUES = 200_000
#: The same of YAML, aliases written out.
MAX_YAML_VALUES = 50_000
#: Of the digits of a number: those of 2^64 are 20.
MAX_DIGITS = 100
#: Schemes of a file, and mistakes of it that are told.
MAX_SCHEMES = 10_000
MAX_MISTAKES = 50


class Count:
    """Counts the values of a document; raises `SchemeError` for the first that is too many."""

    def __init__(self, most: int = MAX_VALUES) -> None:
        self._left = self._most = most

    def add(self, place: Word, values: int = 1) -> None:
        """Count the values that stand here."""
        self._left -= values
        if self._left < 0:
            raise place.error(
                f"the document holds more than {self._most:,} values",
                hint="no scheme file needs so many",
            )


def check_number(word: Word) -> None:
    """Raise `SchemeError` for a number of a document that is endless, or has endless digits."""
    if len(word.text) <= MAX_DIGITS and not word.text.lower().endswith((".inf", ".nan")):
        try:
            if isfinite(float(word.text)):
                return
        except ValueError:  # 0x10, 1_000 and others of YAML's
            return
    raise word.error(f"the value {word.said} is no number that can be meant")


def check_length(text: str, file: str, most: int = MAX_TEXT) -> None:
    """Raise `BadValueError` for a text that is longer than a scheme file can be."""
    if len(text) > most:
        raise BadValueError(
            f"{Word('', file).place}: the text has {len(text):,} characters",
            hint=f"{most:,} are the most that are read",
        )
